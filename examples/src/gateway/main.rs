//! A reverse proxy with all the layers: HTTP/1.1 and h2c in, pooled HTTP/1.1 out.
//!
//! ```text
//! client → trace → cache → idempotency → dedup → trace (client) → circuit → timeout → connection → upstream
//! ```
//!
//! `--only` and `--without` take layers away. Which requests go to which upstream is said by a file of routes, or by `--upstream` for all.

mod admin;
mod args;
mod head;
mod health;
mod interim;
mod proxy;
mod routes;
mod serve;
mod stack;
mod tunnel;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        runtime.worker_threads(threads.get());
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return serve::complain(&error.into()),
    };
    match runtime.block_on(serve::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => serve::complain(&error),
    }
}
