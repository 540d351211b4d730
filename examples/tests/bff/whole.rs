use examples::within_reason;
use http::Request;

use crate::calls::{HELD, NO_DEADLINE, Test, WELL};

#[tokio::test]
async fn the_web_gets_everything_and_a_phone_what_it_shows() {
    let test = Test::start(NO_DEADLINE).await;
    let web = test.get("/web/products/lamp").await;
    assert_eq!(web.body["product"]["name"], "Desk lamp");
    assert_eq!(web.body["reviews"]["texts"].as_array().unwrap().len(), 2);
    assert_eq!(web.body["partial"], false);
    assert!(
        web.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("max-age")
    );

    let mobile = test.get("/mobile/products/lamp").await.body;
    let expected = r#"{"name":"Desk lamp","price_cents":3900,"stars":4.5,"partial":false}"#;
    assert_eq!(
        mobile,
        serde_json::from_str::<serde_json::Value>(expected).unwrap()
    );
}

#[tokio::test]
async fn whatever_is_in_a_name_it_is_one_segment_to_the_services() {
    let test = Test::start(NO_DEADLINE).await;
    for name in ["a%20b", "lamp%3Fx=1", "..%2Fproducts%2Flamp"] {
        let page = test.get(&format!("/web/products/{name}")).await;
        assert_eq!(page.status, 404, "{name}: {}", page.body);
    }
}

#[tokio::test]
async fn both_services_are_asked_at_once() {
    let test = Test::start(NO_DEADLINE).await;
    test.catalogue().set(HELD);
    test.reviews().set(HELD);
    let both = async {
        // Neither has answered when the other is asked.
        within_reason(test.catalogue().called(1)).await;
        within_reason(test.reviews().called(1)).await;
        test.catalogue().set(WELL);
        test.reviews().set(WELL);
    };
    let (page, ()) = tokio::join!(test.get("/web/products/lamp"), both);
    assert_eq!(page.body["partial"], false);
}

#[tokio::test]
async fn both_calls_are_spans_of_their_own_in_the_trace_of_the_request() {
    let test = Test::start(NO_DEADLINE).await;
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let request = Request::get("/web/products/lamp");
    let request = request.header("traceparent", format!("00-{trace}-{span}-01"));
    assert_eq!(test.send(request).await.headers["x-trace-id"], trace);
    let seen = test.upstream.traces.borrow().clone();
    let spans: Vec<_> = seen
        .iter()
        .map(|parent| parent.split('-').nth(2).unwrap())
        .collect();
    assert!(seen.iter().all(|parent| parent.contains(trace)), "{seen:?}");
    assert_eq!(spans.len(), 2);
    assert!(spans[0] != spans[1] && !spans.contains(&span), "{seen:?}");
}

#[tokio::test]
async fn what_the_catalogue_does_not_know_is_not_found() {
    let test = Test::start(NO_DEADLINE).await;
    let unknown = test.get("/web/products/unicorn").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.headers["content-type"], "application/problem+json");
}
