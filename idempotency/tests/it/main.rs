//! Behaviour of the layer and of its store.
#![allow(clippy::unwrap_used)]

mod cancel;
mod choices;
#[cfg(feature = "encryption")]
mod encryption;
mod execution;
mod faults;
mod interrupted;
mod kit;
mod laws;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod replay;
mod resolve;
mod secrets;
mod server;
mod store;
mod streaming;
mod transaction;
mod unknown;
mod waiting;
mod withdrawal;
