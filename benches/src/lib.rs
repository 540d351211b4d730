#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! - [`kit`]: how things are measured. Later work brings its own [`kit::Row`]s and nothing else.
//! - [`rows`]: what is measured, each piece of work defined once, for `cargo budgets` and for criterion.

pub mod kit;
pub mod rows;
