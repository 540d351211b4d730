//! Behind a real hyper server, on a real connection.

use std::future::{Pending, pending};
use std::sync::Arc;

use buttress_trace_ctx::{Finished, Outcome, TraceLayer};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower::{Layer, service_fn};

type Body = BoxBody<Bytes, std::io::Error>;

/// What is told: path, outcome, status, bytes, gRPC status.
type Told = (String, Outcome, Option<u16>, u64, Option<u32>);

struct Server {
    stream: TokioIo<TcpStream>,
    told: UnboundedReceiver<Told>,
    /// Says when a handler that never answers has been reached.
    reached: Arc<tokio::sync::Notify>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = unbounded_channel();
        let reached = Arc::new(tokio::sync::Notify::new());
        let notify = reached.clone();
        let sink = move |it: &Finished<'_>| {
            let status = it.status.map(|status| status.as_u16());
            let path = it.uri.path().to_owned();
            // Nobody listens any more when the test is over.
            let _ = tell.send((path, it.outcome, status, it.bytes, it.grpc_status));
        };
        let service =
            TraceLayer::server()
                .sink(sink)
                .layer(service_fn(move |request: Request<Incoming>| {
                    let reached = notify.clone();
                    async move { handle(request, &reached).await }
                }));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = auto::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(service);
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        Self {
            stream,
            told,
            reached,
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    reached: &tokio::sync::Notify,
) -> Result<Response<Body>, std::io::Error> {
    let mut response = Response::new(Full::from("hello").map_err(|never| match never {}).boxed());
    match request.uri().path() {
        "/hello" => {}
        "/nothing" => {
            *response.status_mut() = StatusCode::NO_CONTENT;
            *response.body_mut() = Empty::new().map_err(|never| match never {}).boxed();
        }
        "/never" => {
            reached.notify_one();
            let never: Pending<()> = pending();
            never.await;
        }
        "/endless" => {
            use futures_util::StreamExt;
            let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from("first")))]);
            let body = StreamBody::new(first.chain(futures_util::stream::pending()));
            *response.body_mut() = BodyExt::boxed(body);
        }
        "/broken" => {
            let frames = [
                Ok(Frame::data(Bytes::from("half"))),
                Err(std::io::Error::other("gone")),
            ];
            *response.body_mut() =
                BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        }
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "5".parse().unwrap());
            let frames = [
                Ok(Frame::data(Bytes::from("data"))),
                Ok(Frame::trailers(trailers)),
            ];
            *response.body_mut() =
                BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        }
        _ => return Err(std::io::Error::other("no such page")),
    }
    Ok(response)
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://localhost{path}"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn requests_on_one_connection_are_a_record_each() {
    let Server {
        stream, mut told, ..
    } = Server::start().await;
    let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (method, path, status, bytes) in [
        (Method::GET, "/hello", 200, 5),
        (Method::HEAD, "/hello", 200, 0),
        (Method::GET, "/nothing", 204, 0),
        (Method::GET, "/hello", 200, 5),
    ] {
        let mut request = get(path);
        *request.method_mut() = method;
        let response = sender.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        let expected = (
            path.to_owned(),
            Outcome::Complete,
            Some(status),
            bytes,
            None,
        );
        assert_eq!(told.recv().await.unwrap(), expected);
        sender.ready().await.unwrap();
    }
    assert!(told.try_recv().is_err(), "and no other");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_drops_the_future() {
    let Server {
        stream,
        mut told,
        reached,
    } = Server::start().await;
    let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = tokio::spawn(async move { sender.send_request(get("/never")).await.map(drop) });
    reached.notified().await;
    connection.abort();
    let expected = ("/never".to_owned(), Outcome::FutureDropped, None, 0, None);
    assert_eq!(told.recv().await.unwrap(), expected);
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_drops_the_body() {
    let Server {
        stream, mut told, ..
    } = Server::start().await;
    let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(get("/endless")).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");
    connection.abort();
    let expected = (
        "/endless".to_owned(),
        Outcome::BodyDropped,
        Some(200),
        5,
        None,
    );
    assert_eq!(told.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn a_body_that_breaks_and_a_service_that_fails_are_told_as_such() {
    for (path, outcome, status, bytes) in [
        ("/broken", Outcome::BodyError, Some(200), 4),
        ("/missing", Outcome::Error, None, 0),
    ] {
        let Server {
            stream, mut told, ..
        } = Server::start().await;
        let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let answered = sender.send_request(get(path)).await;
        if let Ok(response) = answered {
            assert!(response.into_body().collect().await.is_err());
        }
        let expected = (path.to_owned(), outcome, status, bytes, None);
        assert_eq!(told.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn trailers_arrive_and_are_in_the_record() {
    let Server {
        stream, mut told, ..
    } = Server::start().await;
    let handshake = conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/trailers")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "5");
    assert_eq!(collected.to_bytes(), "data");
    let expected = (
        "/trailers".to_owned(),
        Outcome::Complete,
        Some(200),
        4,
        Some(5),
    );
    assert_eq!(told.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn a_stream_that_is_reset_alone_leaves_the_others() {
    let Server {
        stream, mut told, ..
    } = Server::start().await;
    let handshake = conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut endless = sender
        .send_request(get("/endless"))
        .await
        .unwrap()
        .into_body();
    endless.frame().await.unwrap().unwrap();
    drop(endless);
    let expected = (
        "/endless".to_owned(),
        Outcome::BodyDropped,
        Some(200),
        5,
        None,
    );
    assert_eq!(told.recv().await.unwrap(), expected);
    let response = sender.send_request(get("/hello")).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    let expected = ("/hello".to_owned(), Outcome::Complete, Some(200), 5, None);
    assert_eq!(told.recv().await.unwrap(), expected);
}
