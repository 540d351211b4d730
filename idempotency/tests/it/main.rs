//! Behaviour of the layer and of its store.
#![allow(clippy::unwrap_used)]

mod cancel;
mod faults;
mod kit;
mod laws;
mod replay;
mod store;
mod streaming;
mod transaction;
