//! Random histories against naive references.
#![allow(clippy::unwrap_used)]

mod flights;
#[cfg(feature = "http")]
mod layer;
