use std::time::Duration;

use examples::within_reason;
use tokio::net::TcpListener;
use tonic::Code;

use crate::calls::{Test, anywhere, new_order, order, raw};
use crate::deadline::Deadline;
use crate::messages::Reserve;
use crate::records::Records;
use crate::stack;

const SHORT: Duration = Duration::from_millis(30);

#[tokio::test]
async fn a_server_honours_the_timeout_of_a_client_that_waits_for_ever() {
    let test = Test::start().await;
    test.stock(|stock| stock.held = true);
    let (orders, stock) = (test.services.orders_address, test.services.stock_address);
    let timeout = [("grpc-timeout", "30m")];
    let order = raw(orders, "/shop.Orders/Place", &new_order("lamp"), &timeout).await;
    assert_eq!(order.headers["grpc-status"], "4");
    assert!(order.trailers.is_none(), "it had nothing to say before");
    let reserved = raw(stock, "/shop.Stock/Reserve", &Reserve::default(), &timeout).await;
    assert_eq!(reserved.headers["grpc-status"], "4");
    within_reason(test.services.stock.waiting(0)).await;
}

#[tokio::test]
async fn a_client_tells_its_deadline_and_the_next_service_gets_what_is_left() {
    let test = Test::start().await;
    test.stock(|stock| stock.held = true);
    let mut request = order("k", "lamp");
    request.extensions_mut().insert(Deadline::after(SHORT));
    let late = test.send(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    within_reason(test.services.stock.waiting(0)).await;
    within_reason(test.services.settled()).await;

    // Nothing was done, and the key is free.
    test.stock(|_| {});
    assert_eq!(test.place("k", "lamp").await.unwrap().get_ref().id, 1);
}

#[tokio::test]
async fn a_client_does_not_wait_for_a_server_that_says_nothing() {
    let silent = TcpListener::bind(anywhere()).await.unwrap();
    let breaker = stack::breaker("silent", 1);
    let address = silent.local_addr().unwrap();
    let remote = stack::remote(breaker.clone(), address, &Records::kept());
    let mut request = order("k", "lamp");
    request.extensions_mut().insert(Deadline::after(SHORT));
    let call = remote.call::<_, crate::messages::Order>("/shop.Orders/Place", request);
    let late = within_reason(call).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(breaker.state(), buttress_circuit::State::Open);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote = stack::remote(stack::breaker("gone", 9), address, &Records::kept());
    let call = remote.call::<_, crate::messages::Order>("/shop.Orders/Place", order("k", "lamp"));
    let gone = within_reason(call).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
}
