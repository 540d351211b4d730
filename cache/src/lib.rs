#![doc = include_str!("../README.md")]

mod builder;
mod cache;
mod clock;
mod counters;
mod entry;
mod error;
mod event;
mod fill;
mod get_or_set;
#[cfg(feature = "http")]
pub mod http;
mod l1;

pub use builder::Builder;
pub use cache::{Cache, Set};
pub use clock::{Depth, Stamp};
pub use entry::{Hit, State};
pub use error::FillError;
pub use event::{Event, Observer, Snapshot};
pub use fill::Fill;
pub use get_or_set::GetOrSet;
