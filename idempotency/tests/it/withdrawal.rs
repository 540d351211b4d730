//! Claims under which nothing is done are given back, whatever the store answered.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::{
    Event, Idempotency, IdempotencyLayer, Keep, OnStoreError, Reconciled, Recovery, Scoped, Store,
    StoreError,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

use crate::faults::{Faulty, Req};
use crate::kit::order;
use crate::unknown::Broken;

type Layered = IdempotencyLayer<Faulty, Scoped>;

/// The handler answers with this status, and tells which attempt it is; 0 is one without a claim.
async fn send(layer: &Layered, status: StatusCode) -> (StatusCode, Bytes) {
    let handler = service_fn(move |request: Req| async move {
        let attempt = request.extensions().get::<Idempotency>();
        let attempt = attempt.map_or(0, Idempotency::attempt).to_string();
        let response = Response::builder().status(status);
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from(attempt)).unwrap())
    });
    let response = layer.layer(handler).call(order("k", "lamp")).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, body)
}

fn cautious(store: &Faulty) -> Layered {
    store.layer().recovery(Recovery::Reject)
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_made_and_not_told_of_is_given_back() {
    let store = Faulty::new();
    store.unanswered.store(1, Ordering::SeqCst);
    let layer = cautious(&store);
    let (status, _) = send(&layer, StatusCode::OK).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    layer.tasks().drain().await;
    assert_eq!(store.store.snapshot().keys, 0);
    assert_eq!(send(&layer, StatusCode::OK).await.1, "1");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_made_after_nobody_waits_for_it_is_given_back() {
    let store = Faulty::new();
    store.late.store(1, Ordering::SeqCst);
    let layer = cautious(&store);
    send(&layer, StatusCode::OK).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = store.last_late.lock().unwrap().take().unwrap();
    store.store.begin(late).await.unwrap();
    assert_eq!(store.store.snapshot().keys, 1);
    layer.tasks().drain().await;
    assert_eq!(store.store.snapshot().keys, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_known_before_is_not_known_after_a_claim_was_withdrawn() {
    let store = Faulty::new();
    let layer = store.layer();
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    store.unanswered.store(1, Ordering::SeqCst);
    send(&layer, StatusCode::OK).await;
    layer.tasks().drain().await;
    assert_eq!(
        layer.unknown(9).await.unwrap().len(),
        1,
        "its lease is over"
    );
    assert_eq!(send(&layer, StatusCode::OK).await.1, "3");
}

/// There may be an effect, and the claim keeps others off.
#[tokio::test(start_paused = true)]
async fn a_claim_beside_which_something_was_done_unprotected_is_not_withdrawn() {
    let store = Faulty::new();
    store.unanswered.store(1, Ordering::SeqCst);
    let layer = cautious(&store).on_store_error(OnStoreError::Bypass);
    assert_eq!(send(&layer, StatusCode::OK).await.1, "0");
    layer.tasks().drain().await;
    assert_eq!(store.store.running(), 1);
}

/// A service that is not ready does nothing.
#[tokio::test(start_paused = true)]
async fn a_claim_beside_which_nothing_came_to_be_done_is_given_back() {
    let store = Faulty::new();
    store.unanswered.store(1, Ordering::SeqCst);
    let layer = cautious(&store).on_store_error(OnStoreError::Bypass);
    let called = layer.layer(Broken).call(order("k", "lamp")).await;
    assert_eq!(called.unwrap_err(), "broken");
    assert_eq!((store.store.running(), layer.snapshot().bypassed), (1, 0));
    layer.tasks().drain().await;
    assert_eq!(store.store.snapshot().keys, 0);
}

/// Who takes over to ask about it does nothing without having asked, whatever the policy.
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_made_to_ask_what_became_of_the_work_is_given_back() {
    let store = Faulty::new();
    let layer = cautious(&store).on_store_error(OnStoreError::Bypass);
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    store.unanswered.store(1, Ordering::SeqCst);
    let asking = layer
        .clone()
        .reconcile(|_: Request<Bytes>| async { Reconciled::Unknown });
    let (status, _) = send(&asking, StatusCode::OK).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(layer.unknown(9).await.unwrap().len(), 0, "its lease runs");
    layer.tasks().drain().await;
    asking.tasks().drain().await;
    assert_eq!(layer.unknown(9).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_claims_are_withdrawn_at_once_than_may() {
    let store = Faulty::new();
    store.unanswered.store(usize::MAX, Ordering::SeqCst);
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let spawned = Arc::clone(&tasks);
    let layer = cautious(&store).spawner(move |task| spawned.lock().unwrap().push(task));
    let mut service = layer.layer(service_fn(crate::faults::done));
    let mut refuse = async |key: usize| {
        let response = service.call(order(&key.to_string(), ""));
        assert_eq!(response.await.unwrap().status(), 503);
    };
    for key in 0..1100 {
        refuse(key).await;
    }
    assert_eq!(tasks.lock().unwrap().len(), 1024);
    let all = std::mem::take(&mut *tasks.lock().unwrap());
    for task in all {
        task.await;
    }
    assert_eq!(
        store.store.snapshot().keys,
        1100 - 1024,
        "left to their leases"
    );
    refuse(2000).await;
    assert_eq!(tasks.lock().unwrap().len(), 1, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_given_up_after_a_lease() {
    let store = Faulty::new();
    store.late.store(1, Ordering::SeqCst);
    store.away.store(true, Ordering::SeqCst);
    let layer = cautious(&store);
    let begun = Instant::now();
    send(&layer, StatusCode::OK).await;
    layer.tasks().drain().await;
    assert!(begun.elapsed() <= Duration::from_secs(30));
    assert!(begun.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn work_without_effect_frees_its_key_when_the_store_is_back_or_has_room() {
    for no_room in [false, true] {
        let store = Faulty::new();
        store.keeps_at.store(1, Ordering::SeqCst);
        store.no_room.store(no_room, Ordering::SeqCst);
        let layer = cautious(&store);
        let (status, _) = send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        layer.tasks().drain().await;
        assert_eq!((layer.snapshot().forgotten, layer.snapshot().lost), (1, 0));
        assert_eq!(send(&layer, StatusCode::OK).await.1, "1", "{no_room}");
    }
}

/// To take something out of a file, a database writes something into it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_needs_is_given_back_when_there_is_room_again() {
    let store = Faulty::new();
    let (old, new) = ([1; 32], [2; 32]);
    store.no_room.store(true, Ordering::SeqCst);
    let layer = cautious(&store);
    send(&layer.clone().secret(old), StatusCode::OK).await;
    // There is a record under the former key, and the claim under the new one is not needed.
    store.failed_abandons.store(2, Ordering::SeqCst);
    let after = layer.clone().secret(new).former_secret(old);
    assert_eq!(send(&after, StatusCode::ACCEPTED).await.0, StatusCode::OK);
    after.tasks().drain().await;
    assert_eq!(store.store.snapshot().keys, 1);
    // By hand.
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    store.failed_abandons.store(2, Ordering::SeqCst);
    let unknown = layer.unknown(9).await.unwrap();
    layer.release(&unknown[0]).await.unwrap();
    assert_eq!(store.store.snapshot().keys, 1);
}

/// Whoever was told that it is held is told what becomes of it.
#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_freed_in_a_lease_is_left_to_recovery() {
    let store = Faulty::new();
    store.keeps_at.store(1, Ordering::SeqCst);
    store.away.store(true, Ordering::SeqCst);
    let layer = cautious(&store);
    send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
    layer.tasks().drain().await;
    let seen = layer.snapshot();
    assert_eq!((seen.claimed, seen.forgotten, seen.orphaned), (1, 0, 1));
}

/// The answer to the first asking was lost, and what was asked for was done.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_freed_without_an_answer_is_free() {
    let store = Faulty::new();
    store.unheard_abandons.store(1, Ordering::SeqCst);
    let layer = cautious(&store);
    send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
    layer.tasks().drain().await;
    let seen = layer.snapshot();
    assert_eq!((seen.claimed, seen.forgotten, seen.lost), (1, 1, 0));
    assert_eq!(store.store.snapshot().keys, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_and_asked_for_again_is_not_lost() {
    let store = Faulty::new();
    let layer = cautious(&store);
    store.asks_twice.store(1, Ordering::SeqCst);
    send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!((layer.snapshot().forgotten, layer.snapshot().lost), (1, 0));
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    for (twice, fails) in [(1, 0), (0, 2)] {
        let unknown = layer.unknown(9).await.unwrap();
        store.asks_twice.store(twice, Ordering::SeqCst);
        store.failed_abandons.store(fails, Ordering::SeqCst);
        layer.release(&unknown[0]).await.unwrap();
        assert_eq!(store.store.snapshot().keys, 0);
        send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
        layer.tasks().drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_claim_is_released_is_asked_four_times() {
    let store = Faulty::new();
    let layer = cautious(&store);
    let unknown = async || {
        send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
        layer.tasks().drain().await;
        layer.unknown(9).await.unwrap().remove(0)
    };
    // The last answer counts as the others do: given back by a call whose answer was lost.
    for twice in [0, 1] {
        let claim = unknown().await;
        store.failed_abandons.store(3, Ordering::SeqCst);
        store.asks_twice.store(twice, Ordering::SeqCst);
        let asked = Instant::now();
        layer.release(&claim).await.unwrap();
        assert_eq!(asked.elapsed(), Duration::from_millis(50 + 100 + 200));
        assert_eq!(store.store.snapshot().keys, 0);
    }
    let claim = unknown().await;
    store.failed_abandons.store(5, Ordering::SeqCst);
    let failed = layer.release(&claim).await;
    assert!(
        matches!(failed, Err(StoreError::Unavailable(_))),
        "{failed:?}"
    );
    assert_eq!(store.failed_abandons.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_claim_is_marked_done_is_asked_four_times() {
    let store = Faulty::new();
    let layer = cautious(&store);
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    let claim = layer.unknown(9).await.unwrap().remove(0);
    store.failures.store(3, Ordering::SeqCst);
    let asked = Instant::now();
    let receipt = Response::new(Bytes::from("receipt"));
    layer.mark_done(&claim, receipt).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_millis(50 + 100 + 200));
    assert_eq!(store.failures.load(Ordering::SeqCst), 0);
    let late = layer.mark_done(&claim, Response::default()).await;
    assert!(matches!(late, Err(StoreError::Lost)), "{late:?}");
    assert!(layer.unknown(9).await.unwrap().is_empty(), "it is done");
}

/// The handler panics, and so does its caller.
async fn panic(layer: &Layered) {
    let handler = service_fn(
        async |_: Req| -> Result<Response<Full<Bytes>>, Infallible> {
            std::panic::resume_unwind(Box::new(()))
        },
    );
    let mut service = layer.layer(handler);
    let call = tokio::spawn(async move { drop(service.call(order("k", "lamp")).await) });
    assert!(call.await.unwrap_err().is_panic());
    layer.tasks().drain().await;
}

#[tokio::test(start_paused = true)]
async fn work_of_which_nobody_knows_is_left_to_recovery_when_the_store_is_back() {
    let store = Faulty::new();
    store.failed_renewals.store(3, Ordering::SeqCst);
    let layer = cautious(&store);
    let begun = Instant::now();
    panic(&layer).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let seen = layer.snapshot();
    assert_eq!((seen.orphaned, seen.lost, seen.store_failed), (1, 0, 3));
    assert_eq!(
        layer.unknown(9).await.unwrap().len(),
        1,
        "its lease is over"
    );
}

#[tokio::test(start_paused = true)]
async fn work_of_which_nobody_knows_is_left_to_its_lease_by_a_store_that_stays_away() {
    let store = Faulty::new();
    store.failed_renewals.store(usize::MAX, Ordering::SeqCst);
    let layer = cautious(&store);
    let begun = Instant::now();
    panic(&layer).await;
    assert!(begun.elapsed() <= Duration::from_secs(30));
    assert!(begun.elapsed() >= Duration::from_secs(20));
    let seen = layer.snapshot();
    assert_eq!((seen.orphaned, seen.lost), (1, 0));
    assert!(seen.store_failed > 1);
}

#[tokio::test(start_paused = true)]
async fn work_of_which_nobody_knows_may_be_somebody_elses_when_the_store_is_back() {
    let store = Faulty::new();
    store.failed_renewals.store(1, Ordering::SeqCst);
    let taken = Arc::clone(&store.taken);
    let layer = cautious(&store).observer(move |event: &Event<'_>| {
        if let Event::StoreFailed(_) = event {
            taken.store(true, Ordering::SeqCst);
        }
    });
    panic(&layer).await;
    let seen = layer.snapshot();
    assert_eq!((seen.orphaned, seen.lost, seen.store_failed), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_is_asked_again_for_the_end_of_a_lease() {
    let store = Faulty::new();
    let layer = store.layer();
    send(&layer.clone().keep(|_| Keep::Unknown), StatusCode::OK).await;
    layer.tasks().drain().await;
    let before = layer.snapshot().orphaned;
    store.failed_renewals.store(2, Ordering::SeqCst);
    let begun = Instant::now();
    let (_, attempt) = send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!((&attempt[..], begun.elapsed()), (&b"2"[..], Duration::ZERO));
    layer.tasks().drain().await;
    let seen = layer.snapshot();
    assert_eq!((seen.orphaned - before, seen.store_failed), (1, 2));
    assert_eq!(layer.unknown(9).await.unwrap().len(), 1);
}
