//! What can be chosen beside: fingerprints, limits, what a replay tells, and who hears of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use buttress_idempotency::{
    Event, Fingerprint, FingerprintError, IdempotencyLayer, MemoryStore, Syntax,
};
use http::{HeaderName, Request, StatusCode};
use http_body_util::BodyExt;
use tokio_test::{assert_pending, task};
use tower::{Service, ServiceExt};

use crate::kit::{Req, order, shop, with};

fn of_user(user: &str, key: &str) -> Req {
    let mut order = order(key, "lamp");
    order.headers_mut().insert("x-user", user.parse().unwrap());
    order
}

/// axum's `nest` takes the prefix away before the layer sees the path.
#[tokio::test]
async fn routes_behind_a_stripped_prefix_meet_unless_it_is_said_which_is_which() {
    use axum::extract::OriginalUri;
    use axum::{Router, body::Body, routing::post};

    let whole: fn(&http::request::Parts) -> std::borrow::Cow<'_, str> = |head| {
        let uri = head.extensions.get::<OriginalUri>().unwrap();
        uri.path().into()
    };
    let by_default = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    for (layer, are_one) in [(by_default.clone(), true), (by_default.route(whole), false)] {
        let orders = |tenant: &'static str| {
            let orders = Router::new().route("/orders", post(move || async move { tenant }));
            orders.layer(layer.clone())
        };
        let app = Router::new()
            .nest("/tenants/a", orders("a"))
            .nest("/tenants/b", orders("b"));
        let mut seen = Vec::new();
        for tenant in ["a", "b", "a", "b"] {
            let order = Request::post(format!("/tenants/{tenant}/orders"));
            let order = order.header("idempotency-key", "k").body(Body::empty());
            let response = app.clone().oneshot(order.unwrap()).await.unwrap();
            seen.push(response.into_body().collect().await.unwrap().to_bytes());
        }
        let expected = if are_one {
            ["a"; 4]
        } else {
            ["a", "b", "a", "b"]
        };
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_scope_runs_no_more_than_it_may_and_its_duplicates_are_answered() {
    let shop = with(|layer| layer.max_running_per_scope(NonZeroUsize::new(2).unwrap()));
    assert!(!shop.send(of_user("ada", "done")).await.is_replay());
    shop.gate.forget_permits(usize::MAX);
    let mut running: Vec<_> = ["a", "b"]
        .map(|key| task::spawn(shop.service().call(of_user("ada", key))))
        .into();
    for call in &mut running {
        assert_pending!(call.poll());
    }
    let refused = shop.send(of_user("ada", "c")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.problem(), "idempotency-too-many-running");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(shop.send(of_user("ada", "done")).await.is_replay());
    assert_eq!(
        shop.send(of_user("ada", "a")).await.status,
        StatusCode::CONFLICT
    );
    let mut other = task::spawn(shop.service().call(of_user("bob", "a")));
    assert_pending!(other.poll());
    // One for each that waits, polled or not, and one for the next.
    shop.gate.add_permits(4);
    running.pop().unwrap().await.unwrap();
    assert_eq!(
        shop.send(of_user("ada", "c")).await.status,
        StatusCode::CREATED
    );
    assert_eq!((shop.effects(), shop.layer.snapshot().crowded), (3, 1));
}

#[tokio::test]
async fn a_fingerprint_of_ones_own_says_what_is_the_same() {
    let by_first_letter = |_: &http::request::Parts, body: &[u8]| match body.first() {
        Some(letter) => Ok(Fingerprint::of([[*letter]])),
        None => Err(FingerprintError::new("an order has at least a letter")),
    };
    let shop = with(|layer| layer.fingerprint(by_first_letter));
    shop.send(order("k", "lamp")).await;
    assert!(shop.send(order("k", "lantern")).await.is_replay());
    let other = shop.send(order("k", "desk")).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    let refused = shop.send(order("j", "")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.problem(), "idempotency-request-invalid");
    let body = refused.body.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("at least a letter"));
    assert_eq!(shop.effects(), 1);
}

#[cfg(feature = "json")]
#[tokio::test]
async fn json_in_other_words_is_the_same_request() {
    let shop = with(|layer| layer.fingerprint(buttress_idempotency::fingerprint::canonical_json));
    let json = |body: &'static str| {
        let mut order = order("k", body);
        let json = http::HeaderValue::from_static("application/json");
        order.headers_mut().insert("content-type", json);
        order
    };
    shop.send(json(r#"{"item":"lamp","count":1}"#)).await;
    assert!(
        shop.send(json(r#"{ "count": 1.0, "item": "l\u0061mp" }"#))
            .await
            .is_replay()
    );
    let other = shop.send(json(r#"{"item":"lamp","count":2}"#)).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_key_may_be_shorter_and_spelled_strictly() {
    let shop = with(|layer| layer.max_key_length(4).syntax(Syntax::Strict));
    assert_eq!(
        shop.send(order("\"abcd\"", "")).await.status,
        StatusCode::CREATED
    );
    for key in ["\"abcde\"", "abcd", "\"\""] {
        let refused = shop.send(order(key, "")).await;
        assert_eq!(refused.problem(), "idempotency-key-invalid", "{key}");
    }
}

#[tokio::test]
async fn names_of_fields_are_a_choice() {
    let name = HeaderName::from_static;
    let shop = with(|layer| {
        let layer = layer.header(name("x-once")).replay_header(name("x-again"));
        layer.request_id(name("x-trace"))
    });
    let once = || {
        let order = Request::post("/orders")
            .header("x-once", "k")
            .header("x-trace", "t1");
        order.body("lamp".into()).unwrap()
    };
    shop.send(once()).await;
    let replay = shop.send(once()).await;
    assert_eq!(
        (replay.field("x-again"), replay.field("original-request")),
        ("true", "t1")
    );
}

#[tokio::test]
async fn what_was_recorded_before_a_field_was_renamed_has_its_new_name() {
    let mut shop = shop();
    shop.send(order("k", "lamp")).await;
    let again = HeaderName::from_static("x-again");
    shop.layer = shop.layer.replay_header(again);
    let replay = shop.send(order("k", "lamp")).await;
    assert_eq!(
        (replay.field("x-again"), replay.is_replay()),
        ("true", false)
    );
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn a_replay_tells_of_the_first_request() {
    let origins = Arc::new(Mutex::new(Vec::new()));
    let heard = origins.clone();
    let shop = with(|layer| {
        layer
            .max_recorded_body(20)
            .observer(move |event: &Event<'_>| {
                if let Event::Replayed(origin) = event {
                    heard.lock().unwrap().push((*origin).clone());
                }
            })
    });
    let with_id = |key: &str, id: &str, body: &'static str| {
        let mut order = order(key, body);
        order
            .headers_mut()
            .insert("x-request-id", id.parse().unwrap());
        order
    };
    let first = shop.send(with_id("k", "first", "lamp")).await;
    assert_eq!(
        (
            first.field("original-request"),
            first.field("original-date")
        ),
        ("", "")
    );
    let replay = shop.send(with_id("k", "second", "lamp")).await;
    assert_eq!(replay.field("original-request"), "first");
    let date = httpdate::parse_http_date(replay.field("original-date")).unwrap();
    let origin = origins.lock().unwrap()[0].clone();
    assert_eq!(origin.request_id().unwrap(), "first");
    let apart = origin.at().unwrap().duration_since(date).unwrap();
    assert!(apart.as_secs() < 1, "to the second");
    // Of a response that was not kept it is told too.
    shop.send(with_id("big", "third", "a lamp that is too large to keep"))
        .await;
    let refused = shop
        .send(with_id("big", "fourth", "a lamp that is too large to keep"))
        .await;
    assert_eq!(refused.problem(), "idempotency-response-not-stored");
    let problem: serde_json::Value = serde_json::from_slice(&refused.body.unwrap()).unwrap();
    assert_eq!(problem["original-request"], "third");
}

#[tokio::test]
async fn a_snapshot_counts_what_observers_hear() {
    let shop = shop();
    shop.send(order("k", "lamp")).await;
    shop.send(order("k", "lamp")).await;
    shop.send(order("k", "desk")).await;
    let seen = shop.layer.snapshot();
    assert_eq!(
        (seen.claimed, seen.completed, seen.replayed, seen.mismatch),
        (1, 1, 1, 1)
    );
    assert_eq!((seen.waiting, seen.tasks), (0, 0));
}

#[tokio::test]
async fn observers_add_up() {
    let heard = Arc::new(Mutex::new(0));
    let count = |heard: &Arc<Mutex<i32>>, by| {
        let heard = heard.clone();
        move |_: &Event<'_>| *heard.lock().unwrap() += by
    };
    let shop = with(|layer| {
        layer
            .observer(count(&heard, 1))
            .observer(count(&heard, 100))
    });
    shop.send(order("k", "lamp")).await;
    assert_eq!(
        *heard.lock().unwrap(),
        202,
        "claimed and completed, both of them"
    );
    assert!(shop.heard("completed"), "and who was there before");
}

#[tokio::test]
async fn a_layer_runs_no_more_than_it_may_whoever_has_left_and_duplicates_are_answered() {
    let one = NonZeroUsize::MIN;
    let shop = with(|layer| layer.max_running(one));
    assert!(!shop.send(of_user("ada", "done")).await.is_replay());
    shop.gate.forget_permits(usize::MAX);
    let mut left = task::spawn(shop.service().call(of_user("ada", "a")));
    assert_pending!(left.poll());
    drop(left);
    assert_eq!(shop.layer.snapshot().running, 1, "it goes on");
    let refused = shop.send(of_user("bob", "b")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.problem(), "idempotency-layer-full");
    assert!(refused.headers.contains_key("retry-after"));
    let mut call = of_user("bob", "b");
    let grpc = http::HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", grpc);
    assert_eq!(shop.send(call).await.field("grpc-status"), "14");
    assert!(shop.send(of_user("ada", "done")).await.is_replay());
    let busy = shop.send(of_user("ada", "a")).await;
    assert_eq!(busy.problem(), "idempotency-in-progress");
    shop.gate.add_permits(2);
    shop.drain().await;
    assert_eq!(shop.layer.snapshot().running, 0);
    let second = shop.send(of_user("bob", "b")).await;
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!((shop.effects(), shop.layer.snapshot().full), (3, 2));
}

#[tokio::test]
async fn a_body_that_is_being_recorded_is_running_until_it_is_filed() {
    let shop = shop();
    let (body, hand) = testkit::body::by_hand();
    let body = Mutex::new(Some(body));
    shop.answers(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        Ok(http::Response::new(http_body_util::Either::Right(body)))
    });
    let response = shop.call(order("k", "lamp")).await;
    assert_eq!(shop.layer.snapshot().running, 1);
    drop(response);
    hand.data("lamp");
    hand.end();
    shop.drain().await;
    assert_eq!(shop.layer.snapshot().running, 0);
}
