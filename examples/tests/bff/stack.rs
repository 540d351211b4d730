//! What the layers of a client's stack do for the pages.

use examples::within_reason;
use futures_util::future::join_all;

use crate::calls::{BROKEN, HELD, NO_DEADLINE, Test, WELL};

#[tokio::test]
async fn what_may_be_kept_is_not_asked_for_again_though_its_service_is_down() {
    let test = Test::start(NO_DEADLINE).await;
    test.get("/web/products/lamp").await;
    test.catalogue().set(BROKEN);
    let page = test.get("/mobile/products/lamp").await.body;
    assert_eq!(
        (&page["name"], &page["partial"]),
        (&"Desk lamp".into(), &false.into())
    );
    assert_eq!(test.catalogue().calls(), 1);
    assert_eq!(test.reviews().calls(), 2, "these may not");
}

#[tokio::test]
async fn many_pages_at_once_in_either_shape_are_one_call_of_each_service() {
    let test = Test::start(NO_DEADLINE).await;
    test.catalogue().set(HELD);
    let paths = ["/web/products/lamp", "/mobile/products/lamp"];
    let pages = (0..20).map(|n| test.get(paths[n % 2]));
    let release = async {
        within_reason(test.catalogue().called(1)).await;
        test.catalogue().set(WELL);
    };
    let (pages, ()) = tokio::join!(join_all(pages), release);
    assert!(pages.iter().all(|page| page.body["partial"] == false));
    assert_eq!(test.catalogue().calls(), 1);
}

#[tokio::test]
async fn a_failure_is_tried_once_more_and_what_a_breaker_refuses_is_not() {
    let test = Test::start(NO_DEADLINE).await;
    test.reviews().set(BROKEN);
    test.get("/web/products/lamp").await;
    assert_eq!(test.reviews().calls(), 2);
    test.get("/web/products/lamp").await;
    assert_eq!(test.reviews().calls(), 4);
    test.get("/web/products/lamp").await;
    assert_eq!(
        test.reviews().calls(),
        4,
        "four failures in a row opened it"
    );
}
