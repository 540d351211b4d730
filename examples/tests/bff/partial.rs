use crate::calls::{BROKEN, HELD, NO_DEADLINE, Test, WELL};

/// Until the breaker of the reviews is open; two attempts each.
async fn break_reviews(test: &Test) {
    test.reviews().set(BROKEN);
    for _ in 0..2 {
        let page = test.get("/web/products/lamp").await;
        assert_eq!(page.body["missing"]["reviews"], "failed");
    }
}

#[tokio::test]
async fn while_a_breaker_is_open_the_rest_comes_marked_and_nobody_is_asked() {
    let test = Test::start(NO_DEADLINE).await;
    break_reviews(&test).await;
    let calls = test.reviews().calls();
    let web = test.get("/web/products/lamp").await;
    assert_eq!(web.status, 200);
    assert_eq!(web.body["product"]["name"], "Desk lamp");
    assert_eq!(web.body["reviews"], serde_json::Value::Null);
    assert_eq!(web.body["partial"], true);
    assert_eq!(web.body["missing"]["reviews"], "breaker-open");
    assert_eq!(web.headers["cache-control"], "no-store");
    let mobile = test.get("/mobile/products/lamp").await.body;
    assert_eq!(
        (&mobile["partial"], &mobile["stars"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(test.reviews().calls(), calls, "an open breaker asks nobody");

    test.reviews().set(WELL);
    // Until a probe has passed.
    while test.get("/web/products/lamp").await.body["partial"] == true {}
}

#[tokio::test]
async fn a_service_that_is_too_slow_is_left_out_at_the_deadline() {
    let test = Test::start(&["--deadline", "50", "--timeout", "300000"]).await;
    // In time, or in the cache: the product is there when the page is asked for again.
    while test.get("/web/products/lamp").await.body["product"].is_null() {}
    test.reviews().set(HELD);
    // It would never answer.
    let page = test.get("/web/products/lamp").await.body;
    assert_eq!(page["product"]["name"], "Desk lamp");
    assert_eq!(page["missing"]["reviews"], "too-slow");
}

#[tokio::test]
async fn attempts_that_time_out_open_the_breaker_and_then_nobody_waits() {
    let test = Test::start(&["--deadline", "300000", "--timeout", "50"]).await;
    test.reviews().set(HELD);
    for _ in 0..2 {
        test.get("/web/products/lamp").await;
    }
    let calls = test.reviews().calls();
    let page = test.get("/web/products/lamp").await.body;
    assert_eq!(page["missing"]["reviews"], "breaker-open");
    assert_eq!(test.reviews().calls(), calls);
}

#[tokio::test]
async fn either_part_may_be_missing() {
    let test = Test::start(NO_DEADLINE).await;
    test.catalogue().set(BROKEN);
    let page = test.get("/web/products/lamp").await.body;
    assert_eq!(page["missing"]["product"], "failed");
    assert_eq!(page["reviews"]["stars"], 4.5);
}

#[tokio::test]
async fn without_any_part_there_is_no_page_and_the_deadline_holds() {
    let test = Test::start(&["--deadline", "50", "--timeout", "300000"]).await;
    test.catalogue().set(HELD);
    test.reviews().set(HELD);
    let refused = test.get("/web/products/lamp").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert!(refused.headers.contains_key("retry-after"));
}
