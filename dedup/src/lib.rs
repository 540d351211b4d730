#![doc = include_str!("../README.md")]

mod builder;
mod coordinate;
mod error;
mod event;
mod flights;
#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "in the bounds of what is public, and named by nobody else"
)]
mod flying;
#[cfg(feature = "http")]
pub mod http;
mod layer;
mod leader;
mod line;
#[cfg(all(test, buttress_loom))]
mod loom;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod open;
mod queue;
mod run;
mod sync;
mod table;
mod wait;

pub use builder::FlightsBuilder;
pub use coordinate::{Asking, Coordinator, Lease, Seat};
#[cfg(feature = "redis")]
pub use coordinate::{RedisBuilder, RedisCoordinator};
pub use error::DedupError;
pub use event::{Event, Observer};
pub use flights::{Flights, Role, Snapshot};
#[cfg(feature = "detached")]
pub use flying::Detached;
pub use flying::{Inline, Mode, Run};
pub use layer::{Codec, Dedup, DedupLayer, OnFailure, OnFull, ResponseFuture};
pub use leader::{Landing, Leader};
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Tracing;
pub use run::Running;
pub use wait::{Wait, Waited};
