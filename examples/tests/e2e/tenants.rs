use http_body_util::BodyExt;

use crate::storefront::{Answer, LAMP, Storefront};

async fn get(shop: &Storefront, tenant: &str, path: &str) -> Answer {
    shop.send(shop.request("GET", path).header("x-tenant", tenant), "")
        .await
}

#[tokio::test]
async fn two_tenants_share_no_page_no_price_and_no_tag() {
    let shop = Storefront::start().await;
    get(&shop, "alice", "/products/lamp").await;
    assert!(!get(&shop, "bob", "/products/lamp").await.is_hit());
    let price = shop
        .request("PUT", "/products/lamp")
        .header("content-type", "application/json");
    shop.send(price.header("x-tenant", "alice"), r#"{"price_cents":1}"#)
        .await;
    assert_eq!(
        get(&shop, "alice", "/products/lamp").await.json()["price_cents"],
        1
    );
    let bobs = get(&shop, "bob", "/products/lamp").await;
    assert!(bobs.is_hit(), "what alice changed is not his");
    assert_eq!(bobs.json()["price_cents"], 3900);
}

#[tokio::test]
async fn two_tenants_may_send_the_same_key() {
    let shop = Storefront::start().await;
    for tenant in ["alice", "bob"] {
        let order = shop
            .send(shop.order_request("k").header("x-tenant", tenant), LAMP)
            .await;
        assert_eq!(
            (order.status.as_u16(), order.field("idempotency-replayed")),
            (201, "")
        );
    }
    assert_eq!(
        get(&shop, "alice", "/orders")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn two_tenants_do_not_join_each_others_flights() {
    let shop = &Storefront::start().await;
    shop.post("/demo/catalogue/hold").await;
    let release = async {
        shop.until("both wait for the catalogue", |now| {
            now["dedup"]["led"] == 2
        })
        .await;
        shop.post("/demo/catalogue/release").await;
    };
    let (alice, bob, ()) = tokio::join!(
        get(shop, "alice", "/products/lamp"),
        get(shop, "bob", "/products/lamp"),
        release,
    );
    assert!(alice.status == 200 && bob.status == 200);
    assert_eq!(shop.snapshot().await["catalogue"]["reads"], 2);
}

#[tokio::test]
async fn two_tenants_do_not_share_a_call_of_another_service() {
    let shop = Storefront::start().await;
    let hold = async |what| shop.post(&format!("/demo/recommendations/{what}")).await;
    hold("hold").await;
    let release = async {
        shop.until("both call it", |now| now["upstreams"][1]["calls"] == 2)
            .await;
        hold("release").await;
    };
    let path = "/recommendations/lamp";
    let (alice, bob, _) = tokio::join!(get(&shop, "alice", path), get(&shop, "bob", path), release);
    assert_ne!(alice.json()["traceparent"], bob.json()["traceparent"]);
    assert!(alice.body.len() > 10 && bob.field("x-trace-id") != alice.field("x-trace-id"));
}

#[tokio::test]
async fn two_tenants_have_their_own_reports_and_their_own_events() {
    let shop = Storefront::start().await;
    let listen = shop.request("GET", "/events").header("x-tenant", "bob");
    let mut bobs = shop.open(listen, "").await.into_body();
    for (tenant, quantity) in [("alice", 7), ("bob", 2)] {
        let order = format!(r#"{{"product":"lamp","quantity":{quantity}}}"#);
        shop.send(shop.order_request("").header("x-tenant", tenant), &order)
            .await;
    }
    let mut heard = String::new();
    while !heard.contains("event: order") {
        let frame = crate::storefront::within_reason(bobs.frame())
            .await
            .unwrap()
            .unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(heard.matches("event: order").count(), 1, "his own: {heard}");
    for (tenant, units) in [("alice", 7), ("bob", 2)] {
        let report = get(&shop, tenant, "/reports/sales").await.json();
        assert_eq!(report[0]["units"], units, "{tenant}");
    }
}

#[tokio::test]
async fn a_tenants_name_that_cannot_be_read_is_refused() {
    let shop = Storefront::start().await;
    for name in ["", "Alice", "a b", "a/b", &"a".repeat(33)] {
        assert_eq!(
            get(&shop, name, "/products/lamp").await.status,
            400,
            "{name:?}"
        );
    }
}
