use crate::storefront::Storefront;

#[tokio::test]
async fn a_new_price_takes_every_page_that_shows_it_and_no_other() {
    let shop = Storefront::start().await;
    let with_lamp = ["/products/lamp", "/search?q=light"];
    let without = ["/products/chair", "/search?q=seating"];
    for path in with_lamp.iter().chain(&without) {
        assert!(!shop.get(path).await.is_hit());
        let hit = shop.get(path).await;
        assert!(hit.is_hit(), "{path}");
        assert_eq!(hit.field("x-cache"), "HIT-MEMORY");
        assert!(!hit.field("age").is_empty());
    }
    let price = shop
        .request("PUT", "/products/lamp")
        .header("content-type", "application/json");
    assert_eq!(shop.send(price, r#"{"price_cents":1}"#).await.status, 200);
    assert_eq!(shop.get("/products/lamp").await.json()["price_cents"], 1);
    let found = shop.get("/search?q=light").await.json();
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .any(|product| product["price_cents"] == 1)
    );
    for path in without {
        assert!(shop.get(path).await.is_hit(), "{path}");
    }
}

#[tokio::test]
async fn the_report_is_stored_once_for_each_form_and_goes_with_the_next_order() {
    let shop = Storefront::start().await;
    let report = async |accept: &str| {
        shop.send(
            shop.request("GET", "/reports/sales")
                .header("accept", accept),
            "",
        )
        .await
    };
    assert!(!report("text/csv").await.is_hit());
    assert!(
        report("text/csv, */*;q=0.1").await.is_hit(),
        "another field, the same choice"
    );
    let xml = report("application/xml").await;
    assert!(!xml.is_hit() && xml.body.starts_with(b"<?xml"));
    assert!(report("text/csv").await.body.starts_with(b"product,"));
    shop.order("", crate::storefront::LAMP).await;
    let fresh = report("text/csv").await;
    assert!(!fresh.is_hit());
    assert!(
        std::str::from_utf8(&fresh.body)
            .unwrap()
            .contains("lamp,Desk lamp,1,3900")
    );
}

#[tokio::test]
async fn a_new_price_also_takes_a_page_that_many_asked_for_at_once() {
    let shop = &Storefront::start().await;
    shop.post("/demo/catalogue/hold").await;
    let requests = (0..8).map(|_| shop.get("/search?q=lamp"));
    let release = async {
        shop.until("seven wait for one", |now| now["dedup"]["waiters"] == 7)
            .await;
        shop.post("/demo/catalogue/release").await;
    };
    tokio::join!(futures_util::future::join_all(requests), release);
    assert!(shop.get("/search?q=lamp").await.is_hit());
    let price = shop
        .request("PUT", "/products/lamp")
        .header("content-type", "application/json");
    shop.send(price, r#"{"price_cents":777}"#).await;
    assert_eq!(
        shop.get("/search?q=lamp").await.json()[0]["price_cents"],
        777
    );
}

#[tokio::test]
async fn an_order_whose_client_has_gone_still_takes_the_report() {
    let shop = Storefront::start().await;
    let units = async || shop.get("/reports/sales").await.json()[0]["units"].clone();
    assert_eq!(units().await, 0);
    shop.payments_wait(true).await;
    tokio::select! {
        _ = shop.order("k", crate::storefront::LAMP) => panic!("nobody waited for it"),
        _ = shop.until("the order has begun", |now| now["idempotency"]["claimed"] == 1) => {}
    }
    shop.payments_wait(false).await;
    shop.until("the order is finished", |now| {
        now["idempotency"]["completed"] == 1
    })
    .await;
    assert_eq!(units().await, 1);
}
