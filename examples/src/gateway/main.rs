//! The gateway as a program: `cargo gateway` runs it.

use std::process::ExitCode;

use clap::Parser;
use examples::complain;
use examples::gateway::{Args, run};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads() {
        runtime.worker_threads(threads.get());
    }
    let runtime = runtime.enable_all().build();
    let ended = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("gateway", &error);
            ExitCode::FAILURE
        }
    }
}
