use futures_util::future::join;
use tonic::Code;

use crate::calls::{Test, is_replayed, new_order, order, raw};

const PLACE: &str = "/shop.Orders/Place";

#[tokio::test]
async fn the_same_call_twice_is_one_order_and_one_reservation() {
    let test = Test::start().await;
    let first = test.place("k", "lamp").await.unwrap();
    let again = test.place("k", "lamp").await.unwrap();
    assert_eq!(first.get_ref(), again.get_ref());
    assert_eq!((is_replayed(&first), is_replayed(&again)), (false, true));
    assert_eq!(test.services.stock.calls(), 1);
}

#[tokio::test]
async fn a_replay_has_the_same_bytes_and_the_same_trailers() {
    let test = Test::start().await;
    let send = || {
        let key = [("idempotency-key", "k")];
        let address = test.services.orders_address;
        async move { raw(address, PLACE, &new_order("lamp"), &key).await }
    };
    let (first, again) = (send().await, send().await);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(first.body, again.body);
    assert_eq!(first.trailers, again.trailers);
    assert_eq!(first.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn another_order_under_the_key_is_an_invalid_argument() {
    let test = Test::start().await;
    test.place("k", "lamp").await.unwrap();
    let refused = test.place("k", "chair").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(test.services.stock.calls(), 1);
}

#[tokio::test]
async fn while_the_first_is_running_the_second_is_aborted_with_pushback() {
    let test = Test::start().await;
    test.stock(|stock| stock.held = true);
    let again = async {
        test.services.stock.waiting(1).await;
        let refused = test.place("k", "lamp").await.unwrap_err();
        test.stock(|stock| stock.held = false);
        refused
    };
    let (first, refused) = join(test.place("k", "lamp"), again).await;
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
    let again = test.place("k", "lamp").await.unwrap();
    assert_eq!(first.unwrap().get_ref(), again.get_ref());
    assert!(is_replayed(&again));
}

#[tokio::test]
async fn two_users_with_one_key_have_an_order_each() {
    let test = Test::start().await;
    for (user, id) in [("ann", 1), ("bob", 2), ("ann", 1)] {
        let mut request = order("k", "lamp");
        let user = user.parse().unwrap();
        request.metadata_mut().insert("x-user", user);
        assert_eq!(test.send(request).await.unwrap().get_ref().id, id);
    }
}

#[tokio::test]
async fn an_error_leaves_the_key_free() {
    let test = Test::start().await;
    test.stock(|stock| stock.failing = true);
    let failed = test.place("k", "lamp").await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    test.stock(|_| {});
    assert!(!is_replayed(&test.place("k", "lamp").await.unwrap()));
}
