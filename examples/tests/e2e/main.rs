//! The storefront, started as a user starts it and driven over HTTP, pattern by pattern.
//!
//! Nothing here is decided by time: a test that has to wait for something watches the shop's own stream of snapshots until it has
//! happened.
#![allow(clippy::unwrap_used)]

mod cache;
mod circuit;
mod curl;
mod dedup;
mod front;
mod idempotency;
mod limits;
mod negotiate;
mod page;
mod process;
mod sse;
mod storefront;
mod tenants;
mod tokens;
mod trace;
