//! Behaviour, seen from outside. One module per subject.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod budgets;
#[cfg(all(feature = "axum", feature = "csv"))]
mod handlers;
mod laws;
mod layer;
#[cfg(all(feature = "csv", feature = "xml"))]
mod readers;
#[cfg(all(feature = "csv", feature = "xml"))]
mod replies;
#[cfg(all(feature = "cbor", feature = "messagepack", feature = "xml"))]
mod requests;
mod server;
mod streams;
mod targets;
#[cfg(all(
    feature = "cbor",
    feature = "csv",
    feature = "messagepack",
    feature = "xml"
))]
mod types;
mod vectors;
