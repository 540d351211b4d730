use crate::storefront::{LAMP, Storefront};

#[tokio::test]
async fn a_breaker_that_has_tripped_spares_the_upstream_and_recovers() {
    let shop = Storefront::start().await;
    assert_eq!(shop.get("/health/ready").await.status, 200);
    shop.payments_fail(true).await;
    for _ in 0..5 {
        assert_eq!(shop.order("", LAMP).await.status, 502);
    }
    let calls = shop.snapshot().await["upstreams"][0]["calls"].clone();
    let refused = shop.order("", LAMP).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("content-type"), "application/problem+json");
    assert!((1..=5).contains(&refused.field("retry-after").parse().unwrap()));
    let now = shop.snapshot().await;
    assert_eq!(
        now["upstreams"][0]["calls"], calls,
        "the upstream was not touched"
    );
    assert_eq!(now["breakers"][0]["state"], "open");
    let ready = shop.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["reasons"][0]
            .as_str()
            .unwrap()
            .contains("payments")
    );
    assert_eq!(shop.get("/health/live").await.status, 200);

    shop.payments_fail(false).await;
    shop.until("a probe may pass", |now| {
        now["breakers"][0]["state"] == "half-open"
    })
    .await;
    assert_eq!(shop.order("", LAMP).await.status, 201);
    assert_eq!(shop.snapshot().await["breakers"][0]["state"], "closed");
    assert_eq!(shop.get("/health/ready").await.status, 200);
}
