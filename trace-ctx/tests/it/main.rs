//! Behaviour, seen from outside. One module per subject.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod allocations;
mod bodies;
mod callers;
mod client;
mod formats;
mod hyper;
mod laws;
mod records;
mod server;
mod sinks;
mod support;

#[cfg(feature = "json")]
mod json_lines;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(feature = "otel")]
mod otlp;
#[cfg(all(feature = "otel", feature = "tracing"))]
mod spans;
