#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! - [`Breaker`], without tower: [`Breaker::call`] around a future, [`Breaker::try_acquire`] around anything.
//! - [`CircuitLayer`], around any tower service; with the feature `http`, `CircuitLayer::http` around an HTTP service.
//! - [`Fallback`], [`Adapter`]: the seams of the layer. With the feature `keyed`, `Breakers`: one per key.
//! - [`failure_rate`], [`slow_calls`], [`consecutive`]: when to open. [`Backoff`]: for how long. [`Probes`]: how to come back.

mod adapter;
mod breaker;
mod builder;
mod clock;
mod config;
mod control;
mod error;
mod event;
mod fallback;
#[cfg(feature = "tokio")]
pub mod feed;
mod future;
mod gate;
#[cfg(feature = "tokio")]
mod health;
#[cfg(feature = "http")]
pub mod http;
mod kept;
#[cfg(feature = "keyed")]
mod keyed;
#[cfg(feature = "histogram")]
mod latency;
mod layer;
#[cfg(all(test, buttress_loom))]
mod loom;
mod machine;
mod manner;
mod monotonic;
mod name;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod operate;
mod permit;
mod policy;
mod preset;
mod request;
mod rule;
mod service;
mod snapshot;
mod stamped;
mod subscription;
mod sync;
mod ticket;
mod timeout;
mod verdict;
mod wait;
#[cfg(feature = "tokio")]
mod waiting;
mod watch;
mod window;

pub use adapter::{Adapter, Exchange, Judge};
pub use breaker::Breaker;
pub use builder::{Builder, Change, New, Running};
pub use clock::{Clock, ManualClock};
pub use error::{ConfigError, Error, Reason, Rejected, TimedOut};
pub use event::{Cause, Event, Observer, Reading, Transition};
pub use fallback::{
    Detour, Fallback, FallbackIf, FallbackTo, Kept, Never, NoFallback, Nothing, Outcome, Spare,
};
pub use future::ResponseFuture;
pub use kept::Memory;
#[cfg(feature = "keyed")]
pub use keyed::{Breakers, BreakersBuilder, Keyed, KeyedCircuit, KeyedCircuitLayer};
#[cfg(feature = "histogram")]
pub use latency::Latencies;
pub use layer::{CircuitLayer, Single};
pub use machine::State;
pub use name::Name;
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Tracing;
pub use permit::Permit;
pub use policy::{
    Backoff, Cancel, Probes, Ramp, Rate, Trip, consecutive, failure_rate, failure_rate_above,
    slow_calls,
};
pub use service::Circuit;
pub use snapshot::{ProbeCounts, Snapshot};
pub use subscription::Subscription;
pub use timeout::{Limit, NoTimeout, Timer};
#[cfg(feature = "tokio")]
pub use timeout::{Timeout, TokioTimer};
pub use verdict::{Classify, ErrIsFailure, ErrorsBy, Verdict};
#[cfg(feature = "tokio")]
pub use waiting::{Waiting, WaitingCircuit};
pub use window::{Tally, Window};
