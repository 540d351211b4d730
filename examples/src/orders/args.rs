//! The command line.

use std::net::SocketAddr;

use clap::Parser;

/// Orders that are placed, paid for and told about exactly once, whatever is killed.
#[derive(Clone, Debug, Parser)]
#[command(name = "orders", version)]
pub(crate) struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,

    /// A file of SQLite's, or the URL of a Postgres database.
    #[arg(
        long,
        value_name = "FILE or postgres://…",
        default_value = "orders.sqlite"
    )]
    pub(crate) database: String,

    /// The payment service: it charges `POST {URL}`. One is started when none is named.
    #[arg(long, value_name = "URL")]
    pub(crate) payments: Option<String>,

    /// Who hears of orders, by `POST {URL}`. Somebody is when nobody is named.
    #[arg(long, value_name = "URL")]
    pub(crate) subscriber: Option<String>,

    /// How long a claim is good after its holder was last heard of, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    pub(crate) lease: u64,
}
