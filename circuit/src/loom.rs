//! Small stories of two threads, told in every possible order.

use std::time::Duration;

use loom::thread;

use crate::window::{CountWindow, Tally, TimeWindow, Window};
use crate::{
    Backoff, Breaker, ManualClock, Permit, Probes, Ramp, Reading, Reason, State, Trip, consecutive,
    failure_rate,
};

const SECOND: Duration = Duration::from_secs(1);

fn breaker(trip: impl Into<Trip>, probes: u32) -> (Breaker, ManualClock) {
    let clock = ManualClock::new();
    let builder = Breaker::builder("loom").trip(trip).clock(&clock);
    let breaker = builder
        .open_for(Backoff::constant(SECOND))
        .half_open(Probes::new(probes).max_wait(SECOND));
    (breaker.build().unwrap(), clock)
}

/// Open, and its time is over.
fn due(probes: u32) -> (Breaker, ManualClock) {
    let (breaker, clock) = breaker(consecutive(1), probes);
    breaker.try_acquire().unwrap().failure();
    clock.advance(SECOND);
    (breaker, clock)
}

fn run(one: impl FnOnce() + Send + 'static, other: impl FnOnce()) {
    let one = thread::spawn(one);
    other();
    one.join().unwrap();
}

#[test]
fn loom_a_recycled_bucket_holds_only_its_own_lap() {
    loom::model(|| {
        let window = loom::sync::Arc::new(TimeWindow::new(Duration::from_nanos(32)));
        let old = loom::sync::Arc::clone(&window);
        window.record(0, 0, true);
        run(
            move || {
                old.record(0, 0, true);
            },
            || {
                window.record(0, 32, true);
                window.record(0, 32, false);
            },
        );
        assert_eq!(window.tally(0, 32), Tally { hits: 1, total: 2 });
    });
}

#[test]
fn loom_a_late_record_reaches_no_other_generation() {
    loom::model(|| {
        let window = loom::sync::Arc::new(TimeWindow::new(Duration::from_nanos(16)));
        let late = loom::sync::Arc::clone(&window);
        run(
            move || {
                late.record(1, 3, true);
            },
            || {
                window.record(2, 3, false);
            },
        );
        assert_eq!(window.tally(2, 3), Tally { hits: 0, total: 1 });
    });
}

#[test]
fn loom_the_hits_of_a_count_window_are_its_bits() {
    loom::model(|| {
        let window = loom::sync::Arc::new(CountWindow::new(2));
        let other = loom::sync::Arc::clone(&window);
        window.record(0, true);
        run(
            move || {
                other.record(0, false);
            },
            || {
                window.record(0, true);
                window.record(0, true);
            },
        );
        let tally = window.tally(0);
        assert_eq!(tally.hits, window.bits_set(0));
        assert_eq!(tally.total, 2);
    });
}

#[test]
fn loom_a_full_count_window_of_successes_loses_no_failure() {
    loom::model(|| {
        let window = loom::sync::Arc::new(CountWindow::new(2));
        let other = loom::sync::Arc::clone(&window);
        window.record(0, false);
        window.record(0, false);
        run(
            move || {
                other.record(0, false);
            },
            || {
                let tally = window.record(0, true);
                assert_eq!(tally, Some(Tally { hits: 1, total: 2 }));
            },
        );
        let tally = window.tally(0);
        assert_eq!((tally.hits, tally.total), (1, 2));
        assert_eq!(tally.hits, window.bits_set(0));
    });
}

#[test]
fn loom_a_late_record_reaches_no_other_count_window() {
    loom::model(|| {
        let window = loom::sync::Arc::new(CountWindow::new(2));
        let late = loom::sync::Arc::clone(&window);
        run(
            move || {
                late.record(1, true);
            },
            || {
                window.record(2, false);
                window.record(2, true);
            },
        );
        assert_eq!(window.tally(2), Tally { hits: 1, total: 2 });
    });
}

#[test]
fn loom_two_tripping_failures_are_one_transition() {
    loom::model(|| {
        let (breaker, _clock) = breaker(consecutive(1), 1);
        let permits = (
            breaker.try_acquire().unwrap(),
            breaker.try_acquire().unwrap(),
        );
        run(|| permits.0.failure(), || permits.1.failure());
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.state, snapshot.generation), (State::Open, 1));
        assert_eq!(snapshot.openings, 1);
    });
}

#[test]
fn loom_the_call_that_completes_the_volume_trips() {
    for window in [Window::time(SECOND), Window::calls(2)] {
        loom::model(move || {
            let rate = failure_rate(0.5).over(window).min_calls(2);
            let (breaker, _clock) = breaker(rate, 1);
            let permits = (
                breaker.try_acquire().unwrap(),
                breaker.try_acquire().unwrap(),
            );
            run(|| permits.0.success(), || permits.1.failure());
            assert_eq!(breaker.state(), State::Open);
        });
    }
}

#[test]
fn loom_racers_at_the_deadline_get_one_probe() {
    loom::model(|| {
        let (breaker, _clock) = due(1);
        let racer = breaker.clone();
        let one = thread::spawn(move || racer.try_acquire().ok());
        let other = breaker.try_acquire().ok();
        let one = one.join().unwrap();
        assert!(one.is_some() != other.is_some());
        assert_eq!(breaker.snapshot().generation, 2);
    });
}

#[test]
fn loom_the_wait_for_probes_begins_with_the_last_of_them() {
    loom::model(|| {
        let (breaker, clock) = due(2);
        let _first = breaker.try_acquire().unwrap();
        clock.advance(2 * SECOND);
        let other = breaker.clone();
        let racer = thread::spawn(move || other.try_acquire().ok());
        let last = breaker.try_acquire().ok();
        let other = racer.join().unwrap();
        assert!(last.is_some() != other.is_some(), "one of them is the last");
        // Nobody has waited for it yet: the one who found no slot has not timed it out.
        assert_eq!(breaker.state(), State::HalfOpen);
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.reason(), Reason::Probing);
    });
}

#[test]
fn loom_a_dropped_probe_is_a_free_slot() {
    loom::model(|| {
        let (breaker, _clock) = due(1);
        let probe = breaker.try_acquire().unwrap();
        let racer = breaker.clone();
        let one = thread::spawn(move || racer.try_acquire().ok());
        drop(probe);
        let next: Option<Permit> = one.join().unwrap();
        let in_flight = u32::from(next.is_some());
        assert_eq!(breaker.snapshot().probes.in_flight, in_flight);
        drop(next);
        assert!(breaker.try_acquire().is_ok());
    });
}

#[test]
fn loom_an_outcome_cannot_undo_what_was_forced() {
    loom::model(|| {
        let (breaker, _clock) = due(1);
        let probe = breaker.try_acquire().unwrap();
        let operator = breaker.clone();
        run(move || operator.force_open(), || probe.success());
        assert_eq!(breaker.state(), State::ForcedOpen);
    });
}

#[test]
fn loom_a_failure_counts_before_a_reset_or_never() {
    loom::model(|| {
        let (breaker, _clock) = breaker(consecutive(1), 1);
        let permit = breaker.try_acquire().unwrap();
        let operator = breaker.clone();
        run(move || operator.reset(), || permit.failure());
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, State::Closed);
        assert_eq!(snapshot.rules, [Reading::Consecutive(0)]);
    });
}

#[test]
fn loom_a_hung_probe_and_a_late_answer_leave_a_way_out() {
    loom::model(|| {
        let (breaker, clock) = due(1);
        let hung = breaker.try_acquire().unwrap();
        clock.advance(SECOND);
        let next = breaker.clone();
        run(
            move || {
                // Times the probe out, or passes since it has just succeeded.
                let _ = next.try_acquire();
            },
            || hung.success(),
        );
        clock.advance(SECOND);
        assert!(breaker.try_acquire().is_ok());
    });
}

#[test]
fn loom_the_last_room_is_taken_once_and_given_back() {
    loom::model(|| {
        let breaker = Breaker::builder("loom").clock(&ManualClock::new());
        let breaker = breaker.max_in_flight(1).build().unwrap();
        let racer = breaker.clone();
        let one = thread::spawn(move || racer.try_acquire().ok());
        let other = breaker.try_acquire().ok();
        let one = one.join().unwrap();
        assert!(one.is_some() != other.is_some());
        drop((one, other));
        assert_eq!(breaker.snapshot().in_flight, Some(0));
    });
}

#[test]
fn loom_the_end_of_a_ramp_undoes_no_opening() {
    loom::model(|| {
        let clock = ManualClock::new();
        let breaker = Breaker::builder("loom").clock(&clock).trip(consecutive(1));
        let breaker = breaker
            .open_for(Backoff::constant(SECOND))
            .half_open(Probes::new(1))
            .ramp(Ramp::over(SECOND))
            .build()
            .unwrap();
        breaker.open_for(SECOND);
        clock.advance(SECOND);
        breaker.try_acquire().unwrap().success();
        let failing = breaker.try_acquire().unwrap();
        clock.advance(SECOND);
        let next = breaker.clone();
        run(move || drop(next.try_acquire()), || failing.failure());
        assert_eq!(breaker.state(), State::Open);
    });
}

#[test]
fn loom_a_probe_without_room_hides_no_slot() {
    loom::model(|| {
        let clock = ManualClock::new();
        let breaker = Breaker::builder("loom").clock(&clock).max_in_flight(1);
        let breaker = breaker
            .half_open(Probes::new(1).max_wait(SECOND))
            .build()
            .unwrap();
        let held = breaker.try_acquire().unwrap();
        breaker.open_for(SECOND);
        clock.advance(SECOND);
        let racer = breaker.clone();
        let one = thread::spawn(move || racer.try_acquire().ok());
        drop(held);
        let other = breaker.try_acquire().ok();
        let one = one.join().unwrap();
        assert!(one.is_some() != other.is_some(), "one of them is the probe");
    });
}
