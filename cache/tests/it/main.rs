//! Behaviour of the cache and of its layer.
#![allow(clippy::unwrap_used)]

mod data;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "test-util")]
mod keeping_step;
mod kit;
#[cfg(feature = "http")]
mod laws;
#[cfg(feature = "test-util")]
mod level;
mod observe;
mod races;
mod refreshing;
mod surviving;
mod telling;
mod views;
