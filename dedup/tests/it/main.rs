//! Behaviour of the handle and the layers.
#![allow(clippy::unwrap_used)]

mod backend;
#[cfg(feature = "detached")]
mod detached;
mod elsewhere;
mod flights;
#[cfg(feature = "http")]
mod http;
mod keyed;
mod laws;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod run;
#[cfg(feature = "http")]
mod server;
