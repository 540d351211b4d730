//! Real HTTP: clients of a hyper server on loopback that disconnect at every stage.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::{Request, Response};
use buttress_dedup::http::DedupLayer;
use buttress_dedup::{Event, Observer};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tower::Layer;
use tower::util::ServiceExt;

/// A body that the test sends, and whose end is seen when it is dropped.
type Frames = mpsc::Receiver<Bytes>;
type Streaming = StreamBody<Stream>;

struct Stream(Frames);

/// Data that breaks the body.
const BREAK: &[u8] = b"break";

impl futures_util::Stream for Stream {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|frame| {
            frame.map(|data| match &*data {
                BREAK => Err(std::io::Error::other("broke")),
                _ => Ok(Frame::data(data)),
            })
        })
    }
}

/// One call of the handler: it is answered by taking it, and ends when its caller goes.
struct Call {
    answer: tokio::sync::oneshot::Sender<Streaming>,
}

impl Call {
    /// Sends the head, and gives what feeds the body.
    fn answer(self) -> mpsc::Sender<Bytes> {
        let (send, receive) = mpsc::channel(16);
        let _ = self.answer.send(StreamBody::new(Stream(receive)));
        send
    }

    /// Sends the head and a body that breaks after so much of it.
    fn breaks_after(self, text: &'static str) {
        let body = self.answer();
        for data in [text.as_bytes(), BREAK] {
            body.try_send(Bytes::from_static(data)).unwrap();
        }
    }

    /// Waits until its caller has gone.
    async fn gone(mut self) {
        self.answer.closed().await;
    }
}

/// Lets a test wait until so many things have happened.
#[derive(Clone)]
struct Tally(Arc<Semaphore>);

impl Tally {
    async fn take(&self, count: u32) {
        self.0.acquire_many(count).await.unwrap().forget();
    }
}

struct Server {
    address: std::net::SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    joined: Tally,
    layer: DedupLayer<Streaming>,
    started: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let joined = Tally(Arc::new(Semaphore::new(0)));
        let layer = DedupLayer::http().observer(counts(joined.clone()));
        let (send, calls) = mpsc::unbounded_channel();
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let service = layer.layer(tower::service_fn(
            move |_: Request<hyper::body::Incoming>| {
                let (answer, answered) = tokio::sync::oneshot::channel();
                count.fetch_add(1, Ordering::SeqCst);
                send.send(Call { answer }).unwrap();
                async move { Ok::<_, Infallible>(Response::new(answered.await.unwrap())) }
            },
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let service = service.clone();
                let service =
                    hyper::service::service_fn(move |request| service.clone().oneshot(request));
                let io = TokioIo::new(connection);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service),
                );
            }
        });
        Self {
            address,
            calls,
            joined,
            layer,
            started,
        }
    }

    /// A client that has sent its request.
    async fn client(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let request = b"GET /page HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        client
    }

    /// So many clients that wait for the first one's response.
    async fn followers(&self, count: u32) -> Vec<TcpStream> {
        let mut followers = Vec::new();
        for _ in 0..count {
            followers.push(self.client().await);
        }
        self.joined.take(count).await;
        followers
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }
}

fn counts(joined: Tally) -> impl Observer {
    move |event: &Event<'_>| {
        if matches!(event, Event::Joined) {
            joined.0.add_permits(1);
        }
    }
}

/// Reads a response to its end. Who comes when the whole body is there is told its length, others get chunks.
async fn rest(mut client: TcpStream) -> String {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    let all = String::from_utf8(all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    if head.contains("content-length") {
        return body.to_owned();
    }
    body.split("\r\n").skip(1).step_by(2).collect()
}

async fn until(client: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_ne!(
            client.read_buf(&mut seen).await.unwrap(),
            0,
            "closed before {text}"
        );
    }
}

#[tokio::test]
async fn clients_that_leave_before_the_head_hand_over_one_by_one() {
    let mut server = Server::start().await;
    let mut leader = server.client().await;
    let mut call = server.call().await;
    let mut followers = server.followers(20).await;
    for _ in 0..5 {
        drop(leader);
        call.gone().await;
        call = server.call().await;
        leader = followers.remove(0);
    }
    let body = call.answer();
    body.send("shared".into()).await.unwrap();
    drop(body);
    assert_eq!(rest(leader).await, "shared");
    for follower in followers {
        assert_eq!(rest(follower).await, "shared");
    }
    assert_eq!(
        server.started.load(Ordering::SeqCst),
        6,
        "five aborts, six calls"
    );
    assert!(server.layer.snapshot().is_idle());
}

#[tokio::test]
async fn followers_that_leave_before_the_head_disturb_nobody() {
    let mut server = Server::start().await;
    let leader = server.client().await;
    let call = server.call().await;
    drop(server.followers(20).await);
    let body = call.answer();
    body.send("own".into()).await.unwrap();
    drop(body);
    assert_eq!(rest(leader).await, "own");
    assert_eq!(server.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn clients_that_leave_after_the_head_and_in_the_middle_disturb_nobody() {
    let mut server = Server::start().await;
    let mut leader = server.client().await;
    let call = server.call().await;
    let mut followers = server.followers(10).await;
    let body = call.answer();
    until(&mut leader, "200 OK").await;
    drop(leader);
    body.send("first".into()).await.unwrap();
    for follower in &mut followers {
        until(follower, "first").await;
    }
    let mut last = followers.split_off(5);
    drop(followers);
    body.send("second".into()).await.unwrap();
    for client in &mut last {
        until(client, "second").await;
    }
    drop(body);
    for client in last {
        assert_eq!(rest_after(client).await, "0\r\n\r\n", "the end is clean");
    }
    assert_eq!(server.started.load(Ordering::SeqCst), 1);
    assert!(server.layer.snapshot().is_idle());
}

#[tokio::test]
async fn when_everybody_leaves_in_the_middle_the_body_is_dropped_and_the_key_is_free() {
    let mut server = Server::start().await;
    let mut leader = server.client().await;
    let call = server.call().await;
    let mut followers = server.followers(3).await;
    let body = call.answer();
    body.send("first".into()).await.unwrap();
    until(&mut leader, "first").await;
    for follower in &mut followers {
        until(follower, "first").await;
    }
    drop((leader, followers));
    body.closed().await;
    let anew = server.client().await;
    drop(server.call().await.answer());
    assert_eq!(rest(anew).await, "");
    assert_eq!(server.started.load(Ordering::SeqCst), 2);
    assert!(server.layer.snapshot().is_idle());
}

/// What a client still gets.
async fn rest_after(mut client: TcpStream) -> String {
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    all.trim_start_matches("\r\n").to_owned()
}

#[tokio::test]
async fn half_of_a_body_that_broke_does_not_look_whole_to_a_follower() {
    let mut server = Server::start().await;
    let leader = server.client().await;
    let call = server.call().await;
    let followers = server.followers(1).await;
    call.breaks_after("half");
    for client in followers.into_iter().chain([leader]) {
        let response = cut_off(client).await;
        assert!(!response.contains("content-length"), "{response}");
        assert!(!response.ends_with("0\r\n\r\n"), "{response}");
    }
}

/// What has come until the connection was cut, or closed.
async fn cut_off(mut client: TcpStream) -> String {
    let mut all = Vec::new();
    while client.read_buf(&mut all).await.is_ok_and(|read| read > 0) {}
    String::from_utf8(all).unwrap().to_lowercase()
}
