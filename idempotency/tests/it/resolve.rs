//! Outcomes that nobody knows: asked for, and resolved by hand.

use std::sync::{Arc, Mutex};

use buttress_idempotency::{Execution, Idempotency, Reconciled, Recovery, StoreError, Trailers};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio_test::{assert_pending, task};
use tower::Service;

use crate::kit::{Shop, order, with};

type Findings = Arc<Mutex<Vec<Reconciled>>>;
/// Body, attempt and fence that a hook has seen.
type Asked = Arc<Mutex<Vec<(Bytes, u32, u64)>>>;

/// A shop whose first request for `k` has died, and whose hook finds these one after the other.
async fn orphaned(findings: Vec<Reconciled>) -> (Shop, Asked, Arc<Semaphore>) {
    let findings: Findings = Arc::new(Mutex::new(findings));
    let asked = Asked::default();
    let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let (seen, door) = (asked.clone(), gate.clone());
    let hook = move |request: Request<Bytes>| {
        let claim: &Idempotency = request.extensions().get().unwrap();
        let asked = (request.body().clone(), claim.attempt(), claim.fence());
        seen.lock().unwrap().push(asked);
        let (findings, door) = (findings.clone(), door.clone());
        async move {
            door.acquire().await.unwrap().forget();
            let next = findings.lock().unwrap().pop();
            next.unwrap_or_else(|| std::panic::resume_unwind(Box::new(())))
        }
    };
    let shop = with(|layer| layer.reconcile(hook));
    orphan(&shop, "k").await;
    (shop, asked, gate)
}

/// The first request under `key` dies.
async fn orphan(shop: &Shop, key: &str) {
    shop.answers(|_| Err(testkit::probe::ProbeError));
    assert!(shop.service().call(order(key, "lamp")).await.is_err());
    shop.drain().await;
    shop.answers(|_| {
        Ok(Response::new(http_body_util::Either::Left(
            "done again".into(),
        )))
    });
}

fn receipt() -> Response<Bytes> {
    let response = Response::builder().status(201).header("x-receipt", "7");
    let response = response
        .header("set-cookie", "a=b")
        .header("connection", "close");
    response.body(Bytes::from("receipt")).unwrap()
}

#[tokio::test]
async fn a_hook_that_knows_the_response_has_it_replayed() {
    let (shop, asked, _) = orphaned(vec![Reconciled::Done(receipt())]).await;
    for _ in 0..2 {
        let replay = shop.send(order("k", "lamp")).await;
        assert!(replay.is_replay());
        assert_eq!(
            (replay.status, replay.field("x-receipt")),
            (StatusCode::CREATED, "7")
        );
        assert_eq!(
            (replay.field("set-cookie"), replay.field("connection")),
            ("", "")
        );
        assert_eq!(replay.body.unwrap(), "receipt");
    }
    assert_eq!(shop.effects(), 1, "it was not done again");
    let asked = asked.lock().unwrap();
    assert_eq!((&asked[0].0[..], asked[0].1), (&b"lamp"[..], 2));
    assert_eq!(asked.len(), 1, "what is known is not asked for");
    assert!(shop.heard("reconciled"));
}

/// As a unary call of gRPC, whose status is in them.
#[tokio::test]
async fn a_response_that_is_told_may_end_with_trailers() {
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let mut told = receipt();
    told.extensions_mut().insert(Trailers(trailers.clone()));
    let (shop, ..) = orphaned(vec![Reconciled::Done(told)]).await;
    for _ in 0..2 {
        let replay = shop.send(order("k", "lamp")).await;
        assert!(replay.is_replay());
        assert_eq!(replay.trailers.as_ref(), Some(&trailers));
        assert_eq!(replay.body.unwrap(), "receipt");
    }
}

#[tokio::test]
async fn what_was_not_done_is_done() {
    let (shop, ..) = orphaned(vec![Reconciled::NotDone]).await;
    let first = shop.send(order("k", "lamp")).await;
    assert!(!first.is_replay());
    assert_eq!(first.body.unwrap(), "done again");
    assert!(shop.send(order("k", "lamp")).await.is_replay());
    assert_eq!(shop.effects(), 2);
}

#[tokio::test]
async fn what_is_still_unknown_is_refused_and_asked_for_again() {
    let (shop, asked, _) = orphaned(vec![Reconciled::Done(receipt()), Reconciled::Unknown]).await;
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
    shop.drain().await;
    assert!(shop.send(order("k", "lamp")).await.is_replay());
    let asked = asked.lock().unwrap();
    assert!(asked[0].2 < asked[1].2, "a new fence each time");
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn a_hook_that_panics_has_found_nothing_out() {
    let (shop, ..) = orphaned(vec![]).await;
    let calling = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(order("k", "lamp")).await }
    });
    assert!(calling.await.unwrap_err().is_panic());
    shop.drain().await;
    assert_eq!(shop.layer.unknown(9).await.unwrap().len(), 1);
    assert_eq!(shop.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_asks_at_a_time_and_keeps_its_lease() {
    let (shop, asked, gate) = orphaned(vec![Reconciled::Done(receipt())]).await;
    gate.forget_permits(usize::MAX);
    let mut asking = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(asking.poll());
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_secs(29)).await;
        let busy = shop.send(order("k", "lamp")).await;
        assert_eq!(busy.problem(), "idempotency-in-progress");
    }
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn asking_goes_on_without_its_caller_unless_that_is_not_wanted() {
    for (execution, known) in [(Execution::DetachOnDrop, true), (Execution::Inline, false)] {
        let (mut shop, _, gate) = orphaned(vec![Reconciled::Done(receipt())]).await;
        shop.layer = shop.layer.execution(execution);
        gate.forget_permits(usize::MAX);
        let mut asking = task::spawn(shop.service().call(order("k", "lamp")));
        assert_pending!(asking.poll());
        drop(asking);
        gate.add_permits(1);
        shop.drain().await;
        let unknown = shop.layer.unknown(9).await.unwrap();
        assert_eq!(unknown.is_empty(), known, "{execution:?}");
    }
}

#[tokio::test]
async fn a_person_marks_it_done_or_releases_it() {
    let shop = with(|layer| layer.recovery(Recovery::Reject));
    for key in ["done", "released", "left"] {
        orphan(&shop, key).await;
    }
    let filed = |key: &str| {
        shop.layer
            .record_key(&order(key, "lamp").into_parts().0)
            .unwrap()
    };
    let unknown = shop.layer.unknown(9).await.unwrap();
    assert_eq!(unknown.len(), 3);
    let claim = |key: &str| {
        unknown
            .iter()
            .find(|claim| claim.key == filed(key))
            .unwrap()
    };
    shop.layer
        .mark_done(claim("done"), receipt())
        .await
        .unwrap();
    shop.layer.release(claim("released")).await.unwrap();
    let done = shop.send(order("done", "lamp")).await;
    assert!(done.is_replay() && done.body.unwrap() == "receipt");
    assert_eq!(
        shop.send(order("released", "lamp")).await.body.unwrap(),
        "done again"
    );
    assert_eq!(
        shop.send(order("left", "lamp")).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        shop.layer.unknown(9).await.unwrap(),
        [claim("left").clone()]
    );
    // Somebody was faster.
    let late = shop.layer.release(claim("released")).await;
    assert!(matches!(late, Err(StoreError::Lost)), "{late:?}");
    let late = shop.layer.mark_done(claim("released"), receipt()).await;
    assert!(matches!(late, Err(StoreError::Lost)), "{late:?}");
    assert_eq!(
        shop.layer
            .record_key(&Request::post("/").body(()).unwrap().into_parts().0),
        None
    );
}
