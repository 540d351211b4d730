//! A permit of a closed breaker, taken and given back with success.

use std::hash::Hash;
use std::hint::black_box;
use std::time::{Duration, Instant};

use buttress_circuit::{
    Breaker, Breakers, Clock, Event, Rate, Trip, Window, consecutive, failure_rate, slow_calls,
};
use criterion::Criterion;

use super::threads::both_ways;

const SECONDS: [u64; 2] = [10, 60];
const CALLS: [u32; 3] = [10, 100, 1000];

/// Both kinds, by the two clocks that are read without asking anybody. `bare` does without a permit.
pub(super) fn windows(criterion: &mut Criterion) {
    let unasked = breaker(by_time(), &Clock::system());
    both_ways(criterion, "circuit/permit/bare", || {
        || {
            black_box(&unasked);
        }
    });
    for (clock, name) in [(Clock::quanta(), ""), (Clock::system(), "-std")] {
        for seconds in SECONDS {
            let window = Window::time(Duration::from_secs(seconds));
            let breaker = breaker(failure_rate(0.5).over(window), &clock);
            let id = format!("circuit/permit/time-{seconds}s{name}");
            both_ways(criterion, &id, || calls(&breaker));
        }
        for size in CALLS {
            let breaker = breaker(failure_rate(0.5).over(Window::calls(size)), &clock);
            // Full: what is new pushes something out.
            (0..size).for_each(|_| breaker.try_acquire().unwrap().success());
            let id = format!("circuit/permit/count-{size}{name}");
            both_ways(criterion, &id, || calls(&breaker));
        }
    }
}

/// One rule, and several.
pub(super) fn rules(criterion: &mut Criterion) {
    let slow = || slow_calls(Duration::from_secs(1), 0.5);
    let rules: [(&str, Trip); 4] = [
        ("consecutive", consecutive(5)),
        ("slow", slow().into()),
        ("rate-or-consecutive", by_time().or(consecutive(5))),
        ("all", by_time().or(slow()).or(consecutive(5))),
    ];
    for (name, trip) in rules {
        let breaker = breaker(trip, &Clock::quanta());
        let id = format!("circuit/permit/{name}");
        both_ways(criterion, &id, || calls(&breaker));
    }
}

/// The others: tokio's, and one of a closure, which here reads that of the system.
pub(super) fn clocks(criterion: &mut Criterion) {
    let start = now();
    for (name, clock) in [
        ("tokio", Clock::tokio()),
        ("from-fn", Clock::from_fn(move || start.elapsed())),
    ] {
        let breaker = breaker(by_time(), &clock);
        let id = format!("circuit/permit/time-10s-{name}");
        both_ways(criterion, &id, || calls(&breaker));
    }
}

#[expect(clippy::disallowed_methods, reason = "where the clock begins")]
fn now() -> Instant {
    Instant::now()
}

/// A breaker for each of a thousand keys, which is looked up.
pub(super) fn keys(criterion: &mut Criterion) {
    keyed(criterion, "number", |n| n);
    keyed(criterion, "text", |n| format!("shop.example/products/{n}"));
}

fn keyed<K>(criterion: &mut Criterion, name: &str, make: fn(u64) -> K)
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    let model = breaker(failure_rate(0.5), &Clock::quanta());
    let breakers: Breakers<K> = Breakers::new(model);
    let keys: Vec<K> = (0..1000).map(make).collect();
    both_ways(criterion, &format!("circuit/permit/keyed-{name}"), || {
        let (breakers, mut keys) = (breakers.clone(), keys.iter().cycle());
        move || {
            let key = keys.next().expect("it never ends");
            breakers.get(key).try_acquire().unwrap().success();
        }
    });
}

/// Nobody hears of a call that changes no state, but who asks for calls.
pub(super) fn observers(criterion: &mut Criterion) {
    let builder = || Breaker::builder("bench").trip(by_time());
    for (name, builder) in [
        ("observer", builder().observer(ignore)),
        ("observer-of-calls", builder().observer_of_calls(ignore)),
    ] {
        let breaker = builder.clock(Clock::quanta()).build().unwrap();
        let id = format!("circuit/permit/time-10s-{name}");
        both_ways(criterion, &id, || calls(&breaker));
    }
}

fn ignore(_: &Event<'_>) {}

fn by_time() -> Rate {
    failure_rate(0.5).over(Window::time(Duration::from_secs(10)))
}

fn breaker(trip: impl Into<Trip>, clock: &Clock) -> Breaker {
    Breaker::builder("bench")
        .trip(trip)
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn calls(breaker: &Breaker) -> impl FnMut() + Send + use<> {
    let breaker = breaker.clone();
    move || breaker.try_acquire().unwrap().success()
}
