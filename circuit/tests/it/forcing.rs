//! What an operator can do.

use std::sync::{Arc, Mutex};

use buttress_circuit::{Breaker, Event, Reason, State, Window, consecutive, failure_rate};

use super::{builder, fail, secs, succeed};

#[test]
fn forced_open_sticks() {
    let (builder, clock) = builder();
    let breaker = builder.build().unwrap();
    breaker.force_open();
    for _ in 0..3 {
        clock.advance(secs(1_000_000));
        assert_eq!(breaker.state(), State::ForcedOpen);
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.reason(), Reason::Forced);
        assert_eq!(rejected.retry_after(), None);
        breaker.open_for(secs(1));
    }
    breaker.auto();
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
}

#[test]
fn forced_closed_lets_everything_pass_and_counts_nothing() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    fail(&breaker, 1);
    breaker.force_closed();
    fail(&breaker, 100);
    assert_eq!(breaker.state(), State::ForcedClosed);
    breaker.auto();
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn metrics_only_tells_and_lets_pass() {
    let told = Arc::new(Mutex::new(0));
    let heard = Arc::clone(&told);
    let (builder, _clock) = builder();
    let breaker = builder
        .trip(consecutive(5))
        .observer(move |event: &Event<'_>| {
            if let Event::WouldOpen(..) = event {
                *heard.lock().unwrap() += 1;
            }
        })
        .build()
        .unwrap();
    breaker.metrics_only();
    fail(&breaker, 14);
    assert_eq!(*told.lock().unwrap(), 2);
    assert_eq!(breaker.state(), State::MetricsOnly);
    fail(&breaker, 1);
    assert_eq!(*told.lock().unwrap(), 3);
}

#[test]
fn auto_ends_only_what_was_forced() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    fail(&breaker, 1);
    breaker.auto();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn what_was_admitted_before_a_force_counts_for_nothing_after() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let early = breaker.try_acquire().unwrap();
    breaker.force_closed();
    breaker.auto();
    early.failure();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn reset_is_as_new() {
    let (builder, clock) = builder();
    let rate = failure_rate(0.5).over(Window::calls(10)).min_calls(1);
    let breaker = builder.trip(rate).build().unwrap();
    let new = breaker.snapshot();
    fail(&breaker, 1);
    clock.advance(secs(100));
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().openings, 2);
    breaker.reset();
    let mut reset = breaker.snapshot();
    reset.generation = new.generation;
    assert_eq!(reset, new);
}

#[test]
fn a_health_check_can_open_it_for_a_while() {
    let (builder, clock) = builder();
    let breaker = builder.build().unwrap();
    breaker.open_for(secs(7));
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.retry_after(), Some(secs(7)));
    clock.advance(secs(7));
    succeed(&breaker, 3);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_fresh_one_shares_settings_and_nothing_else() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let other: Breaker = breaker.fresh_as(format!("{}-2", breaker.name()));
    fail(&breaker, 1);
    assert_eq!(other.state(), State::Closed);
    fail(&other, 1);
    assert_eq!(other.state(), State::Open);
    assert_eq!(other.try_acquire().unwrap_err().breaker(), "test-2");
}
