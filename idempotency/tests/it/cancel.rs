use buttress_idempotency::Recovery;
use http::StatusCode;
use tokio_test::assert_pending;
use tokio_test::task;
use tower::Service;

use crate::kit::{order, shop, with};

#[tokio::test]
async fn work_that_has_begun_is_finished_without_its_caller() {
    let shop = shop();
    shop.gate.forget_permits(usize::MAX);
    let mut call = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(call.poll());
    assert!(!shop.heard("detached"));
    drop(call);
    assert!(shop.heard("detached"));
    assert_ne!(shop.layer.tasks().running(), 0);
    let busy = shop.send(order("k", "lamp")).await;
    assert_eq!(busy.status, StatusCode::CONFLICT, "it is still running");
    shop.gate.add_permits(1);
    shop.drain().await;
    let again = shop.send(order("k", "lamp")).await;
    assert!(again.is_replay() && again.status == StatusCode::CREATED);
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_before_it_was_polled_leaves_nothing() {
    let shop = shop();
    drop(shop.service().call(order("k", "lamp")));
    assert_eq!(shop.layer.tasks().running(), 0);
    assert!(!shop.heard("detached"));
    assert!(!shop.send(order("k", "lamp")).await.is_replay());
    assert_eq!(shop.effects(), 1);
}

#[test]
fn a_call_that_is_dropped_outside_of_a_runtime_ends_there() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let shop = shop();
    shop.gate.forget_permits(usize::MAX);
    let mut call = task::spawn(shop.service().call(order("k", "lamp")));
    runtime.block_on(async { assert_pending!(call.poll()) });
    drop(call);
    drop(runtime);
    assert_eq!(shop.layer.tasks().running(), 0);
    assert_eq!(shop.effects(), 0);
}

#[tokio::test]
async fn a_handler_that_panics_leaves_an_unknown_outcome() {
    let shop = with(|layer| layer.recovery(Recovery::Reject));
    shop.answers(|_| std::panic::resume_unwind(Box::new(())));
    let panicked = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(order("k", "lamp")).await }
    });
    assert!(panicked.await.unwrap_err().is_panic());
    shop.drain().await;
    assert!(shop.heard("orphaned"));
}
