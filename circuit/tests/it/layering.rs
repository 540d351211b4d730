//! The layer among services.

use buttress_circuit::{
    Backoff, Breaker, Circuit, CircuitLayer, Error, ManualClock, Probes, Reason, State, consecutive,
};
use testkit::probe::{Probe, Script};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, service_fn};
use tower_test::mock;

use super::{builder, fail, ms, secs};

type Handle = mock::Handle<&'static str, &'static str>;
type Guarded = Circuit<mock::Mock<&'static str, &'static str>>;

/// Opens for ten seconds after one failure.
fn fragile() -> (Breaker, ManualClock) {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(Probes::new(1));
    (breaker.build().unwrap(), clock)
}

fn guarded(breaker: &Breaker) -> (mock::Spawn<Guarded>, Handle) {
    let layer = CircuitLayer::new(breaker.clone());
    mock::spawn_layer(layer)
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_ready_and_never_asks_the_inner_service() {
    let (breaker, _clock) = fragile();
    let (mut service, mut handle) = guarded(&breaker);
    handle.allow(0);
    assert_pending!(service.poll_ready());
    fail(&breaker, 1);
    assert_ready_ok!(service.poll_ready());
    let Err(Error::Rejected(rejected)) = service.call("hello").await else {
        panic!("not rejected");
    };
    assert_eq!(rejected.reason(), Reason::Open);
    assert_pending!(task::spawn(handle.next_request()).poll());
}

#[tokio::test(start_paused = true)]
async fn a_service_readied_while_open_is_not_rejected_for_ever() {
    let (breaker, _clock) = fragile();
    let (mut service, mut handle) = guarded(&breaker);
    fail(&breaker, 1);
    assert_ready_ok!(service.poll_ready());
    breaker.reset();
    // The inner service was not made ready, and so must not be called.
    let Err(Error::Rejected(rejected)) = service.call("one").await else {
        panic!("not rejected");
    };
    assert_eq!(rejected.retry_after(), Some(ms(1)), "at once");
    handle.allow(1);
    breaker.open_for(secs(10));
    assert_ready_ok!(service.poll_ready());
    breaker.reset();
    assert_ready_ok!(service.poll_ready());
    let mut call = task::spawn(service.call("two"));
    assert_pending!(call.poll());
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(request, "two");
    respond.send_response("yes");
    assert_eq!(call.await.unwrap(), "yes");
}

#[tokio::test(start_paused = true)]
async fn an_unready_caller_leaves_the_probe_to_others() {
    let (breaker, clock) = fragile();
    let (mut service, _handle) = guarded(&breaker);
    fail(&breaker, 1);
    assert_ready_ok!(service.poll_ready());
    clock.advance(secs(10));
    let Err(Error::Rejected(rejected)) = service.call("one").await else {
        panic!("not rejected");
    };
    assert!(rejected.retry_after().is_some());
    assert_eq!(breaker.snapshot().probes.in_flight, 0);
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn ready_services_and_clones_hoard_no_probes() {
    let (breaker, clock) = fragile();
    fail(&breaker, 1);
    clock.advance(secs(10));
    let (mut service, mut handle) = guarded(&breaker);
    handle.allow(10);
    let mut clones: Vec<_> = (0..5).map(|_| service.clone()).collect();
    for clone in &mut clones {
        assert_ready_ok!(clone.poll_ready());
    }
    assert_ready_ok!(service.poll_ready());
    let mut probe = task::spawn(service.call("probe"));
    assert_pending!(probe.poll());
    let (_, respond) = handle.next_request().await.unwrap();
    for clone in &mut clones {
        let Err(Error::Rejected(rejected)) = clone.call("no").await else {
            panic!("not rejected");
        };
        assert_eq!(rejected.reason(), Reason::Probing);
    }
    respond.send_response("yes");
    probe.await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_keeps_the_readiness_of_the_inner_service() {
    let (breaker, _clock) = fragile();
    let probe = Probe::new(Script::IMMEDIATE);
    let inner = ConcurrencyLimit::new(probe.service(|_, ()| Ok(())), 1);
    let mut service = mock::Spawn::new(CircuitLayer::new(breaker.clone()).layer(inner));
    assert_ready_ok!(service.poll_ready::<()>());
    fail(&breaker, 1);
    for _ in 0..3 {
        assert!(matches!(service.call(()).await, Err(Error::Rejected(_))));
        assert_ready_ok!(service.poll_ready::<()>());
    }
    breaker.reset();
    assert_ready_ok!(service.poll_ready::<()>());
    assert_eq!(probe.ready_polls(), 1);
    assert_eq!(service.call(()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_has_failed() {
    let (breaker, _clock) = fragile();
    let (mut service, mut handle) = guarded(&breaker);
    handle.send_error("gone");
    assert!(service.poll_ready().is_ready());
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn one_layer_is_one_breaker_and_per_service_is_explicit() {
    let (breaker, _clock) = fragile();
    let service = || service_fn(async |()| Ok::<_, ()>(()));
    let shared = CircuitLayer::new(breaker.clone());
    let routes: Vec<_> = (0..3).map(|_| shared.clone().layer(service())).collect();
    let own = CircuitLayer::new(breaker.clone()).per_service();
    let loners: Vec<_> = (0..3).map(|_| own.layer(service())).collect();
    fail(routes[0].breaker(), 1);
    fail(loners[0].clone().breaker(), 1);
    let states = |services: &[Circuit<_>]| -> Vec<_> {
        services.iter().map(|s| s.breaker().state()).collect()
    };
    assert_eq!(states(&routes), [State::Open; 3]);
    let expected = [State::Open, State::Closed, State::Closed];
    assert_eq!(states(&loners), expected);
}

#[tokio::test(start_paused = true)]
async fn a_clock_of_tokios_is_paused_with_it() {
    let start = tokio::time::Instant::now();
    let clock = buttress_circuit::Clock::from_fn(move || start.elapsed());
    let breaker = Breaker::builder("test")
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .clock(clock)
        .build()
        .unwrap();
    fail(&breaker, 1);
    assert!(breaker.try_acquire().is_err());
    tokio::time::advance(secs(10)).await;
    assert!(breaker.try_acquire().is_ok());
}
