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
    fail(&breaker, 1);
    breaker.reset();
    assert_eq!(path(&log), [(1, State::Open), (2, State::Closed)]);
}

/// A second panic while the first unwinds would end the process.
#[test]
fn an_observer_that_panics_may_be_told_of_a_panic() {
    let (breaker, _clock, log) = observed(|_, _| panic!("expected"));
    let call = breaker.call(async || -> Result<(), ()> { panic!("expected") });
    let mut call = tokio_test::task::spawn(call);
    let panicked = catch_unwind(AssertUnwindSafe(|| call.poll()));
    assert!(panicked.is_err());
    assert_eq!(path(&log), [(1, State::Open)]);
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
            if let Event::Built(_) = event {
                return;
            }
            // Who panicked here would be heard by nobody.
            silent.lock().unwrap().push(match event {
                Event::Transition(..) => "transition".to_owned(),
                _ => format!("not for it: {event:?}"),
            });
        })
        .observer_of_calls(move |event: &Event<'_>| {
            log.lock().unwrap().push(match event {
                Event::Built(_) => return,
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

#[test]
fn that_it_was_built_is_the_first_thing_that_anybody_hears() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&told), Arc::clone(&told));
    let log = |to: &Mutex<Vec<String>>, who: &str, event: &Event<'_>| {
        let what = match event {
            Event::Built(_) => "built".to_owned(),
            Event::Transition(_, t) => format!("{:?}", t.to),
            _ => return,
        };
        to.lock().unwrap().push(format!("{who} {what}"));
    };
    let (builder, _clock) = builder();
    let breaker = builder
        .observer(move |event: &Event<'_>| {
            log(&first, "1", event);
            if let Event::Built(breaker) = event {
                breaker.force_open();
            }
        })
        .observer(move |event: &Event<'_>| log(&second, "2", event));
    let _breaker = breaker.build().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        ["1 built", "2 built", "1 ForcedOpen", "2 ForcedOpen"]
    );
}

#[test]
fn a_subscriber_hears_until_it_is_dropped() {
    let (builder, _clock) = builder();
    let breaker = builder.build().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let subscribe = |who: u32| {
        let log = Arc::clone(&told);
        breaker.subscribe(move |event: &Event<'_>| {
            let Event::Transition(_, t) = event else {
                panic!("{event:?}");
            };
            log.lock().unwrap().push((who, t.to));
        })
    };
    breaker.force_open();
    let first = subscribe(1);
    breaker.force_closed();
    let second = subscribe(2);
    breaker.auto();
    drop(first);
    breaker.force_open();
    drop(second);
    breaker.auto();
    assert_eq!(
        *told.lock().unwrap(),
        [
            (1, State::ForcedClosed),
            (1, State::Closed),
            (2, State::Closed),
            (2, State::ForcedOpen)
        ]
    );
    assert_eq!(Arc::strong_count(&told), 1, "what it held is gone");
}

#[test]
fn a_subscriber_may_leave_while_it_is_told() {
    let (builder, _clock) = builder();
    let breaker = builder.build().unwrap();
    let held = Arc::new(Mutex::new(None));
    let (own, count) = (Arc::clone(&held), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&count);
    let subscription = breaker.subscribe(move |_: &Event<'_>| {
        *counted.lock().unwrap() += 1;
        let subscription = own.lock().unwrap().take();
        drop(subscription);
    });
    *held.lock().unwrap() = Some(subscription);
    breaker.force_open();
    breaker.auto();
    assert_eq!(*count.lock().unwrap(), 1);
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn timeouts_fallbacks_and_failed_checks_are_told() {
    use buttress_circuit::{Breaker, CircuitLayer, Clock, Error};
    use tower::{Layer, ServiceExt, service_fn};

    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let breaker = Breaker::builder("told")
        .trip(consecutive(1))
        .clock(Clock::tokio())
        .observer_of_calls(move |event: &Event<'_>| {
            log.lock().unwrap().push(match event {
                Event::TimedOut(_, limit) => format!("timed out {limit:?}"),
                Event::Finished(_, verdict, _) => format!("{verdict:?}"),
                Event::FellBack(_) => "fell back".to_owned(),
                Event::CheckFailed(_) => "check failed".to_owned(),
                Event::Rejected(..) => "rejected".to_owned(),
                _ => return,
            });
        })
        .build()
        .unwrap();
    let layer = CircuitLayer::new(breaker.clone()).timeout(secs(1));
    let hangs = layer.layer(service_fn(async |()| {
        std::future::pending::<Result<(), ()>>().await
    }));
    assert!(matches!(hangs.oneshot(()).await, Err(Error::TimedOut(_))));
    let spare = CircuitLayer::new(breaker.clone())
        .fallback(service_fn(async |()| Ok::<_, ()>(())))
        .layer(service_fn(async |()| Err(())));
    spare.oneshot(()).await.unwrap();
    let checks = breaker.watch_health(secs(10), async || Err::<(), _>(()));
    drop(tokio::time::timeout(secs(5), checks).await);
    breaker.reset();
    drop(
        breaker
            .call_within(secs(1), std::future::pending::<Result<(), ()>>)
            .await,
    );
    assert_eq!(
        *told.lock().unwrap(),
        [
            "timed out 1s",
            "Failure",
            "rejected",
            "fell back",
            "check failed",
            "Failure",
            "timed out 1s"
        ]
    );
}
