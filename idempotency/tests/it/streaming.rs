use std::time::Duration;

use buttress_idempotency::Recovery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Either};
use testkit::body::{Hand, by_hand};

use crate::kit::{Shop, order, respond, shop, with};

/// A shop whose next response has a body that the test feeds.
fn feeds(shop: &Shop, fields: &'static [(&str, &str)]) -> Hand {
    let (body, hand) = by_hand();
    let body = std::sync::Mutex::new(Some(body));
    shop.answers(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        Ok(respond(StatusCode::OK, fields, Either::Right(body)))
    });
    hand
}

#[tokio::test]
async fn a_body_streams_while_it_is_recorded() {
    let shop = shop();
    let hand = feeds(&shop, &[]);
    let mut body = shop.call(order("k", "")).await.into_body();
    hand.data("one ");
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "one "
    );
    let busy = shop.send(order("k", "")).await;
    assert_eq!(
        busy.status,
        StatusCode::CONFLICT,
        "it is not done before its body is"
    );
    hand.data("two").end();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two");
    let again = shop.send(order("k", "")).await;
    assert!(again.is_replay());
    assert_eq!(again.body.unwrap(), "one two");
}

#[tokio::test]
async fn whoever_sees_the_end_of_a_response_finds_it_recorded() {
    let shop = shop();
    let hand = feeds(&shop, &[("content-length", "3")]);
    let mut body = shop.call(order("k", "")).await.into_body();
    hand.data("abc").end();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(
        shop.send(order("k", "")).await.is_replay(),
        "although it has not been told so"
    );
}

#[tokio::test]
async fn a_reader_that_leaves_does_not_leave_the_record_unfinished() {
    let shop = shop();
    let hand = feeds(&shop, &[]);
    let body = shop.call(order("k", "")).await.into_body();
    hand.data("one ");
    assert!(!shop.heard("detached"));
    drop(body);
    assert!(shop.heard("detached"));
    tokio::task::yield_now().await;
    hand.data("two").end();
    shop.drain().await;
    let again = shop.send(order("k", "")).await;
    assert!(again.is_replay());
    assert_eq!(again.body.unwrap(), "one two");
}

#[tokio::test]
async fn at_the_cap_a_body_is_recorded_and_over_it_a_repetition_is_refused() {
    for (size, recorded) in [(3, true), (4, true), (5, false)] {
        for pause in [true, false] {
            let shop = with(|layer| layer.max_recorded_body(4));
            let hand = feeds(&shop, &[]);
            let sent = "abcdef".get(..size).unwrap();
            if !pause {
                hand.data(sent).end();
            }
            let response = shop.call(order("k", "")).await;
            hand.data(if pause { sent } else { "" }).end();
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                sent
            );
            let again = shop.send(order("k", "")).await;
            if recorded {
                assert!(again.is_replay(), "{size}");
            } else {
                assert_eq!(again.status, StatusCode::CONFLICT);
                assert_eq!(again.problem(), "idempotency-response-not-stored");
            }
            assert_eq!(shop.effects(), 1, "never a second execution");
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_an_unknown_outcome() {
    for pause in [true, false] {
        let shop = with(|layer| layer.recovery(Recovery::Reject));
        let hand = feeds(&shop, &[]);
        if !pause {
            hand.data("half").fail();
        }
        let response = shop.call(order("k", "")).await;
        if pause {
            hand.data("half").fail();
        }
        assert!(response.into_body().collect().await.is_err());
        shop.drain().await;
        let refused = shop.send(order("k", "")).await;
        assert_eq!(refused.problem(), "idempotency-outcome-unknown");
    }
}

#[tokio::test]
async fn an_event_stream_is_not_recorded_and_not_repeated() {
    let shop = shop();
    let hand = feeds(&shop, &[("content-type", "text/event-stream")]);
    let mut body = shop.call(order("k", "")).await.into_body();
    hand.data("data: 1\n\n");
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    assert!(hand.is_dropped(), "nobody reads on in secret");
    assert_eq!(
        shop.send(order("k", "")).await.problem(),
        "idempotency-response-not-stored"
    );
}

#[tokio::test]
async fn streamed_trailers_are_recorded() {
    let shop = shop();
    let hand = feeds(&shop, &[]);
    let response = shop.call(order("k", "")).await;
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
    hand.data("a").trailers(trailers.clone()).end();
    let first = response.into_body().collect().await.unwrap();
    assert_eq!(first.trailers(), Some(&trailers));
    assert_eq!(shop.send(order("k", "")).await.trailers, Some(trailers));
}

#[tokio::test]
async fn after_all_that_was_announced_there_may_be_trailers() {
    for (at_once, leaves) in [(true, false), (false, false), (false, true)] {
        let shop = shop();
        let hand = feeds(&shop, &[("content-length", "3")]);
        let trailers =
            HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
        let mut body = shop.call(order("k", "")).await.into_body();
        hand.data("abc");
        if at_once {
            hand.trailers(trailers.clone()).end();
        }
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "abc");
        let busy = shop.send(order("k", "")).await;
        assert_eq!(busy.is_replay(), at_once, "filed first, if that was all");
        if leaves {
            drop(body);
            tokio::task::yield_now().await;
            hand.trailers(trailers.clone()).end();
            shop.drain().await;
        } else {
            if !at_once {
                hand.trailers(trailers.clone()).end();
            }
            let rest = body.collect().await.unwrap();
            assert_eq!(rest.trailers(), Some(&trailers));
            assert_eq!(rest.to_bytes(), "", "each frame once");
        }
        let again = shop.send(order("k", "")).await;
        assert_eq!(again.body.unwrap(), "abc");
        assert_eq!(again.trailers, Some(trailers));
    }
}

#[tokio::test]
async fn an_error_after_all_that_was_announced_is_an_unknown_outcome() {
    for at_once in [true, false] {
        let shop = with(|layer| layer.recovery(Recovery::Reject));
        let hand = feeds(&shop, &[("content-length", "3")]);
        let mut body = shop.call(order("k", "")).await.into_body();
        hand.data("abc");
        if at_once {
            hand.fail();
        }
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "abc", "nothing is lost");
        if !at_once {
            hand.fail();
        }
        assert!(body.frame().await.unwrap().is_err());
        shop.drain().await;
        let refused = shop.send(order("k", "")).await;
        assert_eq!(refused.problem(), "idempotency-outcome-unknown");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_the_body_streams() {
    let shop = with(|layer| layer.lease(Duration::from_secs(30)));
    let hand = feeds(&shop, &[]);
    let body = shop.call(order("k", "")).await.into_body();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let busy = shop.send(order("k", "")).await;
    assert_eq!(busy.status, StatusCode::CONFLICT);
    hand.data("late").end();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
    assert!(shop.send(order("k", "")).await.is_replay());
    assert_eq!(shop.effects(), 1);
}

#[tokio::test]
async fn a_body_that_is_there_at_once_and_not_as_long_as_announced_is_an_unknown_outcome() {
    let shop = with(|layer| layer.recovery(Recovery::Reject));
    shop.answers(|_| {
        let announced = [("content-length", "99")];
        Ok(respond(
            StatusCode::OK,
            &announced,
            Either::Left("short".into()),
        ))
    });
    let first = shop.send(order("k", "")).await;
    assert!(first.body.is_err(), "its client sees that it was cut");
    shop.drain().await;
    let again = shop.send(order("k", "")).await;
    assert_eq!(again.problem(), "idempotency-outcome-unknown");
    assert_eq!(shop.effects(), 1);
}
