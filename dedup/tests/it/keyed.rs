use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_dedup::{Dedup, DedupError, DedupLayer, Event, OnFailure, OnFull};
use testkit::probe::ProbeError;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service, ServiceExt};

use crate::backend::Backend;

/// Neither `Clone` nor anything else is asked of a request.
struct Req(Option<u8>);

type KeyFn = fn(&Req) -> Option<u8>;
type Keyed = DedupLayer<KeyFn, u8, u32, ProbeError>;
type Call = Spawn<<Dedup<Backend<u32>, KeyFn, u8, u32, ProbeError> as Service<Req>>::Future>;

fn layer() -> Keyed {
    DedupLayer::new((|request: &Req| request.0) as KeyFn)
}

struct Test {
    layer: Keyed,
    backend: Backend<u32>,
}

fn test(layer: Keyed) -> Test {
    Test {
        layer,
        backend: Backend::default(),
    }
}

impl Test {
    /// Sends a request and polls it once.
    fn send(&self, key: impl Into<Option<u8>>) -> Call {
        let mut service = self.layer.layer(self.backend.clone());
        let mut call = task::spawn(service.call(Req(key.into())));
        assert_pending!(call.poll());
        call
    }
}

#[track_caller]
fn answer(call: &mut Call) -> Result<u32, DedupError<ProbeError>> {
    assert!(call.is_woken(), "nobody woke it");
    assert_ready!(call.poll())
}

#[track_caller]
fn shared_error(call: &mut Call) -> Arc<ProbeError> {
    match answer(call) {
        Err(DedupError::Call(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_with_the_same_key_share_one_and_others_do_not() {
    let test = test(layer());
    let mut calls: Vec<_> = (0..100).map(|_| test.send(1)).collect();
    let _other = test.send(2);
    let _without = (test.send(None), test.send(None));
    assert_eq!(test.backend.calls(), 4);
    test.backend.answer(Ok(7));
    calls
        .iter_mut()
        .for_each(|call| assert_eq!(answer(call).unwrap(), 7));
}

#[test]
fn an_error_is_shared_and_needs_no_clone() {
    let test = test(layer());
    let mut calls = [(); 3].map(|()| test.send(1));
    test.backend.answer(Err(ProbeError));
    let errors = calls.each_mut().map(shared_error);
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert_eq!(test.backend.calls(), 1);
    assert!(test.layer.snapshot().is_idle());
}

#[test]
fn a_failure_is_retried_once_by_one_of_the_followers_for_all_of_them() {
    let test = test(layer().on_failure(OnFailure::RetryOnce));
    let mut calls = [(); 4].map(|()| test.send(1));
    test.backend.answer(Err(ProbeError));
    shared_error(&mut calls[0]);
    let woken = calls[1..].iter_mut().filter(|call| call.is_woken());
    assert_eq!(woken.count(), 1);
    calls[1..]
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    assert_eq!(test.backend.calls(), 2, "once for all of them");
    test.backend.answer(Err(ProbeError));
    calls[1..]
        .iter_mut()
        .for_each(|call| drop(shared_error(call)));
    assert_eq!(test.backend.calls(), 2, "and that was final");
    assert!(test.layer.snapshot().is_idle());
}

#[test]
fn a_failure_that_is_there_at_once_is_retried_once_for_all() {
    let test = test(layer().on_failure(OnFailure::RetryOnce));
    let mut calls: Vec<_> = (0..100).map(|_| test.send(1)).collect();
    test.backend.answer(Err(ProbeError));
    test.backend.fail_at_once();
    shared_error(&mut calls[0]);
    let errors: Vec<_> = calls[1..].iter_mut().map(shared_error).collect();
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert_eq!(test.backend.calls(), 2);
    assert!(test.layer.snapshot().is_idle());
}

#[test]
fn a_retry_that_is_dropped_is_made_by_the_next_and_newcomers_share_it() {
    let test = test(layer().on_failure(OnFailure::RetryOnce));
    let mut calls: Vec<_> = (0..3).map(|_| test.send(1)).collect();
    test.backend.answer(Err(ProbeError));
    shared_error(&mut calls[0]);
    assert_pending!(calls[1].poll());
    calls.push(test.send(1));
    drop(calls.drain(..2));
    test.backend.skip();
    calls
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    assert_eq!(test.backend.calls(), 3);
    test.backend.answer(Err(ProbeError));
    calls.iter_mut().for_each(|call| drop(shared_error(call)));
    assert_eq!(test.backend.calls(), 3, "and that was final");
    assert!(test.layer.snapshot().is_idle());
}

#[test]
fn a_failure_without_followers_is_nobodys_to_retry() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let layer = layer().on_failure(OnFailure::RetryOnce);
    let layer = layer.observer(move |event: &Event<'_>| heard.lock().unwrap().push(event.name()));
    let test = test(layer);
    let mut alone = test.send(1);
    test.backend.answer(Err(ProbeError));
    shared_error(&mut alone);
    assert!(test.layer.snapshot().is_idle());
    let mut calls = [(); 2].map(|()| test.send(1));
    test.backend.answer(Err(ProbeError));
    shared_error(&mut calls[0]);
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        ["led", "failed", "led", "joined", "failed", "retried"]
    );
}

#[test]
fn a_cancelled_leader_hands_over_and_a_cancelled_follower_passes_on() {
    let test = test(layer());
    let mut calls: Vec<_> = (0..4).map(|_| test.send(1)).collect();
    drop(calls.remove(0));
    assert!(calls[0].is_woken() && !calls[1].is_woken());
    drop(calls.remove(0));
    assert!(calls[0].is_woken(), "it had been promoted");
    assert_pending!(calls[0].poll());
    assert_eq!(test.backend.running(), 1);
    test.backend.skip();
    test.backend.answer(Ok(7));
    calls
        .iter_mut()
        .for_each(|call| assert_eq!(answer(call).unwrap(), 7));
}

#[test]
fn n_followers_and_k_aborts_start_at_most_k_and_one_calls() {
    for aborts in 0..10 {
        let test = test(layer());
        let mut calls: Vec<_> = (0..20).map(|_| test.send(1)).collect();
        for abort in 0..aborts {
            // Leaders, followers, and those who were just promoted.
            drop(calls.remove(abort % 3));
            assert!(test.backend.running() <= 1, "two at once");
            if abort % 2 == 0 {
                calls
                    .iter_mut()
                    .for_each(|call| assert_pending!(call.poll()));
            }
        }
        calls
            .iter_mut()
            .for_each(|call| assert_pending!(call.poll()));
        assert_eq!(test.backend.running(), 1);
        assert!(test.backend.calls() <= aborts + 1);
    }
}

#[test]
fn without_room_a_call_passes_alone_or_is_refused() {
    let bypassing = test(layer().max_waiters(NonZeroUsize::MIN));
    let _calls = [(); 3].map(|()| bypassing.send(1));
    assert_eq!(bypassing.backend.calls(), 2);

    let rejecting = layer()
        .max_waiters(NonZeroUsize::MIN)
        .on_full(OnFull::Reject);
    let rejecting = test(rejecting);
    let _calls = [(); 2].map(|()| rejecting.send(1));
    let service = rejecting.layer.layer(rejecting.backend.clone());
    let refused = assert_ready!(task::spawn(service.oneshot(Req(Some(1)))).poll());
    assert!(matches!(refused, Err(DedupError::Full)));
    assert_eq!(rejecting.backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_has_waited_long_enough_goes_alone() {
    let test = test(layer().wait_timeout(Duration::from_secs(5)));
    let (_leads, mut follows) = (test.send(1), test.send(1));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(follows.is_woken());
    assert_pending!(follows.poll());
    assert_eq!(test.backend.calls(), 2);
}

#[test]
fn a_follower_holds_no_permit() {
    let backend = Backend::<u32>::default();
    let limited = tower::limit::ConcurrencyLimit::new(backend.clone(), 1);
    let service = layer().layer(limited);
    let mut calls: Vec<_> = (0..3)
        .map(|_| task::spawn(service.clone().oneshot(Req(Some(1)))))
        .collect();
    calls
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    drop(calls.remove(0));
    let mut other = task::spawn(service.oneshot(Req(Some(2))));
    assert_pending!(other.poll());
    assert_eq!(backend.running(), 1, "the permit was free for another key");
}

#[test]
fn errors_say_what_happened() {
    let call = DedupError::Call(Arc::new(ProbeError));
    assert_eq!(call.inner(), Some(&ProbeError));
    let source = std::error::Error::source(&call).unwrap();
    assert_eq!(source.to_string(), "scripted failure");
    assert!(DedupError::<ProbeError>::Full.inner().is_none());
}

#[test]
fn what_was_changed_is_called_for_anew() {
    let test = test(layer());
    let _old = test.send(1);
    test.layer.forget(&1);
    let _new = (test.send(1), test.send(1));
    assert_eq!(test.backend.calls(), 2);
}
