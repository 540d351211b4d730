#![doc = include_str!("../README.md")]

mod builder;
mod cache;
mod counters;
mod entry;
mod error;
mod event;
mod fill;
mod get_or_set;
#[cfg(feature = "http")]
pub mod http;
mod invalidation;
mod l1;
#[cfg(feature = "l2")]
pub mod l2;

pub use builder::Builder;
pub use cache::{Cache, Set};
pub use entry::{Hit, State};
pub use error::FillError;
pub use event::{Event, Observer, Snapshot};
pub use fill::Fill;
pub use get_or_set::GetOrSet;
pub use invalidation::{Depth, Stamp};
