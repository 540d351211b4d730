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
