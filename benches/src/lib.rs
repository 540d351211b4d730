#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! - [`kit`]: how things are measured. Later work brings its own [`kit::Row`]s and nothing else.
//! - [`rows`]: what is measured, each piece of work defined once, for `cargo budgets` and for criterion.
//! - [`stack`]: all layers of a server at once.
//! - [`scale`]: how costs grow with what there is much of, for `cargo scale`.

pub mod kit;
pub mod machine;
pub mod rows;
pub mod scale;
pub mod stack;
