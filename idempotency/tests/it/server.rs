//! Real HTTP: clients of a hyper server on loopback that disconnect at every stage.

use std::convert::Infallible;
use std::net::SocketAddr;

use buttress_idempotency::{IdempotencyLayer, MemoryStore, Recovery, RequestBody, Scoped};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use testkit::body::{Hand, HandBody, by_hand};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tower::Layer;
use tower::util::ServiceExt;

/// One call of the handler, which has its effect when the test says so.
struct Call {
    body: Bytes,
    answer: oneshot::Sender<HandBody>,
}

impl Call {
    fn answer(self) -> Hand {
        let (body, hand) = by_hand();
        assert!(self.answer.send(body).is_ok(), "the handler is still there");
        hand
    }
}

struct Server {
    address: SocketAddr,
    layer: IdempotencyLayer<MemoryStore, Scoped>,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl Server {
    async fn start() -> Self {
        let layer = IdempotencyLayer::new(MemoryStore::new())
            .single_tenant()
            .recovery(Recovery::Reject);
        let (send, calls) = mpsc::unbounded_channel();
        let handler = move |request: Request<RequestBody<hyper::body::Incoming>>| {
            let send = send.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (answer, answered) = oneshot::channel();
                send.send(Call { body, answer }).unwrap();
                Ok::<_, Infallible>(Response::new(answered.await.unwrap()))
            }
        };
        let service = layer.layer(tower::service_fn(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let service = service.clone();
                let service =
                    hyper::service::service_fn(move |request| service.clone().oneshot(request));
                let io = TokioIo::new(connection);
                let serve =
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                tokio::spawn(serve);
            }
        });
        Self {
            address,
            layer,
            calls,
        }
    }

    /// A client that has sent so much of its body, which has four bytes.
    async fn client(&self, body: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let head = "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
            idempotency-key: k\r\ncontent-length: 4\r\n\r\n";
        client
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        client
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }

    /// Status and body of a whole response.
    async fn send(&self) -> (String, String) {
        let mut all = String::new();
        self.client("lamp")
            .await
            .read_to_string(&mut all)
            .await
            .unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Waits until hyper has seen that the client is gone, and the layer has taken its work.
    async fn detached(&self) {
        while self.layer.snapshot().detached == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_effect_finds_it_done() {
    let mut server = Server::start().await;
    let client = server.client("lamp").await;
    let call = server.call().await;
    assert_eq!(call.body, "lamp");
    drop(client);
    server.detached().await;
    let (busy, _) = server.send().await;
    assert!(busy.starts_with("HTTP/1.1 409"), "{busy}");
    call.answer().data("ordered").end();
    server.layer.tasks().drain().await;
    let (replay, body) = server.send().await;
    assert!(replay.contains("idempotency-replayed: true"), "{replay}");
    assert_eq!(body, "ordered");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_has_never_been() {
    let mut server = Server::start().await;
    drop(server.client("la").await);
    drop(server.client("").await);
    let client = server.client("lamp").await;
    let call = server.call().await;
    assert_eq!(call.body, "lamp", "the first that came whole");
    call.answer().data("ordered").end();
    let (replay, _) = {
        drop(client);
        server.layer.tasks().drain().await;
        server.send().await
    };
    assert!(replay.contains("idempotency-replayed: true"), "{replay}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_response_can_fetch_all_of_it() {
    let mut server = Server::start().await;
    let mut client = server.client("lamp").await;
    let hand = server.call().await.answer();
    hand.data("ordered ");
    let mut seen = Vec::new();
    while !seen.ends_with(b"ordered \r\n") {
        assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
    }
    drop(client);
    server.detached().await;
    hand.data("one lamp").end();
    server.layer.tasks().drain().await;
    let (replay, body) = server.send().await;
    assert!(replay.contains("idempotency-replayed: true"), "{replay}");
    assert_eq!(body, "ordered one lamp");
}
