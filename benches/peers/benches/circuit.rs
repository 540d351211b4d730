//! Circuit breakers: closed with each kind of window, open, half-open; one thread, and two on one breaker.
//!
//! Each is set up as its documentation shows, around work that is done at once. `bare` is that work alone.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench lets open times pass, for real"
)]

use std::hint::black_box;
use std::time::Duration;

use buttress_circuit::{
    Breaker, CircuitLayer, Clock, Probes, Rate, Trip, Window, consecutive, failure_rate,
};
use criterion::{Criterion, criterion_group, criterion_main};
use failsafe::futures::CircuitBreaker as _;
use peers::{BAD, Echo, GOOD, both_ways, call, echo, poll, thousand, thousand_both_ways};
use recloser::{AsyncRecloser, Recloser};
use tower_layer::Layer;
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, FailureModel, SlidingWindowType};
use tower_service::Service;

const TEN_SECONDS: Duration = Duration::from_secs(10);
const A_DAY: Duration = Duration::from_secs(86_400);
const SIZES: [u32; 4] = [100, 1000, 10_000, 100_000];
/// How many calls a window of time holds before it is measured.
const HELD: [u32; 3] = [100, 1000, 10_000];

fn ours(trip: impl Into<Trip>, clock: Clock) -> Breaker {
    let builder = Breaker::builder("bench").trip(trip).clock(clock);
    builder.build().expect("settings that make sense")
}

fn over(window: Window) -> Rate {
    failure_rate(0.5).over(window)
}

fn by_time() -> Rate {
    over(Window::time(TEN_SECONDS))
}

/// The call that all of them are around.
fn bare() {
    black_box(call(&mut Echo, GOOD)).ok();
}

/// A service behind `breaker` that is called again and again.
fn calls(breaker: &Breaker) -> impl FnMut() + Send + use<> {
    let mut service = CircuitLayer::new(breaker.clone()).layer(Echo);
    move || drop(call(&mut service, GOOD))
}

/// Work that `breaker` is put around without a service, as failsafe and recloser are.
fn works(breaker: &Breaker) -> impl FnMut() + Send + use<> {
    let breaker = breaker.clone();
    move || drop(poll(breaker.call(|| echo(GOOD))))
}

/// The same of a peer. Its layer makes a breaker for each service: what two threads share is a clone of one.
fn clones<S>(service: &S) -> impl FnMut() + Send + use<S>
where
    S: Service<u64> + Clone + Send,
{
    let mut service = service.clone();
    move || drop(call(&mut service, GOOD))
}

fn recloser(calls: usize) -> AsyncRecloser {
    let built = Recloser::custom()
        .error_rate(0.5)
        .closed_len(calls)
        .open_wait(A_DAY);
    let breaker = AsyncRecloser::from(built.build());
    (0..=calls).for_each(|_| drop(poll(breaker.call(echo(GOOD)))));
    breaker
}

fn closed_ours(c: &mut Criterion) {
    both_ways(c, "circuit/closed/bare", || bare);
    let limit = tower::limit::ConcurrencyLimitLayer::new(1000);
    let mut limited = limit.layer(Echo);
    c.bench_function("circuit/closed/tower-concurrency-limit", |bencher| {
        bencher.iter(|| call(&mut limited, GOOD));
    });
    let breaker = ours(by_time(), Clock::quanta());
    both_ways(c, "circuit/closed/ours-time", || calls(&breaker));
    let breaker = ours(by_time(), Clock::system());
    both_ways(c, "circuit/closed/ours-time-std", || calls(&breaker));
    both_ways(c, "circuit/closed/ours-call-time-std", || works(&breaker));
    let breaker = ours(by_time(), Clock::quanta());
    both_ways(c, "circuit/closed/ours-permit", || {
        let breaker = breaker.clone();
        move || drop(breaker.try_acquire().map(|permit| permit.success()))
    });
    for size in SIZES {
        let breaker = ours(over(Window::calls(size)), Clock::system());
        (0..size).for_each(|_| breaker.try_acquire().expect("closed").success());
        let id = format!("circuit/closed/ours-count-{size}");
        both_ways(c, &id, || calls(&breaker));
        let id = format!("circuit/closed/ours-call-count-{size}");
        both_ways(c, &id, || works(&breaker));
    }
    let breaker = ours(consecutive(5), Clock::system());
    both_ways(c, "circuit/closed/ours-consecutive", || calls(&breaker));
    both_ways(c, "circuit/closed/ours-call-consecutive", || {
        works(&breaker)
    });
}

/// A window of time that holds many calls already.
fn filled_ours(c: &mut Criterion) {
    let id = "circuit/closed-filled-x1000/bare";
    thousand_both_ways(c, id, || (), |()| bare());
    for held in HELD {
        let id = format!("circuit/closed-filled-x1000/ours-time-{held}");
        let fresh = || {
            let window = Window::time(A_DAY);
            let mut service = CircuitLayer::new(ours(over(window), Clock::system())).layer(Echo);
            (0..held).for_each(|_| drop(call(&mut service, GOOD)));
            service
        };
        thousand_both_ways(c, &id, fresh, |service| drop(call(service, GOOD)));
    }
}

fn closed_peers(c: &mut Criterion) {
    for size in SIZES {
        let layer = CircuitBreakerLayer::builder()
            .failure_rate_threshold(0.5)
            .sliding_window_size(size as usize)
            .build()
            .expect("valid");
        let id = format!("circuit/closed/tower-resilience-count-{size}");
        // What a window holds is what may be slow.
        let mut service = layer.layer(Echo);
        (0..size).for_each(|_| drop(call(&mut service, GOOD)));
        both_ways(c, &id, || clones(&service));
    }
    for held in HELD {
        let layer = || {
            CircuitBreakerLayer::builder()
                .failure_rate_threshold(0.5)
                .sliding_window_type(SlidingWindowType::TimeBased)
                .sliding_window_duration(A_DAY)
                .build()
                .expect("valid")
        };
        // The window grows while it is measured: from what it holds to begin with, by the thousand calls that are measured.
        let id = format!("circuit/closed-filled-x1000/tower-resilience-time-{held}");
        let fresh = || {
            let layer = layer();
            let mut service = layer.layer(Echo);
            (0..held).for_each(|_| drop(call(&mut service, GOOD)));
            service
        };
        thousand_both_ways(c, &id, fresh, |service| drop(call(service, GOOD)));
    }
    let layer = CircuitBreakerLayer::builder()
        .failure_model(FailureModel::ConsecutiveFailures { k: 5 })
        .build()
        .expect("valid");
    let service = layer.layer(Echo);
    both_ways(c, "circuit/closed/tower-resilience-consecutive", || {
        clones(&service)
    });

    let breaker = failsafe::Config::new().build();
    both_ways(c, "circuit/closed/failsafe-time", || {
        let breaker = breaker.clone();
        move || drop(poll(breaker.call(echo(GOOD))))
    });
    let policy =
        failsafe::failure_policy::consecutive_failures(5, failsafe::backoff::constant(A_DAY));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    both_ways(c, "circuit/closed/failsafe-consecutive", || {
        let breaker = breaker.clone();
        move || drop(poll(breaker.call(echo(GOOD))))
    });
    for size in SIZES {
        let breaker = recloser(size as usize);
        both_ways(c, &format!("circuit/closed/recloser-count-{size}"), || {
            let breaker = breaker.clone();
            move || drop(poll(breaker.call(echo(GOOD))))
        });
    }
}

fn open(c: &mut Criterion) {
    let _entered = peers::runtime().enter();
    both_ways(c, "circuit/open/bare", || bare);
    for (id, clock) in [
        ("circuit/open/ours", Clock::quanta()),
        ("circuit/open/ours-std", Clock::system()),
    ] {
        let breaker = ours(by_time(), clock);
        breaker.open_for(A_DAY);
        both_ways(c, id, || calls(&breaker));
    }
    let breaker = ours(by_time(), Clock::system());
    breaker.open_for(A_DAY);
    both_ways(c, "circuit/open/ours-call-std", || works(&breaker));
    let layer = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(10)
        .minimum_number_of_calls(1)
        .wait_duration_in_open(A_DAY)
        .build()
        .expect("valid");
    let mut service = layer.layer(Echo);
    (0..20).for_each(|_| drop(call(&mut service, BAD)));
    assert!(call(&mut service, GOOD).is_err(), "it is not open");
    // By one thread: two of them wait for each other by a timer of a millisecond.
    c.bench_function("circuit/open/tower-resilience", |bencher| {
        bencher.iter(|| call(&mut service, GOOD));
    });
    let policy =
        failsafe::failure_policy::consecutive_failures(1, failsafe::backoff::constant(A_DAY));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    (0..3).for_each(|_| drop(poll(breaker.call(echo(BAD)))));
    assert!(poll(breaker.call(echo(GOOD))).is_err(), "it is not open");
    both_ways(c, "circuit/open/failsafe", || {
        let breaker = breaker.clone();
        move || drop(poll(breaker.call(echo(GOOD))))
    });
    let built = Recloser::custom()
        .error_rate(0.5)
        .closed_len(1)
        .open_wait(A_DAY);
    let breaker = AsyncRecloser::from(built.build());
    (0..5).for_each(|_| drop(poll(breaker.call(echo(BAD)))));
    assert!(poll(breaker.call(echo(GOOD))).is_err(), "it is not open");
    both_ways(c, "circuit/open/recloser", || {
        let breaker = breaker.clone();
        move || drop(poll(breaker.call(echo(GOOD))))
    });
}

/// A thousand successful probes each. failsafe closes with the first, and so has no such state to measure.
fn half_open(c: &mut Criterion) {
    let half_open_ours = || {
        let builder = Breaker::builder("bench").half_open(Probes::new(4000));
        let breaker = builder.build().expect("valid");
        breaker.open_for(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        breaker
    };
    let id = "circuit/half-open-x1000/bare";
    thousand_both_ways(c, id, || (), |()| bare());
    let half_open_service = || CircuitLayer::new(half_open_ours()).layer(Echo);
    thousand_both_ways(
        c,
        "circuit/half-open-x1000/ours-std",
        half_open_service,
        |service| {
            drop(call(service, GOOD));
        },
    );
    thousand_both_ways(
        c,
        "circuit/half-open-x1000/ours-call-std",
        half_open_ours,
        |breaker| {
            drop(poll(breaker.call(|| echo(GOOD))));
        },
    );
    let tripped_peer = |wait| {
        let layer = CircuitBreakerLayer::builder()
            .sliding_window_size(10)
            .minimum_number_of_calls(1)
            .wait_duration_in_open(wait)
            .permitted_calls_in_half_open(4000)
            .build()
            .expect("valid");
        let mut service = layer.layer(Echo);
        (0..20).for_each(|_| drop(call(&mut service, BAD)));
        service
    };
    assert!(
        call(&mut tripped_peer(A_DAY), GOOD).is_err(),
        "it has not tripped"
    );
    let half_open_peer = || {
        let service = tripped_peer(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        service
    };
    // By one thread: who finds it locked waits for a timer of a millisecond, here and where it is open.
    thousand(
        c,
        "circuit/half-open-x1000/tower-resilience",
        half_open_peer,
        |service| {
            drop(call(service, GOOD));
        },
    );
    let tripped_recloser = |wait| {
        let built = Recloser::custom()
            .error_rate(0.5)
            .closed_len(1)
            .half_open_len(4000);
        let breaker = AsyncRecloser::from(built.open_wait(wait).build());
        (0..5).for_each(|_| drop(poll(breaker.call(echo(BAD)))));
        breaker
    };
    let tripped = tripped_recloser(A_DAY);
    assert!(
        poll(tripped.call(echo(GOOD))).is_err(),
        "it has not tripped"
    );
    let half_open_recloser = || {
        let breaker = tripped_recloser(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        breaker
    };
    thousand_both_ways(
        c,
        "circuit/half-open-x1000/recloser",
        half_open_recloser,
        |breaker| {
            drop(poll(breaker.call(echo(GOOD))));
        },
    );
}

criterion_group!(
    benches,
    closed_ours,
    closed_peers,
    filled_ours,
    open,
    half_open
);
criterion_main!(benches);
