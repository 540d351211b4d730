//! A permit of a closed breaker, taken and given back with success.

use std::time::Duration;

use buttress_circuit::{
    Breaker, Breakers, Clock, Trip, Window, consecutive, failure_rate, slow_calls,
};
use criterion::Criterion;

use super::threads::both_ways;

const SECONDS: [u64; 2] = [10, 60];
const CALLS: [u32; 3] = [10, 100, 1000];

/// Both kinds, by both clocks.
pub(super) fn windows(criterion: &mut Criterion) {
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
    let window = || failure_rate(0.5).over(Window::time(Duration::from_secs(10)));
    let rules: [(&str, Trip); 4] = [
        ("consecutive", consecutive(5)),
        ("slow", slow().into()),
        ("rate-or-consecutive", window().or(consecutive(5))),
        ("all", window().or(slow()).or(consecutive(5))),
    ];
    for (name, trip) in rules {
        let breaker = breaker(trip, &Clock::quanta());
        let id = format!("circuit/permit/{name}");
        both_ways(criterion, &id, || calls(&breaker));
    }
}

/// A breaker for each key, which is looked up.
pub(super) fn keys(criterion: &mut Criterion) {
    let model = breaker(failure_rate(0.5), &Clock::quanta());
    let breakers: Breakers<u64> = Breakers::new(model);
    both_ways(criterion, "circuit/permit/keyed", || {
        let (breakers, mut key) = (breakers.clone(), 0);
        move || {
            key = (key + 1) % 1000;
            breakers.get(&key).try_acquire().unwrap().success();
        }
    });
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
