#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! - [`Breaker`], without tower: [`Breaker::call`] around a future, [`Breaker::try_acquire`] around anything.
//! - [`CircuitLayer`], around any tower service; with the feature `http`, `CircuitLayer::http` around an HTTP service.
//! - [`failure_rate`], [`slow_calls`], [`consecutive`]: when to open. [`Backoff`]: for how long. [`Probes`]: how to come back.

mod breaker;
mod builder;
mod clock;
mod config;
mod control;
mod error;
mod event;
mod future;
mod gate;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "histogram")]
mod latency;
mod layer;
#[cfg(all(test, buttress_loom))]
mod loom;
mod machine;
mod memory;
mod name;
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
mod sync;
mod verdict;
mod watch;
mod window;

pub use breaker::Breaker;
pub use builder::{Builder, Change, New, Running};
pub use clock::{Clock, ManualClock};
pub use error::{ConfigError, Error, Reason, Rejected};
pub use event::{Cause, Event, Observer, Reading, Transition};
pub use future::ResponseFuture;
#[cfg(feature = "histogram")]
pub use latency::Latencies;
pub use layer::CircuitLayer;
pub use machine::State;
pub use memory::Memory;
pub use name::Name;
pub use observe::{Judge, Observe, Watch};
pub use permit::Permit;
pub use policy::{
    Backoff, Cancel, Probes, Ramp, Rate, Trip, consecutive, failure_rate, slow_calls,
};
pub use service::Circuit;
pub use snapshot::{ProbeCounts, Snapshot};
pub use verdict::{Classify, ErrIsFailure, Verdict};
pub use window::{Tally, Window};
