//! The stores outside of the process, over real servers.

mod conformance;
mod history;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transaction;
