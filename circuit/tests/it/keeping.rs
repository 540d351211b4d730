//! Snapshots that outlive a process, and settings that change while calls go on.

use buttress_circuit::{
    Backoff, Breaker, Cause, Change, ConfigError, Event, ManualClock, Probes, Ramp, Reading,
    Reason, Snapshot, State, Tally, Verdict, Window, consecutive, failure_rate, slow_calls,
};
use std::sync::{Arc, Mutex};

use super::{builder, fail, ms, secs, succeed};

fn tallies(breaker: &Breaker) -> Vec<Reading> {
    breaker.snapshot().rules
}

fn failures(hits: u32, total: u32) -> Reading {
    let mut tally = Tally::default();
    (tally.hits, tally.total) = (hits, total);
    Reading::FailureRate(tally)
}

fn fresh(model: &Breaker) -> Breaker {
    model.fresh_as("after")
}

#[test]
fn an_open_breaker_stays_open_for_what_remains() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(30)))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(10));
    let snapshot = breaker.snapshot();
    for (age, remaining) in [
        (0, Some(secs(20))),
        (5, Some(secs(15))),
        (20, None),
        (86_400, None),
    ] {
        let after = fresh(&breaker);
        after.restore(&snapshot, secs(age));
        let now = after.snapshot();
        assert_eq!((now.remaining, now.openings), (remaining, 1));
        assert_eq!(after.try_acquire().is_ok(), remaining.is_none());
        assert_eq!(&**after.name(), "after");
    }
}

#[test]
fn windows_runs_and_wishes_are_kept() {
    let (builder, clock) = builder();
    let trip = failure_rate(0.9).over(Window::calls(4)).min_calls(4);
    let breaker = builder
        .trip(trip.or(failure_rate(0.9).min_calls(100)).or(consecutive(5)))
        .open_for(Backoff::constant(secs(5)))
        .build()
        .unwrap();
    succeed(&breaker, 3);
    fail(&breaker, 1);
    breaker
        .try_acquire()
        .unwrap()
        .record(Verdict::FailureFor(secs(60)));
    clock.advance(secs(4));
    let after = fresh(&breaker);
    after.restore(&breaker.snapshot(), secs(4));
    assert_eq!(
        tallies(&after),
        [failures(2, 4), failures(2, 5), Reading::Consecutive(2)]
    );
    fail(&after, 2);
    let left = after.snapshot().remaining.unwrap();
    assert!(
        left >= secs(52) && left < secs(53),
        "what it asked for: {left:?}"
    );
    let later = fresh(&breaker);
    later.restore(&breaker.snapshot(), secs(10));
    assert_eq!(
        tallies(&later),
        [failures(2, 4), failures(0, 0), Reading::Consecutive(2)]
    );
}

#[test]
fn probes_that_were_under_way_have_said_nothing() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(3))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    succeed(&breaker, 1);
    let _hung = (breaker.try_acquire(), breaker.try_acquire());
    let after = fresh(&breaker);
    after.restore(&breaker.snapshot(), secs(1));
    let probes = after.snapshot().probes;
    assert_eq!((probes.in_flight, probes.succeeded), (0, 1));
    succeed(&after, 2);
    assert_eq!(after.state(), State::Closed);
}

#[test]
fn a_ramp_and_a_forced_state_are_kept() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(1))
        .ramp(Ramp::over(secs(10)))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    succeed(&breaker, 1);
    let after = fresh(&breaker);
    after.restore(&breaker.snapshot(), secs(4));
    assert_eq!(after.snapshot().ramp, Some(secs(6)));
    breaker.force_open();
    after.restore(&breaker.snapshot(), secs(4));
    assert_eq!(after.state(), State::ForcedOpen);
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_can_be_written_and_read() {
    let (builder, _clock) = builder();
    let trip = failure_rate(0.9)
        .over(Window::calls(70))
        .or(slow_calls(secs(1), 0.9))
        .or(consecutive(9));
    let breaker = builder.trip(trip).build().unwrap();
    succeed(&breaker, 65);
    fail(&breaker, 2);
    let snapshot = breaker.snapshot();
    let text = serde_json::to_string(&snapshot).unwrap();
    let read: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(read, snapshot);
}

/// Whatever is in a snapshot, it does not panic and the breaker is as alive as ever.
#[cfg(feature = "serde")]
#[test]
fn nonsense_in_a_snapshot_does_no_harm() {
    let (builder, clock) = builder();
    let trip = failure_rate(0.5)
        .over(Window::calls(3))
        .or(failure_rate(0.5))
        .or(consecutive(2));
    let breaker = builder.trip(trip).build().unwrap();
    fail(&breaker, 1);
    let text = serde_json::to_string(&breaker.snapshot()).unwrap();
    let mut tried = 0;
    for state in ["Closed", "Open", "HalfOpen", "MetricsOnly"] {
        for (from, to) in [
            ("\"total\":1", "\"total\":4294967295"),
            ("\"hits\":1", "\"hits\":4294967295"),
            ("\"Run\":1", "\"Run\":4294967295"),
            ("\"openings\":0", "\"openings\":4294967295"),
            ("\"succeeded\":0", "\"succeeded\":4294967295"),
            ("\"failed\":0", "\"failed\":4294967295"),
            (
                "\"remaining\":null",
                "\"remaining\":{\"secs\":18446744073709551615,\"nanos\":0}",
            ),
            (
                "\"ramp\":null",
                "\"ramp\":{\"secs\":18446744073709551615,\"nanos\":0}",
            ),
            (
                "\"requested\":null",
                "\"requested\":{\"secs\":18446744073709551615,\"nanos\":0}",
            ),
            (
                "\"closed_for\":{\"secs\":0",
                "\"closed_for\":{\"secs\":18446744073709551615",
            ),
        ] {
            assert!(text.contains(from), "{from} {text}");
            let bad = text
                .replace("\"Closed\"", &format!("\"{state}\""))
                .replace(from, to);
            let snapshot: Snapshot = serde_json::from_str(&bad).unwrap();
            for age in [secs(0), secs(1), std::time::Duration::MAX] {
                let after = breaker.fresh();
                after.restore(&snapshot, age);
                let _ = after.snapshot();
                clock.advance(secs(86_400));
                after.try_acquire().unwrap().success();
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 120);
}

#[test]
fn new_settings_keep_state_and_windows() {
    let (builder, _clock) = builder();
    let trip = failure_rate(0.9).over(Window::calls(10)).min_calls(5);
    let breaker = builder.trip(trip.or(consecutive(9))).build().unwrap();
    succeed(&breaker, 4);
    fail(&breaker, 3);
    breaker
        .reconfigure(|now| {
            now.trip(
                failure_rate(0.5)
                    .over(Window::calls(5))
                    .min_calls(5)
                    .or(consecutive(8)),
            )
        })
        .unwrap();
    assert_eq!(tallies(&breaker), [failures(3, 5), Reading::Consecutive(3)]);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "by the new threshold");
}

#[test]
fn a_rule_takes_up_what_its_like_has_left() {
    let (builder, _clock) = builder();
    let slow = || slow_calls(secs(1), 0.9).min_calls(100);
    let rate = || failure_rate(0.9).min_calls(100);
    let breaker = builder.trip(rate().or(slow())).build().unwrap();
    fail(&breaker, 3);
    breaker
        .reconfigure(|now| now.trip(slow().or(consecutive(2)).or(rate())))
        .unwrap();
    let rules = tallies(&breaker);
    assert!(matches!(rules[0], Reading::SlowCalls(tally) if tally.total == 3 && tally.hits == 0));
    assert_eq!(rules[1..], [Reading::Consecutive(0), failures(3, 3)]);
}

#[test]
fn a_time_window_of_another_length_keeps_what_it_still_covers() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(failure_rate(0.9).min_calls(100))
        .build()
        .unwrap();
    fail(&breaker, 5);
    clock.advance(secs(5));
    fail(&breaker, 2);
    let over = |time| {
        move |now: Change| now.trip(failure_rate(0.9).over(Window::time(time)).min_calls(100))
    };
    breaker.reconfigure(over(secs(60))).unwrap();
    assert_eq!(tallies(&breaker), [failures(7, 7)]);
    breaker.reconfigure(over(secs(2))).unwrap();
    assert_eq!(tallies(&breaker), [failures(2, 2)]);
}

#[test]
fn the_next_opening_goes_by_the_new_times() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(3))
        .build()
        .unwrap();
    fail(&breaker, 1);
    let change = |now: Change| {
        now.open_for(Backoff::constant(secs(100)))
            .half_open(Probes::new(1))
    };
    breaker.reconfigure(change).unwrap();
    assert!(
        breaker.snapshot().remaining.unwrap() <= secs(6),
        "this one goes on"
    );
    clock.advance(secs(6));
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().remaining, Some(secs(100)));
    clock.advance(secs(100));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn probes_start_anew_under_new_settings() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(2))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    let late = breaker.try_acquire().unwrap();
    breaker
        .reconfigure(|now| now.half_open(Probes::new(1)))
        .unwrap();
    late.failure();
    assert_eq!(
        breaker.state(),
        State::HalfOpen,
        "a probe of before says nothing"
    );
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_call_that_nobody_timed_is_not_slow() {
    let (builder, clock) = builder();
    let breaker = builder.trip(consecutive(9)).build().unwrap();
    clock.advance(secs(100));
    let untimed = breaker.try_acquire().unwrap();
    breaker
        .reconfigure(|now| now.trip(slow_calls(secs(1), 0.1).min_calls(1)))
        .unwrap();
    clock.advance(secs(100));
    untimed.success();
    assert_eq!(breaker.state(), State::Closed);
    let slow = breaker.try_acquire().unwrap();
    clock.advance(secs(1));
    slow.success();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_bound_counts_those_it_admitted() {
    let (builder, _clock) = builder();
    let breaker = builder.build().unwrap();
    let before = breaker.try_acquire().unwrap();
    breaker.reconfigure(|now| now.max_in_flight(1)).unwrap();
    let counted = breaker.try_acquire().unwrap();
    before.success();
    assert_eq!(
        breaker.try_acquire().unwrap_err().reason(),
        Reason::Saturated
    );
    breaker.reconfigure(|now| now.max_in_flight(None)).unwrap();
    counted.success();
    breaker.reconfigure(|now| now.max_in_flight(1)).unwrap();
    assert_eq!(breaker.snapshot().in_flight, Some(0));
}

#[test]
fn bad_settings_change_nothing() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(2)).build().unwrap();
    let error = breaker
        .reconfigure(|now| now.trip(consecutive(0)))
        .unwrap_err();
    assert_eq!(error, ConfigError::NoFailures);
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn two_who_reconfigure_at_once_both_have_their_way() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(5)).build().unwrap();
    let once = std::sync::atomic::AtomicBool::new(true);
    breaker
        .reconfigure(|now| {
            if once.swap(false, std::sync::atomic::Ordering::AcqRel) {
                breaker.reconfigure(|now| now.trip(consecutive(1))).unwrap();
            }
            now.max_in_flight(7)
        })
        .unwrap();
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().in_flight, Some(0));
}

#[test]
fn both_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let clock = ManualClock::new();
    let breaker = Breaker::builder("told")
        .clock(&clock)
        .trip(consecutive(1))
        .observer(move |event: &Event<'_>| {
            log.lock().unwrap().push(match event {
                Event::Transition(_, t) => format!("{:?} {:?}", t.to, t.cause),
                other => format!("{other:?}").split('(').next().unwrap().to_owned(),
            });
        });
    let breaker = breaker.build().unwrap();
    fail(&breaker, 1);
    clock.advance(ms(60_000));
    let _probe = breaker.try_acquire();
    breaker.reconfigure(|now| now).unwrap();
    breaker.restore(&breaker.fresh().snapshot(), secs(0));
    let reconfigured = format!("HalfOpen {:?}", Cause::Reconfigured);
    let restored = format!("Closed {:?}", Cause::Restored);
    assert_eq!(
        told.lock().unwrap()[2..],
        [reconfigured, "Reconfigured".to_owned(), restored]
    );
}
