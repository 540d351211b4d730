//! Criterion on `rows/circuit.rs`; and on what stands beside peers without a promise: windows of calls, a breaker that is put around work without a service, windows that hold
//! many calls, probes, and two threads at one breaker.

mod support;
#[path = "support/thousand.rs"]
mod thousand;
#[path = "support/threads.rs"]
mod threads;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use benches::kit::call;
use benches::rows::circuit::{Echo, ROWS};
use buttress_circuit::{
    Breaker, CircuitLayer, Clock, Probes, Rate, Trip, Window, consecutive, failure_rate,
};
use criterion::Criterion;
use tower_layer::Layer;

use thousand::thousand;
use threads::both_ways;
use two_threads::two_threads;

const TEN_SECONDS: Duration = Duration::from_secs(10);
const A_DAY: Duration = Duration::from_hours(24);
const SIZES: [u32; 4] = [100, 1000, 10_000, 100_000];
/// How many calls a window of time holds before it is measured.
const HELD: [u32; 3] = [100, 1000, 10_000];
/// How many successes close it: more than are measured of one.
const PROBES: u32 = 4000;

fn main() {
    support::bench(ROWS, |criterion| {
        closed(criterion);
        filled(criterion);
        open(criterion);
        half_open(criterion);
    });
}

fn closed(criterion: &mut Criterion) {
    two_threads(criterion, "circuit/closed/bare", || bare);
    for (id, clock) in [
        ("circuit/closed/ours-time", Clock::quanta()),
        ("circuit/closed/ours-time-std", Clock::system()),
    ] {
        let breaker = breaker(by_time(), clock);
        two_threads(criterion, id, || calls(&breaker));
    }
    let by_time = breaker(by_time(), Clock::system());
    both_ways(criterion, "circuit/closed/ours-call-time-std", || {
        works(&by_time)
    });
    let permits = breaker(over(Window::time(TEN_SECONDS)), Clock::quanta());
    two_threads(criterion, "circuit/closed/ours-permit", || {
        || drop(permits.try_acquire().map(|permit| permit.success()))
    });
    for size in SIZES {
        let breaker = breaker(over(Window::calls(size)), Clock::system());
        // Full: what is new pushes something out.
        (0..size).for_each(|_| breaker.try_acquire().expect("closed").success());
        let id = format!("circuit/closed/ours-count-{size}");
        both_ways(criterion, &id, || calls(&breaker));
        let id = format!("circuit/closed/ours-call-count-{size}");
        both_ways(criterion, &id, || works(&breaker));
    }
    let breaker = breaker(consecutive(5), Clock::system());
    both_ways(criterion, "circuit/closed/ours-consecutive", || {
        calls(&breaker)
    });
    both_ways(criterion, "circuit/closed/ours-call-consecutive", || {
        works(&breaker)
    });
}

/// A window of time that holds many calls already.
fn filled(criterion: &mut Criterion) {
    thousand(
        criterion,
        "circuit/closed-filled-x1000/bare",
        || (),
        |()| bare(),
    );
    for held in HELD {
        let fresh = || {
            let breaker = breaker(over(Window::time(A_DAY)), Clock::system());
            let mut service = CircuitLayer::new(breaker).layer(Echo);
            (0..held).for_each(|_| drop(call(&mut service, 7)));
            service
        };
        let id = format!("circuit/closed-filled-x1000/ours-time-{held}");
        thousand(criterion, &id, fresh, |service| drop(call(service, 7)));
    }
}

fn open(criterion: &mut Criterion) {
    two_threads(criterion, "circuit/open/bare", || bare);
    for (id, clock) in [
        ("circuit/open/ours", Clock::quanta()),
        ("circuit/open/ours-std", Clock::system()),
    ] {
        let breaker = breaker(by_time(), clock);
        breaker.open_for(A_DAY);
        two_threads(criterion, id, || calls(&breaker));
    }
    let breaker = breaker(by_time(), Clock::system());
    breaker.open_for(A_DAY);
    both_ways(criterion, "circuit/open/ours-call-std", || works(&breaker));
}

/// A thousand successful probes each.
fn half_open(criterion: &mut Criterion) {
    thousand(
        criterion,
        "circuit/half-open-x1000/bare",
        || (),
        |()| bare(),
    );
    thousand(
        criterion,
        "circuit/half-open-x1000/ours-std",
        || CircuitLayer::new(probed()).layer(Echo),
        |service| drop(call(service, 7)),
    );
    thousand(
        criterion,
        "circuit/half-open-x1000/ours-call-std",
        probed,
        |breaker| work(breaker),
    );
}

/// Half-open, by the system's clock.
#[expect(clippy::disallowed_methods, reason = "its open time passes, for real")]
fn probed() -> Breaker {
    let builder = Breaker::builder("bench").half_open(Probes::new(PROBES));
    let breaker = builder.build().expect("settings that make sense");
    breaker.open_for(Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(2));
    breaker
}

fn breaker(trip: impl Into<Trip>, clock: Clock) -> Breaker {
    let builder = Breaker::builder("bench").trip(trip).clock(clock);
    builder.build().expect("settings that make sense")
}

fn over(window: Window) -> Rate {
    failure_rate(0.5).over(window)
}

fn by_time() -> Rate {
    over(Window::time(TEN_SECONDS))
}

fn bare() {
    black_box(call(&mut Echo, 7)).ok();
}

/// A service behind `breaker` that is called again and again.
fn calls(breaker: &Breaker) -> impl FnMut() + Send + use<> {
    let mut service = CircuitLayer::new(breaker.clone()).layer(Echo);
    move || drop(call(&mut service, 7))
}

/// Work that `breaker` is put around without a service.
fn works(breaker: &Breaker) -> impl FnMut() + Send + use<> {
    let breaker = breaker.clone();
    move || work(&breaker)
}

fn work(breaker: &Breaker) {
    let call = pin!(breaker.call(|| ready(Ok::<u64, u64>(7))));
    let polled = call.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready(), "nobody is waited for");
}
