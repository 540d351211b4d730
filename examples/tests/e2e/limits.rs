//! A layer of somebody else's, in its place among ours.

use crate::storefront::{LAMP, Storefront};

/// Two at once, and one more a second.
const FEW: &[&str] = &["--burst", "2", "--rate", "1"];

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let shop = Storefront::start_with(FEW).await;
    let refused = loop {
        let answer = shop.get("/products/lamp").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("content-type"), "application/problem+json");
    assert_eq!(refused.field("retry-after"), "1");
    assert!(
        !refused.field("x-request-id").is_empty(),
        "the outermost layer has seen it"
    );
}

#[tokio::test]
async fn what_is_refused_reaches_nothing_inside() {
    let shop = Storefront::start_with(FEW).await;
    // As many orders as it takes, each under a key of its own.
    let mut sent = 0;
    while shop.order(&format!("k{sent}"), LAMP).await.status == 201 {
        sent += 1;
    }
    let now = shop.snapshot().await;
    assert_eq!(now["orders"], sent);
    assert_eq!(now["idempotency"]["claimed"], sent, "no key was claimed");
    assert_eq!(
        shop.get("/health/live").await.status,
        200,
        "operators are not counted"
    );
}

#[tokio::test]
async fn each_caller_is_counted_alone() {
    let shop = Storefront::start_with(FEW).await;
    while shop.get("/products/lamp").await.status == 200 {}
    for sub in ["ann", "bob", "ann/", "/"] {
        let token = shop.token(&format!("sub={sub}")).await;
        let answer = shop.get_with(&token, "/products/lamp").await;
        assert_eq!(answer.status, 200, "{sub} has asked for nothing yet");
    }
}
