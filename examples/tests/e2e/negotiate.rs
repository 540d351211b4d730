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

/// What real clients send when nobody tells them otherwise, and what they get.
#[tokio::test]
async fn real_clients_get_what_they_can_read() {
    const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
    const FIREFOX: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const SAFARI: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const CHROME_IMAGE: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    const AXIOS: &str = "application/json, text/plain, */*";
    const JQUERY: &str = "application/json, text/javascript, */*; q=0.01";
    const JAVA: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    let shop = Storefront::start().await;
    for (client, accept, expected) in [
        ("Chrome, a page", Some(CHROME), "application/xml"),
        ("Firefox, a page", Some(FIREFOX), "application/xml"),
        ("Safari, a page", Some(SAFARI), "application/xml"),
        ("Chrome, an image", Some(CHROME_IMAGE), "application/json"),
        ("fetch", Some("*/*"), "application/json"),
        ("curl", Some("*/*"), "application/json"),
        ("axios", Some(AXIOS), "application/json"),
        ("jQuery", Some(JQUERY), "application/json"),
        ("Java", Some(JAVA), "application/json"),
        ("a client that says nothing", None, "application/json"),
        (
            "a spreadsheet",
            Some("text/csv"),
            "text/csv;charset=utf-8;header=present",
        ),
    ] {
        for method in ["GET", "HEAD"] {
            let mut request = shop.request(method, "/reports/sales");
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let report = shop.send(request, "").await;
            assert_eq!(report.status, 200, "{client}");
            assert_eq!(report.field("content-type"), expected, "{client}");
            assert!(report.field("vary").contains("accept"), "{client}");
            assert_eq!(report.body.is_empty(), method == "HEAD", "{client}");
        }
    }
}
