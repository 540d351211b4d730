//! How an open breaker comes back.

use buttress_circuit::{
    Backoff, Breaker, ManualClock, Probes, Reason, State, consecutive, slow_calls,
};

use super::{builder, fail, ms, secs, succeed};

/// Opens for ten seconds after one failure.
fn open(probes: Probes) -> (Breaker, ManualClock) {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(probes)
        .build()
        .unwrap();
    fail(&breaker, 1);
    (breaker, clock)
}

/// The same, when the ten seconds are over.
fn due(probes: Probes) -> (Breaker, ManualClock) {
    let (breaker, clock) = open(probes);
    clock.advance(secs(10));
    (breaker, clock)
}

#[test]
fn an_open_breaker_rejects_and_tells_until_when() {
    let (breaker, clock) = open(Probes::new(1));
    for (passes, left) in [(0, 10_000), (1, 9999), (9998, 1)] {
        clock.advance(ms(passes));
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.reason(), Reason::Open);
        assert_eq!(rejected.breaker(), "test");
        assert_eq!(rejected.retry_after(), Some(ms(left)));
    }
    clock.advance(ms(1));
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn no_more_probes_pass_than_there_are() {
    let (breaker, _clock) = due(Probes::new(3));
    let probes: Vec<_> = (0..3).map(|_| breaker.try_acquire().unwrap()).collect();
    for _ in 0..1000 {
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.reason(), Reason::Probing);
        assert_eq!(rejected.retry_after(), Some(secs(1)));
    }
    for probe in probes {
        assert_eq!(breaker.state(), State::HalfOpen);
        probe.success();
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn the_success_ratio_decides_as_soon_as_it_is_certain() {
    for (outcomes, state) in [
        (&[true, true][..], State::HalfOpen),
        (&[true, true, true], State::Closed),
        (&[false, true, true], State::HalfOpen),
        (&[false, true, true, true], State::Closed),
        (&[false, false, true], State::HalfOpen),
        (&[true, false, false, false], State::Open),
    ] {
        let (breaker, _clock) = due(Probes::new(5).success_ratio(0.6));
        for &success in outcomes {
            let permit = breaker.try_acquire().unwrap();
            if success {
                permit.success();
            } else {
                permit.failure();
            }
        }
        assert_eq!(breaker.state(), state, "{outcomes:?}");
    }
}

#[test]
fn hung_probes_have_failed_when_the_wait_is_over() {
    let (breaker, clock) = due(Probes::new(2).max_wait(secs(30)));
    let hung: Vec<_> = (0..2).map(|_| breaker.try_acquire().unwrap()).collect();
    clock.advance(ms(29_999));
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Probing);
    assert_eq!(rejected.retry_after(), Some(ms(1)));
    clock.advance(ms(1));
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Open);
    assert_eq!(rejected.retry_after(), Some(secs(10)));
    clock.advance(secs(10));
    let fresh = breaker.try_acquire().unwrap();
    hung.into_iter().for_each(|late| late.success());
    assert_eq!(breaker.state(), State::HalfOpen, "late answers");
    fresh.success();
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_late_second_probe_has_its_full_time() {
    let (breaker, clock) = due(Probes::new(2).max_wait(secs(30)));
    succeed(&breaker, 1);
    clock.advance(secs(3600));
    let second = breaker.try_acquire().unwrap();
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Probing);
    second.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_probe_that_looked_at_the_clock_before_another_does_not_cut_its_time_short() {
    let (breaker, clock) = due(Probes::new(2).max_wait(secs(30)));
    clock.set(secs(100));
    let first = breaker.try_acquire().unwrap();
    clock.set(secs(50));
    let _second = breaker.try_acquire().unwrap();
    clock.set(secs(129));
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Probing);
    first.success();
}

#[test]
fn probes_further_apart_than_any_window_still_close_it() {
    let (breaker, clock) = due(Probes::new(3));
    for _ in 0..3 {
        assert_eq!(breaker.state(), State::HalfOpen);
        clock.advance(secs(100_000));
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn dropped_and_ignored_probes_give_their_slots_back() {
    let (breaker, _clock) = due(Probes::new(2));
    for round in 0..100 {
        let (one, two) = (
            breaker.try_acquire().unwrap(),
            breaker.try_acquire().unwrap(),
        );
        assert!(breaker.try_acquire().is_err());
        if round % 2 == 0 {
            drop((one, two));
        } else {
            one.ignore();
            two.ignore();
        }
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_slow_probe_is_a_failed_probe() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(slow_calls(secs(2), 0.5).or(consecutive(1)))
        .half_open(Probes::new(1))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    let probe = breaker.try_acquire().unwrap();
    clock.advance(secs(2));
    probe.success();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn each_opening_is_longer_until_it_was_quiet() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::exponential(secs(5), 2.0, secs(30)).forget_after(secs(60)))
        .half_open(Probes::new(1))
        .build()
        .unwrap();
    fail(&breaker, 1);
    for open in [5, 10, 20, 30, 30] {
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.retry_after(), Some(secs(open)));
        clock.advance(secs(open));
        fail(&breaker, 1);
    }
    for (quiet, open) in [(59_999, 30), (60_000, 5)] {
        clock.advance(secs(30));
        succeed(&breaker, 1);
        clock.advance(ms(quiet));
        fail(&breaker, 1);
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.retry_after(), Some(secs(open)));
    }
}

#[test]
fn jitter_spreads_open_times_within_its_share() {
    let mut times = Vec::new();
    for _ in 0..200 {
        let (builder, _clock) = builder();
        let backoff = Backoff::constant(secs(10)).jitter(0.2);
        let breaker = builder
            .trip(consecutive(1))
            .open_for(backoff)
            .build()
            .unwrap();
        fail(&breaker, 1);
        times.push(breaker.snapshot().remaining.unwrap());
    }
    times.sort();
    assert!(times[0] >= secs(8) && times[199] <= ms(12_001));
    assert!(times[199] - times[0] > secs(2), "no spread: {times:?}");
}

#[test]
fn a_sub_second_open_time_is_kept() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::exponential(ms(1), 2.0, ms(8)))
        .half_open(Probes::new(1))
        .build()
        .unwrap();
    fail(&breaker, 1);
    assert!(breaker.try_acquire().is_err());
    clock.advance(ms(1));
    assert!(breaker.try_acquire().is_ok());
}

#[test]
fn a_clock_that_steps_back_breaks_nothing() {
    let (breaker, clock) = due(Probes::new(1));
    clock.set(secs(0));
    assert!(breaker.try_acquire().unwrap_err().retry_after().unwrap() <= secs(10));
    clock.set(secs(10));
    let probe = breaker.try_acquire().unwrap();
    clock.set(secs(1));
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert!(breaker.try_acquire().unwrap_err().retry_after().unwrap() <= secs(10));
}
