//! What is exact about cost.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use buttress_circuit::{
    Breaker, Builder, Cancel, CircuitLayer, Clock, Event, Probes, Rate, State, Window, consecutive,
    failure_rate, slow_calls,
};
use testkit::alloc::count;
use tokio_test::task;
use tower::{Layer, Service, service_fn};

use super::{builder, fail, ms, secs, succeed};

fn rules() -> [Rate; 4] {
    [
        failure_rate(0.5).over(Window::time(secs(10))),
        failure_rate(0.5).over(Window::calls(1000)),
        slow_calls(secs(1), 0.5),
        failure_rate(0.9).min_calls(1_000_000),
    ]
}

#[test]
fn no_call_allocates_in_any_state() {
    for rate in rules() {
        let (builder, clock) = builder();
        let breaker = builder.trip(rate.or(consecutive(100))).build().unwrap();
        let mut service = CircuitLayer::new(breaker.clone()).layer(service_fn(|ok: bool| {
            ready(if ok { Ok(()) } else { Err(()) })
        }));
        let mut call = |ok| {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let ready = Service::<bool>::poll_ready(&mut service, &mut cx);
            assert!(ready.is_ready());
            let mut answer = std::pin::pin!(service.call(ok));
            assert!(answer.as_mut().poll(&mut cx).is_ready());
        };
        let (closed, ()) = count(|| {
            call(true);
            call(false);
            call(true);
        });
        while breaker.state() == State::Closed {
            fail(&breaker, 1);
        }
        let (open, ()) = count(|| call(true));
        clock.advance(secs(60));
        let (half_open, ()) = count(|| {
            call(true);
            call(true);
            call(true);
        });
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!((closed.count, open.count, half_open.count), (0, 0, 0));
    }
}

#[test]
fn a_future_is_thirty_two_bytes_more() {
    type Inner = Ready<Result<[u64; 4], ()>>;
    let layer = CircuitLayer::new(builder().0.build().unwrap());
    let mut service = layer.layer(service_fn(|()| -> Inner { ready(Ok([0; 4])) }));
    let mut ready = task::spawn(&mut service);
    assert!(ready.enter(|cx, mut s| s.poll_ready(cx)).is_ready());
    drop(ready);
    let call = service.call(());
    assert!(size_of_val(&call) <= size_of::<Inner>() + 32);
}

#[test]
fn a_fallback_adds_no_more_than_its_own_future() {
    type Inner = Ready<Result<[u64; 4], ()>>;
    let work = service_fn(|()| -> Inner { ready(Ok([0; 4])) });
    let layer = CircuitLayer::new(builder().0.build().unwrap()).fallback(work);
    let mut service = layer.layer(work);
    let mut ready = task::spawn(&mut service);
    assert!(ready.enter(|cx, mut s| s.poll_ready(cx)).is_ready());
    drop(ready);
    let call = service.call(());
    assert!(
        size_of_val(&call) <= size_of::<Inner>() + 48,
        "{}",
        size_of_val(&call)
    );
}

#[test]
fn a_breaker_with_a_time_window_fits_a_kibibyte() {
    let settings = || {
        Breaker::builder("small")
            .half_open(Probes::new(1))
            .clock(Clock::system())
    };
    let (built, _breaker) = count(|| settings().build().unwrap());
    assert!(built.bytes <= 1024, "{built:?}");
    let (fresh, _fresh) = count(|| _breaker.fresh());
    assert!(fresh.bytes <= 640, "{fresh:?}");
    let rate = failure_rate(0.5).over(Window::calls(1 << 16));
    let (counting, _breaker) = count(|| settings().trip(rate).build().unwrap());
    assert!(counting.bytes <= 1024 + (2 << 16) / 8, "{counting:?}");
}

#[test]
fn the_cost_of_a_call_does_not_depend_on_the_window() {
    let small = size_of::<Breaker>();
    assert_eq!(small, size_of::<usize>());
    let (builder, _clock) = builder();
    let breaker = builder.build().unwrap();
    let (many, ()) = count(|| succeed(&breaker, 100_000));
    assert_eq!(many.count, 0);
}

/// How often a call that succeeds asks for the time.
fn readings(change: impl FnOnce(Builder) -> Builder) -> u64 {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let clock = Clock::from_fn(move || ms(count.fetch_add(1, Ordering::Relaxed)));
    let breaker = change(Breaker::builder("test").clock(clock))
        .build()
        .unwrap();
    let before = asked.load(Ordering::Relaxed);
    breaker.try_acquire().unwrap().success();
    asked.load(Ordering::Relaxed) - before
}

#[test]
fn only_who_needs_the_time_asks_for_it() {
    let late = Cancel::FailureAfter(secs(1));
    let by_count = || failure_rate(0.5).over(Window::calls(10));
    let by_time = || failure_rate(0.5).over(Window::time(secs(10)));
    assert_eq!(readings(|builder| builder.trip(consecutive(5))), 0);
    assert_eq!(readings(|builder| builder.trip(by_count())), 0);
    assert_eq!(readings(|builder| builder.trip(by_time())), 1);
    assert_eq!(
        readings(|builder| builder.trip(by_count()).on_cancel(late)),
        1
    );
    assert_eq!(
        readings(|builder| builder.trip(slow_calls(secs(1), 0.5).over(Window::calls(10)))),
        2
    );
    let hears = |builder: Builder| {
        builder
            .trip(by_count())
            .observer_of_calls(|_: &Event<'_>| {})
    };
    assert_eq!(readings(hears), 2);
}
