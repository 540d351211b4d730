//! Waiting for a breaker instead of being rejected by it.

use buttress_circuit::{
    Backoff, Breaker, Builder, Cancel, CircuitLayer, Clock, Error, Permit, Probes, Reason, State,
    WaitingCircuit, consecutive, slow_calls,
};
use testkit::probe::{Probe, Script};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::Layer;
use tower_test::mock;

use super::{fail, ms, secs};

/// Opens for ten seconds after one failure, and then takes one probe, which has half a minute.
fn settings() -> Builder {
    Breaker::builder("test")
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(Probes::new(1).max_wait(secs(30)))
        .clock(Clock::tokio())
}

fn open() -> Breaker {
    let breaker = settings().build().unwrap();
    fail(&breaker, 1);
    breaker
}

fn waiter(breaker: &Breaker) -> task::Spawn<impl Future<Output = Permit> + use<>> {
    let breaker = breaker.clone();
    let mut waiter = task::spawn(async move { breaker.acquire().await });
    assert_pending!(waiter.poll());
    waiter
}

fn probes_out(breaker: &Breaker) -> u32 {
    breaker.snapshot().probes.in_flight
}

#[tokio::test(start_paused = true)]
async fn a_closed_breaker_is_not_waited_for() {
    let breaker = settings().build().unwrap();
    assert_ready!(task::spawn(breaker.acquire()).poll()).success();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_open_time_wakes_and_one_gets_the_probe() {
    let breaker = open();
    let (mut one, mut other) = (waiter(&breaker), waiter(&breaker));
    tokio::time::advance(ms(9998)).await;
    assert!(!one.is_woken() && !other.is_woken());
    tokio::time::advance(ms(3)).await;
    assert!(one.is_woken() && other.is_woken());
    let probe = assert_ready!(one.poll());
    assert_pending!(other.poll());
    assert!(!other.is_woken());
    probe.success();
    assert!(other.is_woken(), "closing wakes");
    assert_ready!(other.poll()).success();
}

#[tokio::test(start_paused = true)]
async fn whatever_closes_wakes_everybody() {
    for close in [Breaker::reset, Breaker::force_closed, Breaker::metrics_only] {
        let breaker = open();
        let mut waiters: Vec<_> = (0..3).map(|_| waiter(&breaker)).collect();
        close(&breaker);
        for waiter in &mut waiters {
            assert!(waiter.is_woken());
            assert_ready!(waiter.poll()).ignore();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_open_time_wakes() {
    let breaker = open();
    let mut waiter = waiter(&breaker);
    breaker.open_for(secs(1));
    assert!(waiter.is_woken());
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(1001)).await;
    assert!(waiter.is_woken());
    assert_ready!(waiter.poll()).success();
}

#[tokio::test(start_paused = true)]
async fn forced_open_only_an_operator_wakes() {
    let breaker = settings().build().unwrap();
    breaker.force_open();
    let mut waiter = waiter(&breaker);
    tokio::time::advance(secs(100_000)).await;
    assert!(!waiter.is_woken());
    breaker.auto();
    assert!(waiter.is_woken());
    assert_ready!(waiter.poll()).success();
}

/// Half-open, with the probe out.
async fn probing() -> (Breaker, Permit) {
    let breaker = open();
    tokio::time::advance(secs(11)).await;
    let probe = breaker.try_acquire().unwrap();
    (breaker, probe)
}

#[tokio::test(start_paused = true)]
async fn a_freed_slot_wakes_one_and_who_leaves_wakes_the_next() {
    let (breaker, probe) = probing().await;
    let (one, mut other) = (waiter(&breaker), waiter(&breaker));
    drop(probe);
    assert!(one.is_woken() && !other.is_woken());
    drop(one);
    assert!(other.is_woken(), "the baton is passed on");
    let probe = assert_ready!(other.poll());
    assert_eq!(probes_out(&breaker), 1);
    probe.success();
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_is_not_waited_for_for_ever() {
    let (breaker, _hung) = probing().await;
    let mut waiter = waiter(&breaker);
    tokio::time::advance(secs(31)).await;
    assert!(waiter.is_woken());
    assert_pending!(waiter.poll());
    assert_eq!(breaker.state(), State::Open, "the probe has timed out");
    tokio::time::advance(secs(11)).await;
    assert!(waiter.is_woken());
    assert_ready!(waiter.poll()).success();
    assert_eq!(breaker.state(), State::Closed);
}

type Handle = mock::Handle<&'static str, &'static str>;
type Waiting = WaitingCircuit<mock::Mock<&'static str, &'static str>>;

fn waiting(breaker: &Breaker) -> (mock::Spawn<Waiting>, Handle) {
    mock::spawn_layer(CircuitLayer::new(breaker.clone()).wait())
}

#[tokio::test(start_paused = true)]
async fn a_service_is_ready_when_the_breaker_admits_a_call_and_calls_it() {
    let breaker = open();
    let (mut service, mut handle) = waiting(&breaker);
    assert_pending!(service.poll_ready());
    tokio::time::advance(ms(9998)).await;
    assert!(!service.is_woken());
    tokio::time::advance(ms(3)).await;
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    assert_eq!(probes_out(&breaker), 1);
    let mut call = task::spawn(service.call("probe"));
    assert_pending!(call.poll());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response("yes");
    assert_eq!(call.await.unwrap(), "yes");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_does_not_ask_the_inner_service() {
    let breaker = open();
    let probe = Probe::new(Script::IMMEDIATE);
    let layer = CircuitLayer::new(breaker.clone()).wait();
    let mut service = mock::Spawn::new(layer.layer(probe.service(|_, ()| Ok(()))));
    assert_pending!(service.poll_ready::<()>());
    assert_eq!(probe.ready_polls(), 0);
    breaker.reset();
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<()>());
    assert_eq!(service.call(()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_that_is_dropped_gives_its_probe_to_a_waiting_one() {
    let (breaker, probe) = probing().await;
    probe.ignore();
    let (mut first, _handle) = waiting(&breaker);
    assert_ready_ok!(first.poll_ready());
    let (mut second, _handle) = waiting(&breaker);
    let mut clone = first.clone();
    assert_pending!(second.poll_ready());
    assert_pending!(clone.poll_ready(), "a clone has no permit");
    drop(first);
    assert!(second.is_woken() && !clone.is_woken());
    assert_ready_ok!(second.poll_ready());
    assert_eq!(probes_out(&breaker), 1);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_after_readiness_rejects_and_the_inner_service_stays_ready() {
    let breaker = settings().build().unwrap();
    let probe = Probe::new(Script::IMMEDIATE);
    let layer = CircuitLayer::new(breaker.clone()).wait();
    let mut service = mock::Spawn::new(layer.layer(probe.service(|_, ()| Ok(()))));
    assert_ready_ok!(service.poll_ready::<()>());
    fail(&breaker, 1);
    let Err(Error::Rejected(rejected)) = service.call(()).await else {
        panic!("not rejected");
    };
    assert_eq!(rejected.reason(), Reason::Open);
    assert_pending!(service.poll_ready::<()>());
    breaker.reset();
    assert_ready_ok!(service.poll_ready::<()>());
    assert_eq!(probe.ready_polls(), 1);
    assert_eq!(service.call(()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_looks_again_when_it_is_asked_again() {
    let breaker = settings().build().unwrap();
    let (mut service, _handle) = waiting(&breaker);
    assert_ready_ok!(service.poll_ready());
    fail(&breaker, 1);
    assert_pending!(service.poll_ready());
    breaker.reset();
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_service_is_kept_ready_is_not_the_calls() {
    let breaker = settings()
        .trip(slow_calls(secs(1), 0.5).min_calls(1))
        .build()
        .unwrap();
    let probe = Probe::new(Script::IMMEDIATE);
    let layer = CircuitLayer::new(breaker.clone()).wait();
    let mut service = mock::Spawn::new(layer.layer(probe.service(|_, ()| Ok(()))));
    assert_ready_ok!(service.poll_ready::<()>());
    tokio::time::advance(secs(60)).await;
    assert_eq!(service.call(()).await, Ok(()));
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_and_dropped_was_not_cancelled() {
    let breaker = settings().on_cancel(Cancel::Failure).build().unwrap();
    let (mut service, _handle) = waiting(&breaker);
    assert_ready_ok!(service.poll_ready());
    drop(service);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_fails_the_probe() {
    let (breaker, probe) = probing().await;
    probe.ignore();
    let (mut service, mut handle) = waiting(&breaker);
    handle.send_error("gone");
    assert!(assert_ready!(service.poll_ready()).is_err());
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().generation, 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_makes_room_for_one_who_waits() {
    let breaker = settings().max_in_flight(1).build().unwrap();
    let call = breaker.try_acquire().unwrap();
    let (mut one, mut other) = (waiter(&breaker), waiter(&breaker));
    tokio::time::advance(secs(3600)).await;
    assert!(!one.is_woken() && !other.is_woken());
    call.success();
    assert!(one.is_woken() && !other.is_woken());
    let next = assert_ready!(one.poll());
    drop(next);
    assert!(other.is_woken());
    assert_ready!(other.poll()).success();
}

#[tokio::test(start_paused = true)]
async fn those_who_find_no_room_for_a_probe_do_not_wake_each_other() {
    let breaker = settings()
        .max_in_flight(1)
        .half_open(Probes::new(2))
        .build()
        .unwrap();
    let before = breaker.try_acquire().unwrap();
    breaker.open_for(secs(10));
    tokio::time::advance(secs(11)).await;
    let (mut one, mut other) = (waiter(&breaker), waiter(&breaker));
    assert!(!one.is_woken() && !other.is_woken());
    before.ignore();
    assert!(one.is_woken() && !other.is_woken());
    assert_ready!(one.poll()).ignore();
    assert!(other.is_woken());
    assert_ready!(other.poll()).ignore();
}

#[tokio::test(start_paused = true)]
async fn more_room_wakes() {
    let breaker = settings().max_in_flight(1).build().unwrap();
    let _call = breaker.try_acquire().unwrap();
    let mut waiter = waiter(&breaker);
    breaker.reconfigure(|now| now.max_in_flight(2)).unwrap();
    assert!(waiter.is_woken());
    assert_ready!(waiter.poll()).success();
}
