//! The stores outside of the process, over real servers.
#![allow(clippy::unwrap_used)]

mod conformance;
mod history;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transaction;
