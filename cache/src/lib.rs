#![doc = include_str!("../README.md")]

mod builder;
mod cache;
mod call;
mod caught;
mod clock;
mod counters;
mod entry;
mod error;
mod event;
mod fill;
mod get;
mod get_or_set;
mod guard;
mod hit;
#[cfg(feature = "http")]
pub mod http;
mod invalidate;
mod keyed;
mod l1;
#[cfg(feature = "l2")]
pub mod l2;
#[cfg(all(test, buttress_loom))]
mod loom;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod reading;
mod set;
mod settings;
mod slots;
mod store;
mod sync;
mod told;
mod view;

pub use builder::Builder;
pub use cache::Cache;
pub use clock::{Depth, Stamp};
pub use counters::Snapshot;
pub use error::{FillError, InvalidateError};
pub use event::{Event, Failure, L2Failure, Observer, Stale};
pub use fill::Fill;
pub use get::{Get, GetMany};
pub use get_or_set::GetOrSet;
pub use guard::Guard;
pub use hit::{Hit, State, Tier};
pub use invalidate::{Clear, Invalidate};
#[cfg(feature = "moka")]
pub use l1::Eviction;
pub use l1::Memory;
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Tracing;
pub use set::Set;
