//! A reverse proxy with all the layers: HTTP/1.1 and h2c in, pooled HTTP/1.1 out.
//!
//! ```text
//! client → trace → cache → idempotency → dedup → trace (client) → circuit → timeout → connection → upstream
//! ```
//!
//! `--only` and `--without` take layers away. Which requests go to which upstream is said by a file of routes, or by `--upstream` for all.

mod admin;
mod args;
mod erased;
mod head;
mod health;
mod interim;
mod proxy;
mod routes;
mod serve;
mod stack;
mod tunnel;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let runtime = match runtime(args.threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return serve::complain(&error.into()),
    };
    match runtime.block_on(serve::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => serve::complain(&error),
    }
}

/// As many threads as there are cores, if nobody says how many. One thread needs no others to share its work with.
fn runtime(threads: Option<NonZeroUsize>) -> Builder {
    match threads.map(NonZeroUsize::get) {
        None => Builder::new_multi_thread(),
        Some(1) => Builder::new_current_thread(),
        Some(threads) => {
            let mut several = Builder::new_multi_thread();
            several.worker_threads(threads);
            several
        }
    }
}
