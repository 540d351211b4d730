//! A breaker around a service that is ready and answers at once.

use std::future::{Ready, ready};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use buttress_circuit::{Breaker, CircuitLayer, Clock, Window, failure_rate};
use testkit::alloc::count;
use tower_layer::Layer;
use tower_service::Service;

use crate::kit::{Budget, Call, Memory, Row, Work, Zero, call};

/// A time window of ten seconds, by both clocks.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "circuit/closed/ours-time",
        budget: Some(Budget::new(20.0, 0)),
        zero: Zero::beside(bare),
        work: || closed(Clock::quanta()),
    }),
    Row::Call(Call {
        id: "circuit/closed/ours-time-std",
        budget: Some(Budget::new(45.0, 0)),
        zero: Zero::beside(bare),
        work: || closed(Clock::system()),
    }),
    Row::Call(Call {
        id: "circuit/open/ours",
        budget: Some(Budget::new(15.0, 0)),
        zero: Zero::beside(bare),
        work: || open(Clock::quanta()),
    }),
    Row::Call(Call {
        id: "circuit/open/ours-std",
        budget: Some(Budget::new(40.0, 0)),
        zero: Zero::beside(bare),
        work: || open(Clock::system()),
    }),
    Row::Call(Call {
        id: "circuit/closed/ours-permit",
        budget: None,
        zero: Zero::beside(bare),
        work: || {
            let breaker = breaker(Clock::quanta());
            Work::new(move || breaker.try_acquire().map(|permit| permit.success()))
        },
    }),
    // What the rows above are made of: where these are slow, no breaker is fast.
    Row::Call(Call {
        id: "circuit/made-of/quanta",
        budget: None,
        zero: Zero::beside(bare),
        work: || {
            let clock = quanta::Clock::new();
            Work::new(move || clock.raw())
        },
    }),
    Row::Call(Call {
        id: "circuit/made-of/system-clock",
        budget: None,
        zero: Zero::beside(bare),
        work: || Work::new(now),
    }),
    Row::Call(Call {
        id: "circuit/made-of/compare-exchange",
        budget: None,
        zero: Zero::beside(bare),
        work: || {
            let cell = AtomicU64::new(0);
            Work::new(move || cell.compare_exchange(0, 0, AcqRel, Acquire))
        },
    }),
    Row::Memory(Memory {
        id: "circuit/memory/breaker",
        budget: 1024,
        bytes: || count(|| breaker(Clock::quanta())).0.bytes,
    }),
];

fn closed(clock: Clock) -> Work {
    let mut service = CircuitLayer::new(breaker(clock)).layer(Echo);
    Work::new(move || call(&mut service, 7))
}

fn open(clock: Clock) -> Work {
    let breaker = breaker(clock);
    breaker.open_for(Duration::from_hours(24));
    let mut service = CircuitLayer::new(breaker).layer(Echo);
    Work::new(move || call(&mut service, 7))
}

fn bare() -> Work {
    Work::new(|| call(&mut Echo, 7))
}

fn breaker(clock: Clock) -> Breaker {
    let rate = failure_rate(0.5).over(Window::time(Duration::from_secs(10)));
    let builder = Breaker::builder("bench").trip(rate).clock(clock);
    builder.build().expect("settings that make sense")
}

#[expect(clippy::disallowed_methods, reason = "what it costs is the question")]
fn now() -> Instant {
    Instant::now()
}

/// Ready, and answers at once with what it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = u64;
    type Future = Ready<Result<u64, u64>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), u64>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}
