//! Histories and inputs at random, against references too simple to be wrong.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod baggage;
mod bodies;
mod current;
mod exactly_once;
mod sampling;
mod strangers;
mod traceparent;
mod tracestate;
