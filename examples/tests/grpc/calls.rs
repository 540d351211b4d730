//! Both services, and two clients.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use examples::within_reason;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::{Response, Status};

use crate::messages::{NewOrder, Order};
use crate::records::Records;
use crate::rpc::Remote;
use crate::serve::Services;
use crate::stack;
use crate::stock::Conditions;

pub(crate) struct Test {
    pub(crate) services: Services,
    pub(crate) orders: Remote,
    pub(crate) records: Records,
}

impl Test {
    pub(crate) async fn start() -> Self {
        let records = Records::kept();
        let services = Services::start(anywhere(), &records).await.unwrap();
        let breaker = stack::breaker("orders", 1000);
        let orders = stack::remote(breaker, services.orders_address, &records);
        Self {
            services,
            orders,
            records,
        }
    }

    pub(crate) fn stock(&self, change: impl FnOnce(&mut Conditions)) {
        let mut conditions = Conditions::default();
        change(&mut conditions);
        self.services.stock.set(conditions);
    }

    pub(crate) async fn place(&self, key: &str, item: &str) -> Result<Response<Order>, Status> {
        self.send(order(key, item)).await
    }

    pub(crate) async fn send(
        &self,
        request: tonic::Request<NewOrder>,
    ) -> Result<Response<Order>, Status> {
        within_reason(self.orders.call("/shop.Orders/Place", request)).await
    }
}

pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn new_order(item: &str) -> NewOrder {
    NewOrder {
        item: item.to_owned(),
        quantity: 1,
    }
}

pub(crate) fn order(key: &str, item: &str) -> tonic::Request<NewOrder> {
    let mut request = tonic::Request::new(new_order(item));
    let key = key.parse().unwrap();
    request.metadata_mut().insert("idempotency-key", key);
    request
}

pub(crate) fn is_replayed(answer: &Response<Order>) -> bool {
    answer.metadata().contains_key("idempotency-replayed")
}

/// What came over the wire.
#[derive(Debug, PartialEq)]
pub(crate) struct Raw {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Sends a message as HTTP/2 alone has it, with these fields.
pub(crate) async fn raw(
    address: SocketAddr,
    path: &str,
    message: &impl Message,
    fields: &[(&str, &str)],
) -> Raw {
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(framed(message))).unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let (head, body) = within_reason(client.request(request))
        .await
        .unwrap()
        .into_parts();
    let body = within_reason(body.collect()).await.unwrap();
    let trailers = body.trailers().cloned();
    Raw {
        headers: head.headers,
        body: body.to_bytes(),
        trailers,
    }
}

/// gRPC over HTTP/2, "Length-Prefixed-Message".
fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(&message);
    frame.freeze()
}
