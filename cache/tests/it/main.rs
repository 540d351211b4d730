//! Behaviour of the cache and of its layer.
#![allow(clippy::unwrap_used)]

mod data;
mod races;
