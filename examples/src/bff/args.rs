//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

/// One page out of two services, for the web and for phones.
#[derive(Clone, Debug, Parser)]
#[command(name = "bff", version)]
pub(crate) struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    pub(crate) listen: SocketAddr,

    /// Where the catalogue and the reviews listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) upstream: SocketAddr,

    /// How many milliseconds a page may take: what is not there by then is left out.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 400)]
    deadline: u64,

    /// How many milliseconds one attempt of a call may take; less than the deadline, so that the breaker sees it.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 300)]
    timeout: u64,

    /// Do not write a line for each request.
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Args {
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }
}
