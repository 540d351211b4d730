//! Orders that are placed, paid for and told about exactly once, whatever is killed.
//!
//! `cargo orders` runs it on a SQLite file; `--database postgres://…` on Postgres. An order is charged at a payment service, under a key that is derived from its own;
//! then the order, the event that tells of it (the outbox) and the record of the response are committed in one transaction. A relay publishes the events afterwards, each
//! under its own key. Unless they are named, the payment service and the one that hears of orders are started beside it.

mod args;
mod database;
mod orders;
mod post;
mod relay;
mod serve;
mod services;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    match serve::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            serve::complain(&*error);
            ExitCode::FAILURE
        }
    }
}
