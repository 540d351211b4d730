use crate::storefront::Storefront;

#[tokio::test]
async fn the_page_and_its_files_are_part_of_the_program() {
    let shop = Storefront::start().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
    ] {
        let file = shop.get(path).await;
        assert_eq!(
            (file.status.as_u16(), file.field("content-type")),
            (200, content_type)
        );
        assert!(!file.body.is_empty());
    }
    let page = shop.get("/").await;
    let text = std::str::from_utf8(&page.body).unwrap();
    assert!(text.contains("style.css") && text.contains("app.js"));
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "it needs no network"
    );
    for (_, link) in text
        .match_indices("href=\"/code/")
        .map(|(at, start)| (at, &text[at + start.len()..]))
    {
        let name = link.split('"').next().unwrap();
        let code = shop.get(&format!("/code/{name}")).await;
        let code = std::str::from_utf8(&code.body).unwrap();
        assert!(
            code.contains(&format!("use buttress_{}", name.replace('-', "_"))),
            "{name}"
        );
    }
    assert_eq!(
        text.matches("href=\"/code/").count(),
        6,
        "one for each pattern"
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let shop = Storefront::start().await;
    let missing = shop.get("/nowhere").await;
    assert_eq!(
        (missing.status.as_u16(), missing.field("content-type")),
        (404, "application/problem+json")
    );
}
