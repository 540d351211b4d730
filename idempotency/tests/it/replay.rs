use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::{Idempotency, Keep, NoEffect, Recovery, Syntax};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Either;
use testkit::body::by_hand;
use testkit::probe::ProbeError;
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::Service;

use crate::kit::{Body, Seen, order, respond, shop, with};

fn text(status: u16, body: &'static str) -> http::Response<Body> {
    respond(
        StatusCode::from_u16(status).unwrap(),
        &[],
        Either::Left(body.into()),
    )
}

#[tokio::test]
async fn the_second_request_gets_the_first_response_and_has_no_effect() {
    let shop = shop();
    let first = shop.send(order("k", "lamp")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.is_replay());
    for spelling in ["k", "\"k\"", " k "] {
        let again = shop.send(order(spelling, "lamp")).await;
        assert!(again.is_replay());
        assert_eq!(again.status, first.status);
        assert_eq!(again.body, first.body);
        assert_eq!(again.field("location"), "/orders/1");
    }
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn trailers_are_replayed_and_what_is_of_one_exchange_is_not() {
    let shop = shop();
    shop.answers(|_| {
        let (body, hand) = by_hand();
        let trailers =
            HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
        hand.data("a").data("b").trailers(trailers).end();
        let fields = [
            ("set-cookie", "session=1"),
            ("date", "today"),
            ("x-request-id", "1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-kept", "a"),
            ("x-kept", "b"),
        ];
        Ok(respond(StatusCode::OK, &fields, Either::Right(body)))
    });
    let first = shop.send(order("k", "")).await;
    assert_eq!(
        first.field("set-cookie"),
        "session=1",
        "the first client gets everything"
    );
    let again = shop.send(order("k", "")).await;
    assert!(again.is_replay());
    assert_eq!(
        (again.body.as_ref().unwrap(), &again.trailers),
        (&"ab".into(), &first.trailers)
    );
    assert!(again.trailers.is_some());
    for fresh in ["set-cookie", "date", "x-request-id", "connection", "x-hop"] {
        assert_eq!(again.field(fresh), "", "{fresh}");
    }
    let kept: Vec<_> = again.headers.get_all("x-kept").iter().collect();
    assert_eq!(kept, ["a", "b"]);
}

/// Wherever they are said: in the head, in trailers, and under a name that was chosen.
#[tokio::test]
async fn what_is_of_one_exchange_is_not_replayed_in_trailers_nor_under_a_chosen_name() {
    let shop = with(|layer| layer.request_id(HeaderName::from_static("x-trace")));
    let fields = [
        ("etag", "\"1\""),
        ("date", "today"),
        ("server-timing", "db;dur=1"),
        ("x-request-id", "1"),
        ("x-trace", "1"),
    ];
    shop.answers(move |_| {
        let (body, hand) = by_hand();
        let field = |(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        hand.data("a")
            .trailers(fields.map(field).into_iter().collect());
        hand.end();
        Ok(respond(StatusCode::OK, &fields, Either::Right(body)))
    });
    let first = shop.send(order("k", "")).await;
    let again = shop.send(order("k", "")).await;
    assert!(again.is_replay());
    for (name, _) in fields {
        let is_said = |seen: &Seen| {
            let trailers = seen.trailers.as_ref().unwrap();
            (seen.headers.contains_key(name), trailers.contains_key(name))
        };
        assert_eq!(is_said(&first), (true, true), "{name}");
        let stays = name == "etag";
        assert_eq!(is_said(&again), (stays, stays), "{name}");
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let shop = shop();
    shop.send(order("k", "lamp")).await;
    let other = shop.send(order("k", "chair")).await;
    assert_eq!(
        (other.status.as_u16(), &*other.problem()),
        (422, "idempotency-key-reused")
    );
    let query = Request::post("/orders?rush")
        .header("idempotency-key", "k")
        .body("lamp".into());
    assert_eq!(shop.send(query.unwrap()).await.status, 422);
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn users_paths_and_methods_have_their_own_keys() {
    let shop = shop();
    let send = async |user: &str, method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-user", user);
        shop.send(
            request
                .header("idempotency-key", "k")
                .body("lamp".into())
                .unwrap(),
        )
        .await
    };
    for (user, method, path) in [
        ("alice", "POST", "/orders"),
        ("bob", "POST", "/orders"),
        ("alice", "PATCH", "/orders"),
        ("alice", "POST", "/payments"),
    ] {
        assert!(
            !send(user, method, path).await.is_replay(),
            "{user} {method} {path}"
        );
    }
    assert!(send("alice", "POST", "/orders").await.is_replay());
    assert_eq!(shop.effects(), 4);
}

#[tokio::test]
async fn hosts_have_their_own_keys() {
    let shop = shop();
    let order = |host| {
        let mut request = order("k", "lamp");
        let host = HeaderValue::from_static(host);
        request.headers_mut().insert("host", host);
        request
    };
    assert!(!shop.send(order("a.example")).await.is_replay());
    assert!(!shop.send(order("b.example")).await.is_replay());
    assert!(shop.send(order("A.example")).await.is_replay());
    assert_eq!(shop.effects(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_first_runs_the_second_is_told_to_wait() {
    let shop = shop();
    shop.gate.forget_permits(usize::MAX);
    let first = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(order("k", "lamp")).await }
    });
    tokio::task::yield_now().await;
    let second = shop.send(order("k", "lamp")).await;
    assert_eq!(
        (second.status.as_u16(), &*second.problem()),
        (409, "idempotency-in-progress")
    );
    let seconds: u64 = second.field("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds));
    shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, StatusCode::CREATED);
    assert!(shop.send(order("k", "lamp")).await.is_replay());
    assert_eq!(shop.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_for_as_long_as_the_work_takes() {
    let shop = with(|layer| layer.lease(Duration::from_secs(30)));
    shop.gate.forget_permits(usize::MAX);
    let first = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(order("k", "lamp")).await }
    });
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(
            shop.send(order("k", "lamp")).await.status,
            StatusCode::CONFLICT
        );
    }
    shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, StatusCode::CREATED);
    assert!(!shop.heard("lost"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_nobody_polls_the_work() {
    let shop = with(|layer| layer.lease(Duration::from_secs(30)));
    shop.gate.forget_permits(usize::MAX);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    shop.gate.add_permits(2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = shop.send(order("k", "lamp")).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert_eq!(first.await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(shop.effects(), 1);
    shop.drain().await;
    assert!(!shop.heard("lost"));
}

#[tokio::test]
async fn work_that_is_ready_at_once_needs_no_task() {
    let shop = with(|layer| layer.spawner(|_| panic!("it was ready")));
    let first = shop.send(order("k", "lamp")).await;
    assert_eq!(first.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn after_its_ttl_a_key_is_new() {
    let shop = with(|layer| layer.ttl(Duration::from_secs(60)));
    shop.send(order("k", "lamp")).await;
    advance(Duration::from_secs(59)).await;
    assert!(shop.send(order("k", "lamp")).await.is_replay());
    advance(Duration::from_secs(2)).await;
    assert!(!shop.send(order("k", "lamp")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_record_and_a_lease_may_be_for_ever() {
    let shop = with(|layer| layer.ttl(Duration::MAX).lease(Duration::MAX));
    shop.gate.forget_permits(usize::MAX);
    let mut first = task::spawn(shop.service().call(order("k", "lamp")));
    assert_pending!(first.poll());
    tokio::task::yield_now().await;
    shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status(), StatusCode::CREATED);
    assert!(shop.send(order("k", "lamp")).await.is_replay());
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_refused() {
    let shop = with(|layer| layer.required(true));
    let bare = Request::post("/orders").body("lamp".into()).unwrap();
    let missing = shop.send(bare).await;
    assert_eq!(
        (missing.status.as_u16(), &*missing.problem()),
        (400, "idempotency-key-missing")
    );
    let long = "k".repeat(256);
    for bad in ["", "a b", "\"a", &long] {
        let refused = shop.send(order(bad, "lamp")).await;
        assert_eq!(
            (refused.status.as_u16(), &*refused.problem()),
            (400, "idempotency-key-invalid")
        );
    }
    let mut twice = order("a", "lamp");
    twice
        .headers_mut()
        .append("idempotency-key", HeaderValue::from_static("a"));
    assert_eq!(shop.send(twice).await.status, 400);
    let strict = with(|layer| layer.syntax(Syntax::Strict));
    assert_eq!(strict.send(order("k", "lamp")).await.status, 400);
    assert_eq!(shop.effects(), 0);
}

#[tokio::test]
async fn without_a_key_or_with_a_safe_method_a_request_passes() {
    let shop = shop();
    for request in [
        Request::post("/orders").body("lamp".into()).unwrap(),
        Request::get("/orders")
            .header("idempotency-key", "k")
            .body("".into())
            .unwrap(),
    ] {
        for _ in 0..2 {
            let request = request.clone();
            assert!(!shop.send(request).await.is_replay());
        }
    }
    assert_eq!(shop.effects(), 4);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_before_anything_is_done() {
    let shop = with(|layer| layer.max_request_body(4));
    assert_eq!(
        shop.send(order("a", "lamp")).await.status,
        StatusCode::CREATED
    );
    let refused = shop.send(order("b", "lamps")).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn errors_are_answers_too_unless_they_say_that_nothing_was_done() {
    let shop = shop();
    shop.answers(|_| Ok(text(500, "half done")));
    shop.send(order("a", "")).await;
    let again = shop.send(order("a", "")).await;
    assert!(again.is_replay() && again.status == 500);

    shop.answers(|_| Ok(text(429, "later")));
    shop.send(order("b", "")).await;
    shop.answers(|_| {
        let mut response = text(503, "closed");
        response.extensions_mut().insert(NoEffect);
        Ok(response)
    });
    assert_eq!(shop.send(order("b", "")).await.status, 503);
    shop.answers(|_| Ok(text(201, "done")));
    assert_eq!(shop.send(order("b", "")).await.status, 201);
    assert!(shop.send(order("b", "")).await.is_replay());
    assert_eq!(shop.effects(), 4);
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_or_refused_as_chosen() {
    for (recovery, status, effects) in [(Recovery::Reexecute, 201, 2), (Recovery::Reject, 409, 1)] {
        let shop = with(|layer| layer.recovery(recovery));
        shop.answers(|_| Err(ProbeError));
        assert!(shop.service().call(order("k", "")).await.is_err());
        shop.drain().await;
        assert!(shop.heard("orphaned"));
        shop.answers(|request| {
            let seen: &Idempotency = request.extensions().get().unwrap();
            assert_eq!(seen.attempt(), 2);
            Ok(text(201, "done"))
        });
        assert_eq!(shop.send(order("k", "")).await.status, status);
        assert_eq!(shop.effects(), effects);
    }
}

#[tokio::test]
async fn a_response_that_is_judged_unknown_is_left_to_recovery() {
    let keep = |head: &http::response::Parts| {
        if head.status.is_server_error() {
            Keep::Unknown
        } else {
            Keep::Record
        }
    };
    let shop = with(|layer| layer.keep(keep).recovery(Recovery::Reject));
    shop.answers(|_| Ok(text(504, "who knows")));
    shop.send(order("k", "")).await;
    shop.drain().await;
    let refused = shop.send(order("k", "")).await;
    assert_eq!(refused.problem(), "idempotency-outcome-unknown");
}

#[tokio::test]
async fn a_handler_sees_its_claim() {
    let shop = shop();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    shop.answers(move |request| {
        let claim: &Idempotency = request.extensions().get().unwrap();
        let keys = [claim.downstream_key("pay"), claim.downstream_key("mail")];
        sink.lock()
            .unwrap()
            .push((claim.fence(), claim.attempt(), keys));
        Ok(text(200, ""))
    });
    shop.send(order("a", "")).await;
    shop.send(order("b", "")).await;
    let seen = seen.lock().unwrap();
    assert!(seen[0].0 < seen[1].0, "fences grow");
    assert_eq!(seen[0].1, 1);
    assert_ne!(seen[0].2[0], seen[0].2[1]);
    assert_ne!(seen[0].2[0], seen[1].2[0]);
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_language() {
    let shop = shop();
    let call = |body: &'static str| {
        let mut request = order("k", body);
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        request
    };
    shop.send(call("a")).await;
    let refused = shop.send(call("b")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.field("grpc-status")),
        (200, "3")
    );
    assert_eq!(refused.body, Ok(Bytes::new()));
}
