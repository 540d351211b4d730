//! What a process does that shares flights with others.

use std::convert::Infallible;
use std::io::BufRead;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_dedup::http::{Dedup, DedupLayer};
use buttress_dedup::{Coordinator, RedisCoordinator};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

use super::process::{LEASE, MARK, URL};

/// Does nothing, unless it is a process of its own.
#[test]
fn works_when_it_is_told_to() {
    let (Ok(url), Ok(lease)) = (std::env::var(URL), std::env::var(LEASE)) else {
        return;
    };
    let lease = Duration::from_millis(lease.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(&url, lease));
}

async fn work(url: &str, lease: Duration) {
    let coordinator = RedisCoordinator::builder()
        .lease(lease)
        .wait(Duration::from_secs(3600))
        .patience(Duration::from_secs(30))
        .cool_off(Duration::ZERO)
        .open(url)
        .unwrap();
    let (calls, mut waiting) = mpsc::unbounded_channel();
    let count = Arc::default();
    let backend = Backend {
        calls,
        count: Arc::clone(&count),
    };
    let coordinator: Arc<dyn Coordinator> = Arc::new(coordinator);
    let service = DedupLayer::http()
        .coordinator("worker", coordinator, 100)
        .layer(backend);
    let mut sent = JoinSet::new();
    let mut commands = commands();
    say("ready");
    while let Some(command) = commands.recv().await {
        match command.as_str() {
            "abort" => sent.abort_all(),
            "answer" => answer(&mut waiting, 10).await,
            "answer large" => answer(&mut waiting, 1000).await,
            send => {
                let number = send.strip_prefix("send ").unwrap().parse().unwrap();
                sent.spawn(send_all(number, service.clone(), Arc::clone(&count)));
            }
        }
    }
}

/// Answers the oldest call with so many bytes.
async fn answer(waiting: &mut Waiting, bytes: usize) {
    let call = waiting.recv().await.unwrap();
    let _ = call.send(vec![b'x'; bytes].into());
}

/// Sends so many requests at once, and says what became of them.
async fn send_all(count: usize, service: Dedup<Backend, Full<Bytes>>, calls: Arc<AtomicUsize>) {
    calls.store(0, Ordering::SeqCst);
    let get = |service: Dedup<Backend, Full<Bytes>>| async move {
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let all: JoinSet<Bytes> = (0..count).map(|_| get(service.clone())).collect();
    let bodies = all.join_all().await;
    let whole = bodies.iter().filter(|body| !body.is_empty()).count();
    let calls = calls.load(Ordering::SeqCst);
    say(&format!("done {whole} of {count}, {calls} calls"));
}

/// Says that it is called, and answers when the test says so.
#[derive(Clone)]
struct Backend {
    calls: mpsc::UnboundedSender<oneshot::Sender<Bytes>>,
    count: Arc<AtomicUsize>,
}

type Waiting = mpsc::UnboundedReceiver<oneshot::Sender<Bytes>>;

impl Service<Request<Empty<Bytes>>> for Backend {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let (send, receive) = oneshot::channel();
        self.count.fetch_add(1, Ordering::SeqCst);
        self.calls.send(send).unwrap();
        say("call");
        Box::pin(async move { Ok(Response::new(Full::new(receive.await.unwrap()))) })
    }
}

/// The lines that this process is told, until the test is over.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    receive
}

#[expect(
    clippy::print_stdout,
    reason = "the test that started this process reads it"
)]
fn say(line: &str) {
    println!("{MARK}{line}");
}
