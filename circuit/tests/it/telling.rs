//! What observers hear.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use buttress_circuit::{
    Backoff, Breaker, Cause, Event, ManualClock, Probes, Reading, State, Transition, consecutive,
};

use super::{builder, fail, secs, succeed};

type Log = Arc<Mutex<Vec<Transition>>>;

/// A breaker that opens for ten seconds after one failure, and what it told.
fn observed(
    also: impl Fn(&Breaker, &Transition) + Send + Sync + 'static,
) -> (Breaker, ManualClock, Log) {
    let log = Log::default();
    let (builder, clock) = builder();
    let told = Arc::clone(&log);
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(Probes::new(1))
        .observer(move |event: &Event<'_>| {
            if let Event::Transition(breaker, transition) = event {
                told.lock().unwrap().push(*transition);
                also(breaker, transition);
            }
        });
    (breaker.build().unwrap(), clock, log)
}

fn path(log: &Log) -> Vec<(u32, State)> {
    let log = log.lock().unwrap();
    log.iter().map(|t| (t.generation, t.to)).collect()
}

#[test]
fn one_event_per_transition_with_its_cause() {
    let (breaker, clock, log) = observed(|_, _| {});
    fail(&breaker, 1);
    clock.advance(secs(10));
    fail(&breaker, 1);
    clock.advance(secs(10));
    succeed(&breaker, 1);
    breaker.force_open();
    breaker.force_open();
    let log = log.lock().unwrap();
    let causes: Vec<_> = log.iter().map(|t| (t.from, t.to, t.cause)).collect();
    assert_eq!(
        causes,
        [
            (
                State::Closed,
                State::Open,
                Cause::Tripped(Reading::Consecutive(1))
            ),
            (State::Open, State::HalfOpen, Cause::OpenTimeOver),
            (State::HalfOpen, State::Open, Cause::ProbesFailed),
            (State::Open, State::HalfOpen, Cause::OpenTimeOver),
            (State::HalfOpen, State::Closed, Cause::ProbesSucceeded),
            (State::Closed, State::ForcedOpen, Cause::Manual),
        ]
    );
    assert_eq!(log[0].open_for, Some(secs(10)));
    assert!(log.iter().zip(1..).all(|(t, n)| t.generation == n));
}

#[test]
fn an_observer_may_call_any_method_and_hears_the_consequences_in_order() {
    let telling = AtomicBool::new(false);
    let (breaker, _clock, log) = observed(move |breaker, transition| {
        assert!(
            !telling.swap(true, Ordering::SeqCst),
            "told within a telling"
        );
        let _ = (breaker.snapshot(), breaker.state(), breaker.try_acquire());
        match transition.to {
            State::Open => breaker.force_closed(),
            State::ForcedClosed => breaker.auto(),
            _ => {}
        }
        telling.store(false, Ordering::SeqCst);
    });
    fail(&breaker, 1);
    let expected = [
        (1, State::Open),
        (2, State::ForcedClosed),
        (3, State::Closed),
    ];
    assert_eq!(path(&log), expected);
}

#[test]
fn an_observer_that_panics_does_not_silence_the_breaker() {
    let (breaker, _clock, log) = observed(|_, transition| {
        assert!(transition.to != State::Open, "expected");
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| fail(&breaker, 1)));
    assert!(panicked.is_err());
    breaker.reset();
    assert_eq!(path(&log), [(1, State::Open), (2, State::Closed)]);
}

#[test]
fn a_slow_observer_loses_the_oldest() {
    let (breaker, _clock, log) = observed(|breaker, transition| {
        if transition.generation == 1 {
            (0..300).for_each(|_| breaker.reset());
        }
    });
    breaker.reset();
    let heard = path(&log);
    assert_eq!(heard.len(), 257);
    assert_eq!(heard[1].0, 1 + 300 - 256 + 1);
    assert_eq!(heard[256].0, 301);
}

#[test]
fn the_error_says_which_breaker_and_why() {
    let (breaker, clock, _log) = observed(|_, _| {});
    let text = || breaker.try_acquire().unwrap_err().to_string();
    breaker.force_open();
    assert_eq!(text(), r#"circuit breaker "test" was forced open"#);
    breaker.reset();
    fail(&breaker, 1);
    assert_eq!(text(), r#"circuit breaker "test" is open"#);
    clock.advance(secs(10));
    let _probe = breaker.try_acquire().unwrap();
    assert_eq!(text(), r#"circuit breaker "test" is probing its service"#);
}

#[test]
fn an_observer_of_calls_hears_of_every_call_and_others_do_not() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (log, silent) = (Arc::clone(&told), Arc::clone(&told));
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .observer(move |event: &Event<'_>| {
            assert!(matches!(event, Event::Transition(..)), "{event:?}");
            silent.lock().unwrap().push("transition".to_owned());
        })
        .observer_of_calls(move |event: &Event<'_>| {
            log.lock().unwrap().push(match event {
                Event::Finished(_, verdict, took) => format!("{verdict:?} {took:?}"),
                Event::Cancelled(_, verdict, took) => format!("cancelled {verdict:?} {took:?}"),
                Event::Rejected(_, rejected) => rejected.to_string(),
                _ => return,
            });
        });
    let breaker = breaker.build().unwrap();
    let call = breaker.try_acquire().unwrap();
    clock.advance(secs(2));
    call.success();
    drop(breaker.try_acquire());
    fail(&breaker, 1);
    drop(breaker.try_acquire());
    assert_eq!(
        *told.lock().unwrap(),
        [
            "Success 2s",
            "cancelled Ignore 0ns",
            "transition",
            "Failure 0ns",
            "circuit breaker \"test\" is open"
        ]
    );
}

#[cfg(feature = "histogram")]
#[test]
fn a_snapshot_tells_how_long_calls_take() {
    let (builder, clock) = builder();
    let breaker = builder.latencies(secs(10)).build().unwrap();
    for _ in 0..4 {
        let call = breaker.try_acquire().unwrap();
        clock.advance(secs(1));
        call.success();
    }
    let ignored = breaker.try_acquire().unwrap();
    clock.advance(secs(1));
    ignored.ignore();
    let latencies = breaker.snapshot().latencies.unwrap();
    assert_eq!(latencies.calls, 4);
    assert!(latencies.p50 >= secs(1) && latencies.p50 < secs(1).mul_f64(1.04));
    assert_eq!(breaker.fresh().snapshot().latencies.unwrap().calls, 0);
}

#[test]
fn warm_up_counts_but_does_not_open() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(2))
        .warm_up(secs(10))
        .build()
        .unwrap();
    fail(&breaker, 50);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().rules, [Reading::Consecutive(2)]);
    clock.advance(secs(10));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn opossums_defaults_are_opossums() {
    let clock = ManualClock::new();
    let breaker = Breaker::like_opossum("opossum")
        .clock(&clock)
        .build()
        .unwrap();
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "half is not more than half");
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().remaining, Some(secs(30)));
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}
