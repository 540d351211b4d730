use crate::storefront::{LAMP, Storefront};

#[tokio::test]
async fn the_same_key_twice_is_one_order_and_one_response() {
    let shop = Storefront::start().await;
    let first = shop.order("k", LAMP).await;
    let again = shop.order("\"k\"", LAMP).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(first.body, again.body);
    let location = first.field("location");
    assert_eq!(location, again.field("location"));
    assert_eq!(shop.get(location).await.json(), first.json());
    assert_eq!(shop.get("/orders/99").await.status, 404);
    assert_eq!(
        (
            first.field("idempotency-replayed"),
            again.field("idempotency-replayed")
        ),
        ("", "true")
    );
    assert_eq!(
        shop.get("/orders").await.json().as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn an_order_that_cannot_be_read_leaves_its_key_free() {
    let shop = Storefront::start().await;
    let unread = shop.order("k", "{").await;
    assert_eq!(unread.status, 400);
    assert_eq!(unread.field("content-type"), "application/problem+json");
    assert_eq!(shop.order("k", LAMP).await.status, 201);
}

#[tokio::test]
async fn the_same_key_with_another_order_is_refused() {
    let shop = Storefront::start().await;
    shop.order("k", LAMP).await;
    let other = shop.order("k", r#"{"product":"chair","quantity":1}"#).await;
    assert_eq!(other.status, 422);
    assert_eq!(other.field("content-type"), "application/problem+json");
    assert_eq!(shop.snapshot().await["orders"], 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_order_neither_doubles_nor_loses_it() {
    let shop = Storefront::start().await;
    shop.payments_wait(true).await;
    let abandoned = async {
        tokio::select! {
            _ = shop.order("k", LAMP) => panic!("nobody waited for it"),
            _ = shop.until("the order has begun", |now| now["idempotency"]["claimed"] == 1) => {}
        }
    };
    // Leaving the select drops the request, and with it the connection.
    abandoned.await;
    shop.payments_wait(false).await;
    shop.until("the order is finished", |now| {
        now["idempotency"]["completed"] == 1
    })
    .await;
    let again = shop.order("k", LAMP).await;
    assert_eq!(
        (again.status.as_u16(), again.field("idempotency-replayed")),
        (201, "true")
    );
    let now = shop.snapshot().await;
    assert_eq!(
        (&now["orders"], &now["upstreams"][0]["calls"]),
        (&1.into(), &1.into())
    );
}

#[tokio::test]
async fn an_order_that_could_not_be_paid_for_can_be_tried_again_under_its_key() {
    let shop = Storefront::start().await;
    shop.payments_fail(true).await;
    assert_eq!(shop.order("k", LAMP).await.status, 502);
    shop.payments_fail(false).await;
    let again = shop.order("k", LAMP).await;
    assert_eq!(
        (again.status.as_u16(), again.field("idempotency-replayed")),
        (201, "")
    );
}

#[tokio::test]
async fn when_no_more_keys_can_be_remembered_orders_are_refused_and_the_shop_is_not_ready() {
    let shop = Storefront::start_with(&["--max-keys", "1"]).await;
    let mut refused = None;
    for n in 0..1000 {
        let answer = shop.order(&n.to_string(), LAMP).await;
        if answer.status == 503 {
            refused = Some(answer);
        }
        let ready = shop.get("/health/ready").await;
        if let Some(refused) = refused.as_ref().filter(|_| ready.status == 503) {
            assert!(
                ready.json()["reasons"][0]
                    .as_str()
                    .unwrap()
                    .contains("store")
            );
            return assert!(!refused.field("retry-after").is_empty());
        }
    }
    panic!("a thousand keys were remembered");
}
