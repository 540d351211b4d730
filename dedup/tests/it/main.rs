//! Behaviour of the handle and the layer.
#![allow(clippy::unwrap_used)]

mod flights;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod laws;
