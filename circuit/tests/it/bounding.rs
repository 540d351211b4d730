//! A bound on the calls in flight.

use buttress_circuit::{ConfigError, Probes, Reason, State, consecutive};

use super::{builder, fail, secs};

#[test]
fn calls_beyond_the_bound_are_rejected_and_no_failures() {
    let (builder, _clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .max_in_flight(2)
        .build()
        .unwrap();
    let (first, second) = (
        breaker.try_acquire().unwrap(),
        breaker.try_acquire().unwrap(),
    );
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(
        (rejected.reason(), rejected.retry_after()),
        (Reason::Saturated, None)
    );
    assert_eq!(breaker.snapshot().in_flight, Some(2));
    assert_eq!(breaker.state(), State::Closed);
    first.success();
    drop(second);
    assert_eq!(breaker.snapshot().in_flight, Some(0));
    assert!(breaker.try_acquire().is_ok());
}

#[test]
fn a_probe_that_finds_no_room_takes_no_slot() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(1))
        .max_in_flight(1)
        .build()
        .unwrap();
    let hung = breaker.try_acquire().unwrap();
    breaker.open_for(secs(1));
    clock.advance(secs(1));
    assert_eq!(
        breaker.try_acquire().unwrap_err().reason(),
        Reason::Saturated
    );
    assert_eq!(breaker.snapshot().probes.in_flight, 0);
    drop(hung);
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_late_answer_gives_its_room_back() {
    let (builder, _clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .max_in_flight(2)
        .build()
        .unwrap();
    let late = breaker.try_acquire().unwrap();
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().in_flight, Some(1));
    late.failure();
    assert_eq!(breaker.snapshot().in_flight, Some(0));
}

#[test]
fn an_open_breaker_says_open_and_not_full() {
    let (builder, _clock) = builder();
    let breaker = builder.max_in_flight(1).build().unwrap();
    let _hung = breaker.try_acquire().unwrap();
    breaker.force_open();
    assert_eq!(breaker.try_acquire().unwrap_err().reason(), Reason::Forced);
}

#[test]
fn no_room_at_all_is_refused() {
    let (builder, _clock) = builder();
    assert_eq!(
        builder.max_in_flight(0).build().unwrap_err(),
        ConfigError::NoRoom
    );
}
