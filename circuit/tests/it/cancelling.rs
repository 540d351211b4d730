//! What happens when a caller goes away.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use buttress_circuit::{
    Breaker, Cancel, CircuitLayer, Error, Probes, Reading, State, Verdict, Window, consecutive,
    failure_rate,
};
use tokio_test::task;
use tower::{Layer, Service, service_fn};

use super::{builder, fail, ms, secs};

#[test]
fn ignored_the_window_stays_as_it_is() {
    for window in [Window::calls(10), Window::time(secs(10))] {
        let (builder, _clock) = builder();
        let rate = failure_rate(0.5).over(window);
        let breaker = builder.trip(rate).build().unwrap();
        fail(&breaker, 3);
        let before = breaker.snapshot();
        for _ in 0..100 {
            drop(breaker.try_acquire().unwrap());
        }
        assert_eq!(breaker.snapshot(), before);
    }
}

#[test]
fn as_failures_dropped_calls_trip() {
    let (builder, _clock) = builder();
    let breaker = builder
        .trip(consecutive(50))
        .on_cancel(Cancel::Failure)
        .build()
        .unwrap();
    for _ in 0..50 {
        assert_eq!(breaker.state(), State::Closed);
        drop(breaker.try_acquire().unwrap());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn failure_after_counts_outer_timeouts_and_spares_disconnects() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(2))
        .on_cancel(Cancel::FailureAfter(secs(2)))
        .build()
        .unwrap();
    for (ran, failures) in [(ms(1999), 0), (secs(2), 1), (ms(5), 1)] {
        let permit = breaker.try_acquire().unwrap();
        clock.advance(ran);
        drop(permit);
        assert_eq!(breaker.snapshot().rules, [Reading::Consecutive(failures)]);
    }
    let permit = breaker.try_acquire().unwrap();
    clock.advance(secs(9));
    drop(permit);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_cancelled_probe_as_failure_opens_again() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(1))
        .on_cancel(Cancel::Failure)
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    drop(breaker.try_acquire().unwrap());
    assert_eq!(breaker.state(), State::Open);
}

/// Half-open, with one probe.
fn due() -> Breaker {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .half_open(Probes::new(1))
        .build()
        .unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    breaker
}

#[test]
fn a_dropped_future_gives_the_probe_back() {
    let breaker = due();
    let mut service =
        CircuitLayer::new(breaker.clone()).layer(service_fn(|()| pending::<Result<(), ()>>()));
    for _ in 0..3 {
        let mut ready = task::spawn(service.clone());
        assert!(ready.enter(|cx, mut s| s.poll_ready(cx)).is_ready());
        drop(ready);
        let mut ready = task::spawn(&mut service);
        assert!(ready.enter(|cx, mut s| s.poll_ready(cx)).is_ready());
        drop(ready);
        let mut call = task::spawn(service.call(()));
        assert!(call.poll().is_pending());
        assert_eq!(breaker.snapshot().probes.in_flight, 1);
        drop(call);
        assert_eq!(breaker.snapshot().probes.in_flight, 0);
        let mut call = task::spawn(breaker.call(pending::<Result<(), ()>>));
        assert!(call.poll().is_pending());
        assert_eq!(breaker.snapshot().probes.in_flight, 1);
        drop(call);
        assert_eq!(breaker.snapshot().probes.in_flight, 0);
    }
}

/// Logs whether the permit was still out when the work was dropped.
struct Work(Breaker, Arc<Mutex<Vec<u32>>>);

impl Drop for Work {
    fn drop(&mut self) {
        let in_flight = self.0.snapshot().probes.in_flight;
        self.1.lock().unwrap().push(in_flight);
    }
}

#[test]
fn the_work_is_dropped_before_its_slot_is_free() {
    let breaker = due();
    let log = Arc::new(Mutex::new(Vec::new()));
    let work = async |work: Work| {
        pending::<()>().await;
        drop(work);
        Ok::<_, ()>(())
    };
    let mut service = CircuitLayer::new(breaker.clone()).layer(service_fn(work));
    let mut ready = task::spawn(&mut service);
    assert!(
        ready
            .enter(|cx, mut s| Service::<Work>::poll_ready(&mut *s, cx))
            .is_ready()
    );
    drop(ready);
    let mut call = task::spawn(service.call(Work(breaker.clone(), Arc::clone(&log))));
    assert!(call.poll().is_pending());
    drop(call);
    let one = Work(breaker.clone(), Arc::clone(&log));
    let mut call = task::spawn(breaker.call(|| work(one)));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(*log.lock().unwrap(), [1, 1]);
}

#[test]
fn a_panic_is_a_failure() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(4)).build().unwrap();
    let layer = CircuitLayer::new(breaker.clone());
    let mut late = layer.layer(service_fn(async |()| -> Result<(), ()> {
        panic!("expected")
    }));
    let mut early = layer.layer(service_fn(|()| -> std::future::Ready<Result<(), ()>> {
        panic!("expected")
    }));
    let poll = |panics: &mut dyn FnMut()| {
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    };
    poll(&mut || {
        let mut ready = task::spawn(&mut late);
        let _ = ready.enter(|cx, mut s| s.poll_ready(cx));
        drop(ready);
        let _ = task::spawn(late.call(())).poll();
    });
    poll(&mut || {
        let mut ready = task::spawn(&mut early);
        let _ = ready.enter(|cx, mut s| s.poll_ready(cx));
        drop(ready);
        drop(early.call(()));
    });
    poll(&mut || {
        let work = async || -> Result<(), ()> { panic!("expected") };
        let _ = task::spawn(breaker.call(work)).poll();
    });
    assert_eq!(breaker.snapshot().rules, [Reading::Consecutive(3)]);
    poll(&mut || {
        let work = || -> std::future::Ready<Result<(), ()>> { panic!("expected") };
        let _ = task::spawn(breaker.call(work)).poll();
    });
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_caller_that_panics_is_a_caller_who_went_away() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut call = task::spawn(breaker.call(pending::<Result<(), ()>>));
        assert!(call.poll().is_pending());
        panic!("expected");
    }));
    assert!(panicked.is_err());
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_classifier_decides() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let classify = |result: &Result<u8, u8>| match result {
        Ok(0) => Verdict::Failure,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Ignore,
    };
    let call = |result| tokio_test::block_on(breaker.call_with(classify, async || result));
    assert_eq!(call(Err(1)), Err(Error::Inner(1)));
    assert_eq!(call(Ok(1)), Ok(1));
    assert_eq!(call(Ok(0)), Ok(0));
    assert!(matches!(call(Ok(1)), Err(Error::Rejected(_))));
}
