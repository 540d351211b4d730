//! Whose future the work runs in.

use std::sync::atomic::Ordering;

use buttress_idempotency::{Execution, Recovery};
use http::StatusCode;
use http_body_util::{BodyExt, Either};
use testkit::body::by_hand;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service};

use crate::faults::Faulty;
use crate::kit::{Shop, order, respond, with};

fn shop(execution: Execution) -> Shop {
    with(|layer| layer.execution(execution).recovery(Recovery::Reject))
}

#[tokio::test]
async fn detached_work_needs_nobody_to_poll_it() {
    let shop = shop(Execution::Detached);
    shop.gate.forget_permits(usize::MAX);
    let mut call = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(call.poll());
    shop.gate.add_permits(1);
    shop.drain().await;
    assert_eq!(shop.effects(), 1, "although it was polled once");
    drop(call);
    let again = shop.send(order("k", "lamp")).await;
    assert!(again.is_replay());
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn detached_work_answers_its_caller_and_goes_on_without() {
    let shop = shop(Execution::Detached);
    let first = shop.send(order("a", "lamp")).await;
    assert_eq!(
        (first.status, first.is_replay()),
        (StatusCode::CREATED, false)
    );
    shop.gate.forget_permits(usize::MAX);
    let mut call = task::spawn(shop.service().call(order("b", "lamp")));
    assert_pending!(call.poll());
    drop(call);
    shop.gate.add_permits(1);
    shop.drain().await;
    assert!(shop.send(order("b", "lamp")).await.is_replay());
    assert_eq!(shop.effects(), 2);
}

#[tokio::test]
async fn a_panic_of_detached_work_is_its_callers_and_its_outcome_unknown() {
    let shop = shop(Execution::Detached);
    shop.answers(|_| std::panic::resume_unwind(Box::new("on purpose")));
    let calling = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(order("k", "lamp")).await }
    });
    let panic = calling.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    shop.drain().await;
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
}

#[tokio::test]
async fn a_task_that_never_runs_leaves_its_caller_with_an_answer() {
    let layer = with(|layer| {
        let layer = layer
            .execution(Execution::Detached)
            .recovery(Recovery::Reject);
        layer.spawner(drop)
    });
    let refused = layer.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
    assert_eq!(layer.effects(), 0);
}

#[tokio::test]
async fn inline_work_ends_with_its_caller() {
    let shop = shop(Execution::Inline);
    shop.gate.forget_permits(usize::MAX);
    let mut call = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(call.poll());
    drop(call);
    assert!(!shop.heard("detached"));
    shop.gate.add_permits(1);
    shop.drain().await;
    assert_eq!(shop.effects(), 0, "it was dropped where it was");
    assert!(shop.heard("orphaned"));
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
    assert_eq!(
        shop.send(order("other", "lamp")).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_body_of_inline_work_ends_with_its_reader() {
    let shop = shop(Execution::Inline);
    let (body, hand) = by_hand();
    let body = std::sync::Mutex::new(Some(body));
    shop.answers(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        Ok(respond(StatusCode::OK, &[], Either::Right(body)))
    });
    let mut body = shop.call(order("k", "lamp")).await.into_body();
    hand.data("half");
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    assert!(hand.is_dropped());
    shop.drain().await;
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
}

#[tokio::test]
async fn a_key_that_is_claimed_for_nobody_is_given_back() {
    let store = Faulty::new();
    store.gate.forget_permits(usize::MAX);
    let layer = store
        .layer()
        .execution(Execution::Inline)
        .recovery(Recovery::Reject);
    let effects = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = effects.clone();
    let mut service = layer.layer(tower::service_fn(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        crate::faults::done(request)
    }));
    let mut call = task::spawn(service.call(order("k", "")));
    assert_pending!(call.poll());
    drop(call);
    store.gate.add_permits(2);
    layer.tasks().drain().await;
    assert_eq!(
        effects.load(Ordering::SeqCst),
        0,
        "the work is its caller's alone"
    );
    let first = service.call(order("k", "")).await.unwrap();
    assert!(!first.headers().contains_key("idempotency-replayed"));
}
