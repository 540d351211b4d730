//! Duplicates that wait for the first request.

use std::num::NonZeroUsize;
use std::time::Duration;

use buttress_idempotency::{OnConflict, Recovery};
use http::StatusCode;
use tokio_test::{assert_pending, assert_ready, task};
use tower::Service;

use crate::kit::{Seen, Shop, order, respond, with};

const PATIENCE: Duration = Duration::from_secs(20);

/// A shop whose duplicates wait, and whose handler does too.
fn patient(waiters: usize) -> Shop {
    let shop = with(|layer| {
        layer.on_conflict(OnConflict::Wait {
            at_most: PATIENCE,
            waiters,
        })
    });
    shop.gate.forget_permits(usize::MAX);
    shop
}

#[tokio::test]
async fn a_duplicate_is_answered_when_the_first_is_done_and_not_by_polling() {
    let shop = patient(2);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    let mut second = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(second.poll());
    assert_eq!(shop.layer.snapshot().waiting, 1);
    assert!(!second.is_woken());
    shop.gate.add_permits(1);
    let first = Seen::of(assert_ready!(first.poll()).unwrap()).await;
    assert!(second.is_woken(), "by the first");
    let second = Seen::of(assert_ready!(second.poll()).unwrap()).await;
    assert!(second.is_replay() && !first.is_replay());
    assert_eq!(second.body, first.body);
    assert_eq!(shop.layer.snapshot().waiting, 0);
    assert_eq!(shop.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn patience_has_an_end() {
    let shop = patient(2);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    let begun = tokio::time::Instant::now();
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(begun.elapsed(), PATIENCE);
    assert_eq!(refused.problem(), "idempotency-in-progress");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(shop.layer.snapshot().waiting, 0);
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let shop = patient(1);
    let mut calls: Vec<_> = (0..2)
        .map(|_| task::spawn(shop.service().call(order("k", "lamp"))))
        .collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    let refused = shop.send(order("k", "lamp")).await;
    assert_eq!(refused.problem(), "idempotency-in-progress");
    calls.pop();
    let mut again = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(again.poll());
    assert_eq!(
        shop.layer.snapshot().waiting,
        1,
        "whoever leaves makes room"
    );
}

#[tokio::test]
async fn another_request_is_not_kept_waiting_to_be_refused() {
    let shop = patient(2);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    let refused = shop.send(order("k", "desk")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn when_the_first_has_no_effect_the_one_who_waits_is_executed() {
    let mut shop = patient(2);
    shop.layer = shop.layer.max_running(NonZeroUsize::MIN);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    let mut second = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(second.poll());
    let tired = StatusCode::TOO_MANY_REQUESTS;
    shop.answers(move |_| Ok(respond(tired, &[], http_body_util::Either::Left("".into()))));
    shop.gate.add_permits(1);
    assert_eq!(assert_ready!(first.poll()).unwrap().status(), tired);
    shop.answers(|_| {
        Ok(respond(
            StatusCode::OK,
            &[],
            http_body_util::Either::Left("".into()),
        ))
    });
    assert_pending!(second.poll());
    shop.gate.add_permits(1);
    let second = Seen::of(assert_ready!(second.poll()).unwrap()).await;
    assert!(second.status == StatusCode::OK && !second.is_replay());
    assert_eq!(shop.effects(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_finds_the_key_free_and_no_room_waits_for_room_until_its_patience_ends() {
    for (room_comes, status) in [
        (true, StatusCode::OK),
        (false, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let mut shop = patient(1);
        shop.layer = shop.layer.max_running(NonZeroUsize::MIN);
        let mut first = task::spawn(shop.service().call(order("k", "lamp")));
        assert_pending!(first.poll());
        let mut second = task::spawn(shop.service().call(order("k", "lamp")));
        assert_pending!(second.poll());
        let answer = |status| {
            move |_: &_| {
                Ok(respond(
                    status,
                    &[],
                    http_body_util::Either::Left("".into()),
                ))
            }
        };
        shop.answers(answer(StatusCode::TOO_MANY_REQUESTS));
        shop.gate.add_permits(1);
        assert_ready!(first.poll()).unwrap();
        // Somebody else is there before it.
        let mut other = task::spawn(shop.service().call(order("j", "lamp")));
        assert_pending!(other.poll());
        assert_pending!(second.poll());
        shop.answers(answer(StatusCode::OK));
        if room_comes {
            shop.gate.add_permits(1);
            assert_ready!(other.poll()).unwrap();
            shop.gate.add_permits(1);
        }
        // Nobody tells it of that: it looks again.
        assert_eq!(Seen::of(second.await.unwrap()).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_first_dies_the_one_who_waits_hears_of_it() {
    for (recovery, effects) in [(Recovery::Reject, 1), (Recovery::Reexecute, 2)] {
        let shop = with(|layer| {
            let wait = OnConflict::Wait {
                at_most: PATIENCE,
                waiters: 1,
            };
            let layer = layer.on_conflict(wait).recovery(recovery);
            layer.max_running(NonZeroUsize::MIN)
        });
        shop.gate.forget_permits(usize::MAX);
        shop.answers(|_| Err(testkit::probe::ProbeError));
        let mut first = task::spawn(shop.service().call(order("k", "lamp")));
        assert_pending!(first.poll());
        let mut second = task::spawn(shop.service().call(order("k", "lamp")));
        assert_pending!(second.poll());
        shop.gate.add_permits(1);
        assert!(assert_ready!(first.poll()).is_err());
        shop.drain().await;
        assert!(second.is_woken());
        shop.gate.add_permits(1);
        shop.answers(|_| {
            Ok(respond(
                StatusCode::OK,
                &[],
                http_body_util::Either::Left("".into()),
            ))
        });
        let second = Seen::of(second.await.unwrap()).await;
        let expected = if effects == 1 {
            StatusCode::CONFLICT
        } else {
            StatusCode::OK
        };
        assert_eq!(second.status, expected, "{recovery:?}");
        assert_eq!(shop.effects(), effects);
    }
}

/// The store tells nobody: as if the first request were another process's, behind a store without wake-ups.
#[tokio::test(start_paused = true)]
async fn the_store_is_asked_where_it_does_not_tell() {
    let store = crate::faults::Faulty::new();
    let elsewhere = store.layer();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let slow = {
        let gate = gate.clone();
        tower::service_fn(move |_: http::Request<_>| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::<
                    bytes::Bytes,
                >::from("x")))
            }
        })
    };
    let mut first = tower::Layer::layer(&elsewhere, slow.clone());
    let call = tokio::spawn(first.call(order("k", "lamp")));
    tokio::task::yield_now().await;
    let mut second = tower::Layer::layer(
        &store.layer().on_conflict(OnConflict::Wait {
            at_most: Duration::from_secs(60),
            waiters: 1,
        }),
        slow,
    );
    let waiting = tokio::spawn(second.call(order("k", "lamp")));
    // Not at a moment at which it happens to ask.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let asked = store.asked();
    assert!(
        (5..30).contains(&asked),
        "{asked} questions in twelve seconds"
    );
    gate.add_permits(1);
    call.await.unwrap().unwrap();
    let done = tokio::time::Instant::now();
    let replay = waiting.await.unwrap().unwrap();
    assert_eq!(replay.headers()["idempotency-replayed"], "true");
    assert!(done.elapsed() <= Duration::from_secs(1));
}
