//! What nobody knows stays unknown until somebody knows it, whatever fails meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Event, Execution, Fingerprint, Idempotency, IdempotencyLayer, Keep,
    MemoryStore, OnConflict, OnStoreError, Reconciled, RecordKey, Recovery, Scoped, Store,
    StoreError, Token,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, service_fn};

use crate::faults::{Faulty, Req};
use crate::kit::{order, with};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const BETWEEN: [u8; 32] = [3; 32];

type Layered = IdempotencyLayer<Faulty, Scoped>;

/// The handler answers with this status, and tells which attempt it is.
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

/// The first request under `k` ends, and nobody knows how.
async fn orphan(layer: &Layered) {
    let dying = layer.clone().keep(|_| Keep::Unknown);
    send(&dying, StatusCode::OK).await;
    dying.tasks().drain().await;
}

#[tokio::test]
async fn a_response_that_says_nothing_was_done_says_nothing_of_attempts_before() {
    let layer = Faulty::new().layer();
    orphan(&layer).await;
    for attempt in ["2", "3"] {
        let (status, body) = send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(body, attempt, "the attempts before are remembered");
    }
    assert_eq!(send(&layer, StatusCode::OK).await.1, "4");
}

#[tokio::test]
async fn a_claim_that_was_taken_over_in_a_rotation_is_left_as_it_was_found() {
    let store = Faulty::new();
    let cautious = |secret| store.layer().recovery(Recovery::Reject).secret(secret);
    orphan(&cautious(OLD)).await;
    // The second claim that is given back is that under the new key, while the old one is taken over to ask about it.
    store.keeps_at.store(2, Ordering::SeqCst);
    let after = cautious(NEW)
        .former_secret(OLD)
        .reconcile(|_: Request<Bytes>| async { Reconciled::Unknown });
    assert_eq!(send(&after, StatusCode::OK).await.0, StatusCode::CONFLICT);
    after.tasks().drain().await;
    let (status, body) = send(&cautious(OLD), StatusCode::OK).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body:?}");
}

#[tokio::test]
async fn what_is_known_to_be_unknown_is_not_done_unprotected() {
    let store = Faulty::new();
    let layer = store
        .layer()
        .recovery(Recovery::Reject)
        .on_store_error(OnStoreError::Bypass)
        .reconcile(|_: Request<Bytes>| async { Reconciled::NotDone });
    orphan(&layer).await;
    // The store fails when the claim is to be taken over.
    store.fails_at.store(store.asked() + 2, Ordering::SeqCst);
    let (status, body) = send(&layer, StatusCode::OK).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body:?}");
    assert_eq!(send(&layer, StatusCode::OK).await.1, "2");
}

#[tokio::test]
async fn what_is_known_under_a_former_key_is_not_done_unprotected() {
    let store = Faulty::new();
    let layer = store.layer().on_store_error(OnStoreError::Bypass);
    send(&layer.clone().secret(OLD), StatusCode::OK).await;
    let after = layer.secret(NEW).former_secret(OLD);
    // Whatever fails once the record was seen.
    for fails in [3, 4] {
        store
            .fails_at
            .store(store.asked() + fails, Ordering::SeqCst);
        let (status, body) = send(&after, StatusCode::ACCEPTED).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"1"[..]), "{fails}");
    }
    assert_eq!(
        (after.snapshot().bypassed, after.snapshot().replayed),
        (0, 2)
    );
}

/// Under the old key somebody is at work, or was.
#[tokio::test]
async fn what_was_begun_under_a_former_key_is_not_done_unprotected() {
    for recovery in [Recovery::Reexecute, Recovery::Reject] {
        let store = Faulty::new();
        let layer = store.layer().recovery(recovery);
        orphan(&layer.clone().secret(OLD)).await;
        let after = layer.secret(NEW).former_secret(OLD);
        let after = after.on_store_error(OnStoreError::Bypass);
        store.fails_at.store(store.asked() + 3, Ordering::SeqCst);
        let (status, _) = send(&after, StatusCode::ACCEPTED).await;
        assert_eq!(status, StatusCode::CONFLICT, "{recovery:?}");
        assert_eq!(after.snapshot().bypassed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_waited_for_is_not_done_unprotected() {
    let store = Faulty::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let effects = Arc::new(AtomicUsize::new(0));
    let (door, count) = (gate.clone(), effects.clone());
    let slow = service_fn(move |_: Req| {
        let (door, count) = (door.clone(), count.clone());
        async move {
            door.acquire().await.unwrap().forget();
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
        }
    });
    let layer = store.layer().on_store_error(OnStoreError::Bypass);
    let layer = layer.on_conflict(OnConflict::Wait {
        at_most: Duration::from_secs(60),
        waiters: 9,
    });
    let first = tokio::spawn(layer.layer(slow.clone()).call(order("k", "")));
    tokio::task::yield_now().await;
    let waiting = tokio::spawn(layer.layer(slow).call(order("k", "")));
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It can be looked at, and not claimed.
    store.deaf.store(true, Ordering::SeqCst);
    gate.add_permits(2);
    first.await.unwrap().unwrap();
    let replay = waiting.await.unwrap().unwrap();
    assert_eq!(effects.load(Ordering::SeqCst), 1);
    assert_eq!(replay.headers()["idempotency-replayed"], "true");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_unprotected_for_who_has_left() {
    for execution in [Execution::DetachOnDrop, Execution::Inline] {
        let store = Faulty::new();
        store.gate.forget_permits(usize::MAX);
        store.fails_at.store(1, Ordering::SeqCst);
        let layer = store.layer().execution(execution);
        let layer = layer.on_store_error(OnStoreError::Bypass);
        let mut call = task::spawn(send(&layer, StatusCode::OK));
        assert_pending!(call.poll());
        drop(call);
        store.gate.add_permits(1);
        layer.tasks().drain().await;
        assert_eq!(layer.snapshot().bypassed, 0);
    }
}

#[tokio::test]
async fn a_person_who_settles_a_claim_holds_it() {
    let shop = with(|layer| layer.recovery(Recovery::Reject));
    let store: MemoryStore = shop.layer.store().clone();
    let request = |token| BeginRequest {
        key: RecordKey::from_bytes([7; 32]),
        fingerprint: Fingerprint::from_bytes([0; 32]),
        token,
        lease: Duration::ZERO,
        ttl: Duration::from_secs(3600),
        recovery: Recovery::Reject,
    };
    let receipt = || Response::new(Bytes::from_static(b"by hand"));
    let claim = async || match store.begin(request(Token::random())).await.unwrap() {
        Begin::Claimed(claim) => claim,
        found => panic!("{found:?}"),
    };
    // A holder that is only slow: what it comes to after it was listed counts.
    let slow = claim().await;
    let listed = shop.layer.unknown(9).await.unwrap();
    store.abandon(&slow).await.unwrap();
    let late = shop.layer.mark_done(&listed[0], receipt()).await;
    assert!(matches!(late, Err(StoreError::Lost)), "{late:?}");
    // One that wakes after it was settled by hand settles nothing.
    let zombie = claim().await;
    shop.layer.mark_done(&zombie, receipt()).await.unwrap();
    let record = buttress_idempotency::Record::Tombstone(Default::default());
    let late = store
        .complete(&zombie, record, Duration::from_secs(1))
        .await;
    assert!(matches!(late, Err(StoreError::Lost)), "{late:?}");
    // One that lives is not to be settled by hand.
    let living = Begin::Claimed(zombie);
    assert_ne!(store.begin(request(Token::random())).await.unwrap(), living);
}

#[tokio::test]
async fn who_was_overtaken_answers_with_what_the_winner_has_come_to() {
    let layer = Faulty::new().layer();
    let inside = layer.clone();
    let handler = service_fn(move |request: Req| {
        let layer = inside.clone();
        async move {
            let claim = request
                .extensions()
                .get::<Idempotency>()
                .unwrap()
                .claim()
                .clone();
            // It was stopped for longer than its lease, and somebody else was asked meanwhile.
            let renewed = layer
                .store()
                .renew(&claim, Duration::ZERO, Duration::ZERO)
                .await;
            renewed.unwrap();
            assert_eq!(send(&layer, StatusCode::OK).await.1, "2");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("1")))
        }
    });
    let response = layer.layer(handler).call(order("k", "lamp")).await.unwrap();
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "2"
    );
    assert_eq!(layer.snapshot().lost, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_a_rotation_looks_where_the_work_is_and_seldom() {
    let store = Faulty::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let door = gate.clone();
    let slow = service_fn(move |_: Req| {
        let door = door.clone();
        async move {
            door.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
        }
    });
    let wait = OnConflict::Wait {
        at_most: Duration::from_secs(60),
        waiters: 9,
    };
    let before = store.layer().secret(OLD).on_conflict(wait);
    let after = store
        .layer()
        .secret(NEW)
        .former_secret(OLD)
        .on_conflict(wait);
    let first = tokio::spawn(before.layer(slow.clone()).call(order("k", "")));
    tokio::task::yield_now().await;
    let waiting = tokio::spawn(after.layer(slow).call(order("k", "")));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(
        store.asked() < 60,
        "{} questions in ten seconds",
        store.asked()
    );
    gate.add_permits(1);
    first.await.unwrap().unwrap();
    let replay = waiting.await.unwrap().unwrap();
    assert_eq!(replay.headers()["idempotency-replayed"], "true");
}

/// Of its own layer's claims it hears at once, under whichever key, although this store tells nothing.
#[tokio::test(start_paused = true)]
async fn who_waits_hears_at_once_of_what_its_layer_settles() {
    for rotated in [false, true] {
        let store = Faulty::new();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let door = gate.clone();
        let slow = service_fn(move |_: Req| {
            let door = door.clone();
            async move {
                door.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
            }
        });
        let before = store.layer().secret(OLD).on_conflict(OnConflict::Wait {
            at_most: Duration::from_secs(60),
            waiters: 9,
        });
        let first = tokio::spawn(before.layer(slow.clone()).call(order("k", "")));
        tokio::task::yield_now().await;
        let now = if rotated {
            before.clone().secret(NEW).former_secret(OLD)
        } else {
            before.clone()
        };
        let waiting = tokio::spawn(now.layer(slow).call(order("k", "")));
        tokio::time::sleep(Duration::from_millis(9500)).await;
        let done = tokio::time::Instant::now();
        gate.add_permits(1);
        first.await.unwrap().unwrap();
        let replay = waiting.await.unwrap().unwrap();
        assert_eq!(replay.headers()["idempotency-replayed"], "true");
        assert_eq!(done.elapsed(), Duration::ZERO, "rotated: {rotated}");
    }
}

#[tokio::test]
async fn a_claim_beside_which_nothing_can_be_looked_up_is_given_back() {
    let store = Faulty::new();
    let after = store.layer().secret(NEW).former_secret(OLD);
    store.blind.store(true, Ordering::SeqCst);
    let (status, _) = send(&after, StatusCode::OK).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    store.blind.store(false, Ordering::SeqCst);
    assert_eq!(send(&after, StatusCode::OK).await.0, StatusCode::OK);
}

/// Whoever claimed the key under the new secret was killed before it looked for it under the old one.
#[tokio::test(start_paused = true)]
async fn what_is_done_under_a_former_key_is_not_done_again_by_who_takes_over_the_new_one() {
    for recovery in [Recovery::Reexecute, Recovery::Reject] {
        let store = Faulty::new();
        let layer = store.layer().recovery(recovery);
        assert_eq!(
            send(&layer.clone().secret(OLD), StatusCode::OK).await.1,
            "1"
        );
        let after = layer.secret(NEW).former_secret(OLD);
        let killed = after.clone().spawner(drop);
        store.blind.store(true, Ordering::SeqCst);
        store.keeps_at.store(1, Ordering::SeqCst);
        let (status, _) = send(&killed, StatusCode::OK).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        store.blind.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(31)).await;
            let (status, body) = send(&after, StatusCode::ACCEPTED).await;
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"1"[..]));
        }
        assert_eq!(after.snapshot().replayed, 3, "{recovery:?}");
    }
}

/// Also where the end of other work is unknown under a key between.
#[tokio::test(start_paused = true)]
async fn a_record_under_any_former_key_is_the_answer() {
    let store = Faulty::new();
    let oldest = store.layer().secret(OLD);
    assert_eq!(send(&oldest, StatusCode::OK).await.1, "1");
    orphan(&store.layer().secret(BETWEEN)).await;
    for recovery in [Recovery::Reexecute, Recovery::Reject] {
        let layer = store.layer().recovery(recovery).secret(NEW);
        let after = layer.former_secret(BETWEEN).former_secret(OLD);
        let (status, body) = send(&after, StatusCode::ACCEPTED).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"1"[..]));
    }
}

/// Under the new key somebody has worked whose end nobody knows; under the old one there is a claim that is given back as it is looked at.
#[tokio::test]
async fn what_was_begun_under_the_new_key_goes_on_when_there_is_nothing_under_a_former_one() {
    let store = Faulty::new();
    let after = store.layer().secret(NEW).former_secret(OLD);
    orphan(&after).await;
    let before = store.layer().secret(OLD);
    let (head, ()) = order("k", "lamp").map(drop).into_parts();
    let key = before.record_key(&head).unwrap();
    let held = Arc::new(std::sync::Mutex::new(None));
    let hold = held.clone();
    let holds = service_fn(move |request: Req| {
        let claim = request.extensions().get::<Idempotency>().unwrap().claim();
        *hold.lock().unwrap() = Some(claim.clone());
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let mut running = task::spawn(before.layer(holds).call(order("k", "lamp")));
    assert_pending!(running.poll());
    let theirs = held.lock().unwrap().clone().unwrap();
    assert_eq!(theirs.key, key);
    // It is there when it is looked at, and gone when it is to be gone on with.
    store.gate.forget_permits(usize::MAX);
    store.gate.add_permits(1);
    let mut taking_over = task::spawn(send(&after, StatusCode::OK));
    assert_pending!(taking_over.poll());
    store.store.abandon(&theirs).await.unwrap();
    store.gate.add_permits(9);
    assert_eq!(
        taking_over.await.1,
        "2",
        "the attempts before are remembered"
    );
    let found = store.store.snapshot().keys;
    assert_eq!(found, 1, "what was claimed in vain is given back");
}

#[tokio::test]
async fn what_a_hook_knows_not_to_be_done_is_as_if_it_had_never_been() {
    let layer = Faulty::new().layer().recovery(Recovery::Reject);
    orphan(&layer).await;
    let layer = layer.reconcile(|_: Request<Bytes>| async { Reconciled::NotDone });
    let (status, body) = send(&layer, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!((status.as_u16(), &body[..]), (429, &b"2"[..]));
    assert_eq!(
        send(&layer, StatusCode::OK).await.1,
        "1",
        "the key was free"
    );
}

/// A service that is never ready.
#[derive(Clone)]
pub(crate) struct Broken;

impl Service<Req> for Broken {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), &'static str>> {
        std::task::Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        unreachable!("it is not ready")
    }
}

#[tokio::test]
async fn a_service_that_was_never_called_has_done_nothing() {
    let layer = Faulty::new().layer().recovery(Recovery::Reject);
    let call = layer.layer(Broken).call(order("k", "lamp")).await;
    assert_eq!(call.unwrap_err(), "broken");
    assert_eq!(
        send(&layer, StatusCode::OK).await,
        (StatusCode::OK, "1".into())
    );
}

#[tokio::test]
async fn a_former_secret_that_is_the_secret_is_none() {
    for layer in [
        Faulty::new().layer().secret(NEW).former_secret(NEW),
        Faulty::new().layer().formerly_without_secret(),
    ] {
        assert_eq!(send(&layer, StatusCode::OK).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_duplicate_takes_no_place_from_a_first_request() {
    let store = Faulty::new();
    let one = std::num::NonZeroUsize::MIN;
    let layer = store.layer().max_running_per_scope(one);
    send(&layer, StatusCode::OK).await;
    store.gate.forget_permits(usize::MAX);
    let mut duplicate = task::spawn(send(&layer, StatusCode::OK));
    assert_pending!(duplicate.poll());
    store.gate.add_permits(9);
    let done = service_fn(crate::faults::done);
    let other = layer.layer(done).call(order("other", "")).await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    assert_eq!(duplicate.await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_stops_no_lease_and_no_news() {
    let store = Faulty::new();
    let layer = store.layer().observer(|event: &Event<'_>| {
        if !matches!(event, Event::Detached) {
            std::panic::resume_unwind(Box::new(()));
        }
    });
    store.taken.store(true, Ordering::SeqCst);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let handler = service_fn(move |request: Req| {
        let count = count.clone();
        async move {
            let claim: &Idempotency = request.extensions().get().unwrap();
            claim.lost().cancelled().await;
            count.fetch_add(1, Ordering::SeqCst);
            crate::faults::done(request).await
        }
    });
    let call = layer.layer(handler).call(order("k", ""));
    let told = tokio::time::timeout(Duration::from_secs(60), call).await;
    assert!(told.is_ok() && heard.load(Ordering::SeqCst) == 1);
}

/// A body that panics when it is asked for its second frame, and says when it is asked again.
struct Panics(Arc<AtomicUsize>);

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
            1 => std::task::Poll::Ready(Some(Ok(http_body::Frame::data("half".into())))),
            2 => std::panic::resume_unwind(Box::new(())),
            _ => std::task::Poll::Ready(None),
        }
    }
}

#[tokio::test]
async fn a_body_that_panics_is_not_asked_again_and_not_taken_for_whole() {
    let layer = Faulty::new().layer().recovery(Recovery::Reject);
    let polls = Arc::new(AtomicUsize::new(0));
    let count = polls.clone();
    let mut service = layer.layer(service_fn(move |_: Req| {
        let body = Panics(count.clone());
        async { Ok::<_, Infallible>(Response::new(body)) }
    }));
    let response = service.call(order("k", "lamp")).await.unwrap();
    let reading = tokio::spawn(response.into_body().collect());
    assert!(reading.await.unwrap_err().is_panic());
    layer.tasks().drain().await;
    assert_eq!(polls.load(Ordering::SeqCst), 3);
    assert_eq!(layer.unknown(9).await.unwrap().len(), 1);
}
