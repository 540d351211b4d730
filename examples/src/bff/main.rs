//! A backend for frontends: one page out of two services, in a shape for the web and a leaner one for phones.
//!
//! `cargo bff` starts it, and the two services, on a port of their own, where they can be broken and healed.

mod args;
mod pages;
mod parts;
mod remote;
mod serve;
mod upstream;

use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use examples::{complain, say, told_to_stop};

use crate::args::Args;
use crate::serve::Running;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            complain(
                "bff",
                &"the address is in use; choose another with --listen or --upstream",
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            complain("bff", &error);
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> io::Result<()> {
    let running = Running::start(args, Arc::default()).await?;
    let told = told_to_stop();
    greet(&running);
    told.await;
    running.stop().await
}

fn greet(running: &Running) {
    let (url, upstream) = (running.address, running.upstream_address);
    let set = format!(
        "curl -s -XPUT http://{upstream}/conditions/reviews -H 'content-type: application/json' -d"
    );
    say(format_args!(
        "
bff:        http://{url}
upstreams:  http://{upstream}   catalogue and reviews

Paste a line, and look at what it shows:

  both    curl -s http://{url}/web/products/lamp; curl -s http://{url}/mobile/products/lamp
  slow    {set} '{{\"latency_ms\":5000}}'; time curl -s http://{url}/web/products/chair
  broken  {set} '{{\"failure_rate\":1.0}}'; for i in 1 2 3 4; do curl -s http://{url}/web/products/chair; done
  healed  {set} '{{}}'; sleep 2; curl -s http://{url}/web/products/chair
"
    ));
}
