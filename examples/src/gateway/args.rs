//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::Uri;

/// A reverse proxy with a cache, single flight, a breaker for each upstream, idempotency keys and traces.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version)]
pub(crate) struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where all requests go that no route is for.
    #[arg(long, value_name = "URL", required_unless_present = "routes")]
    pub(crate) upstream: Option<Uri>,

    /// A file of routes: see examples/gateway.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) routes: Option<PathBuf>,

    /// These layers, and no others.
    #[arg(
        long,
        value_name = "LAYERS",
        value_delimiter = ',',
        conflicts_with = "without"
    )]
    only: Option<Vec<Part>>,

    /// All layers but these.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    without: Vec<Part>,

    /// How many milliseconds an upstream may take until its head is there, and between two pieces of a body.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 8000)]
    timeout: u64,

    /// How many mebibytes of responses the cache holds.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache_size: u64,

    /// Who sends this as a bearer token may purge. Default: nobody.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "GATEWAY_PURGE_TOKEN",
        hide_env_values = true
    )]
    pub(crate) purge_token: Option<String>,

    /// How many seconds what is under way may take at shutdown.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,

    /// How many threads serve. Default: one for each core.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Do not write a line for each request.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// A layer that can be left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    Cache,
    Circuit,
    Dedup,
    Idempotency,
    Trace,
}

impl Args {
    pub(crate) fn has(&self, part: Part) -> bool {
        match &self.only {
            Some(only) => only.contains(&part),
            None => !self.without.contains(&part),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}
