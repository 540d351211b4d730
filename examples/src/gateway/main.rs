//! The gateway as a program: `cargo gateway` runs it.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use examples::complain;
use examples::gateway::{Args, run};
use tokio::runtime::Builder;

/// A hit takes nine pieces of memory and gives them back: with the system's allocator it is a twentieth slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = runtime(args.threads()).enable_all().build();
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
