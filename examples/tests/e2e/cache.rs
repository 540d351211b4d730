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
