use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::storefront::{LAMP, Storefront, within_reason};

/// Reads until a whole event has come.
async fn event(body: &mut Incoming) -> String {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let frame = within_reason(body.frame())
            .await
            .expect("the stream is open")
            .unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn events_arrive_one_by_one_while_the_stream_is_open() {
    let shop = Storefront::start().await;
    let response = shop.open(shop.request("GET", "/events"), "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    assert!(event(&mut body).await.contains("event: hello"));
    for id in 1..=3 {
        shop.order("", LAMP).await;
        let order = event(&mut body).await;
        assert!(order.contains("event: order"), "{order}");
        assert!(order.contains(&format!("\"id\":{id}")), "{order}");
    }
    drop(body);
    shop.until("the listener is gone", |now| now["subscribers"] == 0)
        .await;
}

#[tokio::test]
async fn two_listeners_each_have_a_stream_of_their_own() {
    let shop = Storefront::start().await;
    let listen = async || {
        shop.open(shop.request("GET", "/events"), "")
            .await
            .into_body()
    };
    let (mut first, mut second) = tokio::join!(listen(), listen());
    for body in [&mut first, &mut second] {
        event(body).await;
    }
    drop(first);
    shop.order("", LAMP).await;
    assert!(event(&mut second).await.contains("event: order"));
}
