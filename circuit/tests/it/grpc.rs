//! The layer between a real client and a real server of tonic, over a connection in memory.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_circuit::{
    Backoff, Breaker, Circuit, CircuitLayer, ManualClock, Reading, State, consecutive,
};
use bytes::{Buf, BufMut, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Layer, Service, service_fn};

use super::{builder, secs};

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Does what it is asked for.
#[derive(Clone)]
struct Script;

impl NamedService for Script {
    const NAME: &'static str = "test.Script";
}

impl Service<http::Request<Body>> for Script {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Plain).server_streaming(Self, request).await) })
    }
}

type Messages = BoxStream<'static, Result<Bytes, Status>>;

impl ServerStreamingService<Bytes> for Script {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = std::future::Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let message = Ok(Bytes::from("a"));
        let pushed_back = || {
            let mut status = Status::unavailable("later");
            let pushback = MetadataValue::from_static("30000");
            status
                .metadata_mut()
                .insert("grpc-retry-pushback-ms", pushback);
            status
        };
        let messages = match &request.get_ref()[..] {
            b"fine" => stream::iter([message]).boxed(),
            b"not found" => return std::future::ready(Err(Status::not_found("it"))),
            b"trailers only" => return std::future::ready(Err(pushed_back())),
            b"error in trailers" => stream::iter([message, Err(Status::internal("it"))]).boxed(),
            b"pushback in trailers" => stream::iter([message, Err(pushed_back())]).boxed(),
            b"exhausted" => return std::future::ready(Err(Status::resource_exhausted("it"))),
            _ => stream::iter([message]).chain(stream::pending()).boxed(),
        };
        std::future::ready(Ok(Response::new(messages)))
    }
}

type Client = tonic::client::Grpc<Circuit<Channel, buttress_circuit::http::Http>>;

struct Test {
    client: Client,
    breaker: Breaker,
    clock: ManualClock,
    server: JoinHandle<()>,
    /// Aborted, the connection is cut.
    wire: JoinHandle<()>,
}

async fn test(failures: u32) -> Test {
    let (near, mut near_end) = tokio::io::duplex(1 << 16);
    let (mut far_end, far) = tokio::io::duplex(1 << 16);
    let wire = tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut near_end, &mut far_end).await;
    });
    let incoming = stream::iter([Ok::<_, io::Error>(far)]).chain(stream::pending());
    let serving = Server::builder()
        .add_service(Script)
        .serve_with_incoming(incoming);
    let server = tokio::spawn(async { serving.await.unwrap() });
    let near = Arc::new(Mutex::new(Some(TokioIo::new(near))));
    let connect = service_fn(move |_| {
        let near = near.lock().unwrap().take();
        std::future::ready(near.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let endpoint = Endpoint::from_static("http://in.memory");
    let channel = endpoint.connect_with_connector(connect).await.unwrap();
    let (builder, clock) = builder();
    let builder = builder
        .trip(consecutive(failures))
        .open_for(Backoff::constant(secs(5)));
    let breaker = builder.build().unwrap();
    let client = Client::new(CircuitLayer::http(breaker.clone()).layer(channel));
    Test {
        client,
        breaker,
        clock,
        server,
        wire,
    }
}

impl Test {
    async fn call(&mut self, message: &'static str) -> Result<Streaming<Bytes>, Status> {
        self.client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/test.Script/Do");
        let request = Request::new(Bytes::from_static(message.as_bytes()));
        let answer = self.client.server_streaming(request, path, Plain).await;
        answer.map(Response::into_inner)
    }

    fn failures(&self) -> u32 {
        match self.breaker.snapshot().rules[..] {
            [Reading::Consecutive(failures)] => failures,
            _ => unreachable!(),
        }
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn an_error_without_a_body_counts_by_its_code() {
    let mut test = test(3).await;
    assert_eq!(
        test.call("trailers only").await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(test.failures(), 1);
    assert_eq!(
        test.call("exhausted").await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    assert_eq!(test.failures(), 1, "overload is no outage");
    assert_eq!(
        test.call("not found").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(test.failures(), 0, "somebody was there to answer");
}

#[tokio::test]
async fn an_error_in_the_trailers_counts_when_they_come() {
    let mut test = test(2).await;
    let mut messages = test.call("error in trailers").await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "a");
    assert_eq!(messages.message().await.unwrap_err().code(), Code::Internal);
    assert_eq!(test.failures(), 1);
    let mut messages = test.call("fine").await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "a");
    assert_eq!(test.failures(), 1);
    assert_eq!(messages.message().await.unwrap(), None);
    assert_eq!(test.failures(), 0, "a success ends the run");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_a_failure() {
    let mut test = test(2).await;
    let mut messages = test.call("endless").await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "a");
    test.wire.abort();
    assert!(messages.message().await.is_err());
    assert_eq!(test.failures(), 1);
}

#[tokio::test]
async fn a_stream_that_the_client_drops_is_none() {
    let mut test = test(2).await;
    assert!(test.call("trailers only").await.is_err());
    let mut messages = test.call("endless").await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "a");
    drop(messages);
    assert_eq!(test.failures(), 1);
}

#[tokio::test]
async fn pushback_sets_the_open_time_and_is_told_to_the_rejected() {
    for request in ["trailers only", "pushback in trailers"] {
        let mut test = test(1).await;
        if let Ok(mut messages) = test.call(request).await {
            while messages.message().await.is_ok() {}
        }
        assert_eq!(test.breaker.state(), State::Open, "{request}");
        test.clock.advance(secs(20));
        let refusal = test.call("fine").await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable);
        let pushback = refusal.metadata().get("grpc-retry-pushback-ms").unwrap();
        let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
        let left = Duration::from_millis(pushback);
        assert!(left > secs(9) && left <= secs(11), "{request} {left:?}");
        test.clock.advance(secs(11));
        let mut messages = test.call("fine").await.unwrap();
        while let Ok(Some(_)) = messages.message().await {}
        assert_eq!(test.breaker.state(), State::HalfOpen);
    }
}
