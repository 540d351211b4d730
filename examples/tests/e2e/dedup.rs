use crate::storefront::Storefront;

#[tokio::test]
async fn a_hundred_identical_cold_requests_read_the_catalogue_once() {
    let shop = &Storefront::start().await;
    shop.post("/demo/catalogue/hold").await;
    let requests = (0..100).map(|_| shop.get("/products/chair"));
    let requests = futures_util::future::join_all(requests);
    let release = async {
        shop.until("99 requests wait for one", |now| {
            now["dedup"]["led"] == 1 && now["dedup"]["waiters"] == 99
        })
        .await;
        shop.post("/demo/catalogue/release").await;
    };
    let (answers, ()) = tokio::join!(requests, release);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 && answer.body == answers[0].body)
    );
    let now = shop.snapshot().await;
    assert_eq!(
        (&now["catalogue"]["reads"], &now["dedup"]["joined"]),
        (&1.into(), &99.into())
    );
    assert!(
        shop.get("/products/chair").await.is_hit(),
        "and from then on it is stored"
    );
}

#[tokio::test]
async fn the_button_for_a_hundred_requests_shows_the_same() {
    let shop = Storefront::start().await;
    let burst = shop.post("/demo/burst").await.json();
    assert_eq!(
        (&burst["requests"], &burst["reads"]),
        (&100.into(), &1.into()),
        "{burst}"
    );
}
