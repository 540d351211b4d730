//! A service that is back gets its load back little by little.

use buttress_circuit::{Backoff, Breaker, ManualClock, Probes, Ramp, Reason, State, consecutive};

use super::{builder, fail, ms, secs, succeed};

/// Closed after a recovery, with ten seconds to go from a quarter to everything.
fn recovered() -> (Breaker, ManualClock) {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(2))
        .open_for(Backoff::constant(secs(1)))
        .half_open(Probes::new(1))
        .ramp(Ramp::over(secs(10)).start(0.25))
        .build()
        .unwrap();
    succeed(&breaker, 10);
    fail(&breaker, 2);
    clock.advance(secs(1));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    (breaker, clock)
}

fn admitted(breaker: &Breaker, calls: usize) -> usize {
    (0..calls).filter(|_| breaker.try_acquire().is_ok()).count()
}

#[test]
fn the_share_grows_until_every_call_passes() {
    let (breaker, clock) = recovered();
    assert_eq!(breaker.snapshot().ramp, Some(secs(10)));
    for (after, of_a_hundred) in [(0, 25), (5000, 63), (4999, 100)] {
        clock.advance(ms(after));
        let passed = admitted(&breaker, 100);
        assert!(passed.abs_diff(of_a_hundred) <= 1, "{after} {passed}");
    }
    clock.advance(ms(1));
    assert_eq!(breaker.snapshot().ramp, None);
    assert_eq!(admitted(&breaker, 1000), 1000);
    assert_eq!(
        breaker.snapshot().generation,
        3,
        "the end of a ramp is no transition"
    );
}

#[test]
fn who_must_wait_is_told_so() {
    let (breaker, _clock) = recovered();
    assert_eq!(admitted(&breaker, 1), 1);
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Ramping);
    assert_eq!(rejected.retry_after(), Some(secs(1)));
}

#[test]
fn a_service_that_fails_again_is_left_alone_again() {
    let (breaker, _clock) = recovered();
    for _ in 0..8 {
        if let Ok(permit) = breaker.try_acquire() {
            permit.failure();
        }
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn there_is_no_ramp_before_the_first_opening_nor_after_an_operator() {
    let (builder, _clock) = builder();
    let breaker = builder.ramp(Ramp::over(secs(10))).build().unwrap();
    assert_eq!(admitted(&breaker, 100), 100);
    let (breaker, _clock) = recovered();
    breaker.reset();
    assert_eq!(admitted(&breaker, 100), 100);
}
