use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use examples::within_reason;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response};

use crate::calls::{Test, anywhere, new_order, order, raw};
use crate::deadline::Deadline;
use crate::messages::{Order, Reserve, Reserved};
use crate::orders::{self, Orders};
use crate::records::Records;
use crate::rpc::unary;
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

/// A stock service that reserves as many as microseconds are left to it.
async fn stock_that_tells_the_time() -> SocketAddr {
    let reserve = unary(async |request: Request<Reserve>| {
        let left = request.metadata().get("grpc-timeout").unwrap();
        let left = left.to_str().unwrap().strip_suffix('u').unwrap();
        let number = left.parse().unwrap();
        Ok(Response::new(Reserved { number }))
    });
    listen(Router::new().route("/shop.Stock/Reserve", reserve)).await
}

async fn listen(methods: Router) -> SocketAddr {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, methods).await });
    address
}

#[tokio::test]
async fn who_is_called_hears_what_is_left_of_the_callers_time() {
    let records = Records::kept();
    let stock = stock_that_tells_the_time().await;
    let stock = stack::remote(stack::breaker("stock", 1), stock, &records);
    let orders = Arc::new(Orders::new(stock, CancellationToken::new()));
    let orders = stack::served(orders::methods(&orders), &stack::once(), &records);
    let orders = listen(orders).await;
    let orders = stack::remote(stack::breaker("orders", 1), orders, &records);
    // More than what calls get that have no deadline of their own.
    for at_most in [90, 60].map(Duration::from_secs) {
        let mut request = order(&format!("{at_most:?}"), "lamp");
        request.extensions_mut().insert(Deadline::after(at_most));
        let call = orders.call::<_, Order>("/shop.Orders/Place", request);
        let told = within_reason(call).await.unwrap().get_ref().reservation;
        let told = Duration::from_micros(told);
        assert!(
            told < at_most && told > at_most / 10,
            "{told:?} of {at_most:?}"
        );
    }
}

#[tokio::test]
async fn a_client_does_not_wait_for_a_server_that_says_nothing() {
    let silent = TcpListener::bind(anywhere()).await.unwrap();
    let breaker = stack::breaker("silent", 1);
    let address = silent.local_addr().unwrap();
    let remote = stack::remote(breaker.clone(), address, &Records::kept());
    let mut request = order("k", "lamp");
    request.extensions_mut().insert(Deadline::after(SHORT));
    let call = remote.call::<_, Order>("/shop.Orders/Place", request);
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
    let call = remote.call::<_, Order>("/shop.Orders/Place", order("k", "lamp"));
    let gone = within_reason(call).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
}
