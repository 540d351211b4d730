//! The storefront and the gateway among those who mean them ill: an upstream that does everything wrong, and clients that do so too, beside some who ask as they should
//! and look closely at what they get. When all of them have gone nothing may be left of them.
//!
//! It lasts for a bounded number of turns, or for `HOSTILITY_SECONDS`; `HOSTILITY_SEED` tells the dice. No verdict depends on time: who waits, waits for what others do, or for the shop's own
//! stream.
#![allow(clippy::unwrap_used)]

mod bombs;
mod census;
mod client;
mod fault;
mod herds;
mod honest;
mod leaving;
mod link;
mod paths;
mod planted;
mod slow;
mod story;
mod streams;
mod tally;
mod tunnels;
mod turns;
mod upstream;
mod watcher;
mod world;

#[global_allocator]
static ALLOCATOR: testkit::alloc::Holding = testkit::alloc::Holding;
