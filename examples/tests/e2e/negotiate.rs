use crate::storefront::Storefront;

#[tokio::test]
async fn the_report_comes_as_its_reader_asks() {
    let shop = Storefront::start().await;
    for (accept, content_type, start) in [
        (
            "text/csv",
            "text/csv;charset=utf-8;header=present",
            "product,name,units,revenue_cents\r\n",
        ),
        (
            "application/xml;q=0.9, application/json;q=0.2",
            "application/xml",
            "<?xml",
        ),
        ("*/*", "application/json", "["),
        // What Chrome sends.
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "application/xml",
            "<?xml",
        ),
    ] {
        let request = shop
            .request("GET", "/reports/sales")
            .header("accept", accept);
        let report = shop.send(request, "").await;
        assert_eq!(report.field("content-type"), content_type, "{accept}");
        assert!(report.body.starts_with(start.as_bytes()), "{report:?}");
        assert!(report.field("vary").contains("accept"));
    }
}

#[tokio::test]
async fn an_impossible_wish_is_refused_before_the_report_is_made() {
    let shop = Storefront::start().await;
    let request = shop
        .request("GET", "/reports/sales")
        .header("accept", "image/png");
    let refused = shop.send(request, "").await;
    assert_eq!(refused.status, 406);
    let available = refused.json()["available"].clone();
    let types: Vec<_> = available
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["type"].clone())
        .collect();
    for expected in ["application/json", "text/csv", "application/xml"] {
        assert!(types.contains(&expected.into()), "{types:?}");
    }
    assert_eq!(shop.snapshot().await["catalogue"]["reports"], 0);
}
