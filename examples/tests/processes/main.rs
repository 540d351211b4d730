//! Several storefronts as one shop, over a real Redis and a real Postgres, some of them behind the gateway; what is killed is killed with SIGKILL.
//!
//! Whoever waits or asks again is paced by what the shops tell. No verdict depends on time but those that are promised: how late a price may be seen, and how long a request may take; both with room to spare.
#![allow(clippy::unwrap_used)]

mod chaos;
mod ledger;
mod link;
mod listening;
mod payments;
mod process;
mod pulse;
mod rolling;
mod sharing;
mod silence;
mod tokens;
mod world;
