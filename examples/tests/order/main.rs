//! The order of layers that ARCHITECTURE.md gives, reason by reason: what holds in it, and what breaks in another.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod kit;
mod client;
mod server;
