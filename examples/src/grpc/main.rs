//! gRPC with the layers: two services of tonic's and a client of them in one program.
//!
//! `cargo grpc` tells a short story and ends; with `--serve ADDRESS` the services stay.

mod deadline;
mod messages;
mod orders;
mod records;
mod rpc;
mod serve;
mod stack;
mod stock;
mod story;
mod timeout;
mod until;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use examples::{complain, say, told_to_stop};

use crate::records::Records;
use crate::serve::Services;

/// Two gRPC services behind the layers, and a client that shows what they do.
#[derive(Debug, Parser)]
#[command(name = "grpc", version)]
struct Args {
    /// Serve at this address until told to stop, instead of telling the story; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ran = match Args::parse().serve {
        Some(listen) => serve(listen).await,
        None => story::tell(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("grpc", &error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(listen: SocketAddr) -> io::Result<()> {
    let told = told_to_stop();
    let services = Services::start(listen, &Records::written()).await?;
    say(format_args!("orders: http://{}", services.orders_address));
    say(format_args!("stock:  http://{}", services.stock_address));
    told.await;
    services.stop().await
}
