//! How the breaker and its layer behave, seen from outside.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod asking;
mod bounding;
mod budgets;
mod cancelling;
mod diverting;
#[cfg(feature = "tokio")]
mod feed;
mod forcing;
#[cfg(feature = "http")]
mod grpc;
#[cfg(feature = "tokio")]
mod health;
#[cfg(feature = "http")]
mod http;
mod keeping;
#[cfg(feature = "keyed")]
mod keyed;
mod laws;
mod layering;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observe;
mod probing;
mod ramping;
#[cfg(feature = "redis")]
mod redis_feed;
mod telling;
mod tripping;
#[cfg(feature = "tokio")]
mod waiting;

use std::time::Duration;

use buttress_circuit::{Breaker, Builder, ManualClock};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;

/// A builder on a clock that a test moves.
fn builder() -> (Builder, ManualClock) {
    let clock = ManualClock::new();
    (Breaker::builder("test").clock(&clock), clock)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[track_caller]
fn succeed(breaker: &Breaker, times: usize) {
    (0..times).for_each(|_| breaker.try_acquire().unwrap().success());
}

#[track_caller]
fn fail(breaker: &Breaker, times: usize) {
    (0..times).for_each(|_| breaker.try_acquire().unwrap().failure());
}
