//! The command line.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Parser;

/// A small shop that shows six patterns of resilient services at work.
#[derive(Clone, Debug, Parser)]
#[command(name = "storefront", version)]
pub struct Args {
    /// Where the shop listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where the payment and recommendation services listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) upstream: SocketAddr,

    /// Where these services are already: several shops call the same ones. None are started then.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "upstream")]
    pub(crate) services: Option<SocketAddr>,

    /// A Redis over which several shops share their pages and the trips of their breakers.
    #[arg(long, value_name = "URL", requires = "postgres")]
    redis: Option<String>,

    /// The Postgres database in which several shops have their prices, orders and the keys of orders.
    #[arg(long, value_name = "URL", requires = "redis")]
    postgres: Option<String>,

    /// How many milliseconds that database may take to answer; for a connection to it a third of that is waited.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3000)]
    database_timeout: u64,

    /// For how many milliseconds an order that is under way is its process's, after that was last heard of.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    lease: u64,

    /// How many milliseconds it serves on when it is told to stop, after it has begun to say so at `/health/serving`: whoever balances between
    /// several shops turns to another one meanwhile.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    linger: u64,

    /// How many seconds a call of another service may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    timeout: u64,

    /// How many order keys are remembered.
    #[arg(long, value_name = "NUMBER", default_value = "100000")]
    pub(crate) max_keys: NonZeroUsize,

    /// How many milliseconds a client may take for the head of a request, from its connection or from the response before; then it is hung up on.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 8000)]
    patience: u64,

    /// How many seconds what is under way may take at shutdown.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,

    /// How many requests a caller may send in a second, beside --burst.
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    pub(crate) rate: NonZeroU32,

    /// How many requests a caller may send at once.
    #[arg(long, value_name = "NUMBER", default_value = "300")]
    pub(crate) burst: NonZeroU32,

    /// Ask for a token before anything is written, or a tenant is chosen. Without this, `x-tenant` alone is believed, and a token is checked if
    /// there is one.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Do not write a line for each request.
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Args {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The URLs of what several processes share: Redis', and Postgres'.
    pub(crate) fn shared(&self) -> Option<(&str, &str)> {
        self.redis.as_deref().zip(self.postgres.as_deref())
    }

    pub(crate) fn database_timeout(&self) -> Duration {
        Duration::from_millis(self.database_timeout)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}
