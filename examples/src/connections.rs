//! Connections, from clients and to servers: nobody holds one for ever without asking, and who asks again on one does not meet a server that has just hung up.

mod head_timer;
mod in_time;
mod opening;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::service::{Service, service_fn};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt};

pub(crate) use in_time::InTime;

use head_timer::HeadTimer;
use opening::Opening;

/// How connections of clients are served, over HTTP/1.1 or HTTP/2.
///
/// Whoever connects may be silent for so long, may take so long for the head of a request, and over HTTP/1.1 may rest so long between two of them; then he
/// is hung up on. Over HTTP/2 he is asked every 30 s whether he lives.
#[derive(Clone, Debug)]
pub struct Connections {
    http: auto::Builder<TokioExecutor>,
    patience: Duration,
}

/// What a client's patience is, unless it is said.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Half of what a server's is: a connection on which nothing was asked for that long is not asked on again.
const KEPT: Duration = Duration::from_secs(4);

/// What makes clients of servers, which keep connections for less long than [`Connections`] does.
#[must_use]
pub fn client() -> legacy::Builder {
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT);
    client
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Connections {
    /// Those of clients who are waited for so long.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            // hyper's is the time from one response to the end of the next head.
            .header_read_timeout(patience);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30));
        Self { http, patience }
    }

    /// Settings of the protocol.
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut auto::Builder<TokioExecutor>)) -> Self {
        set(&mut self.http);
        self
    }

    /// Serves `app` in a task, with bodies that do not stop for longer than a minute, until it is told to stop, and then until what is under way has ended.
    #[must_use]
    pub fn serve(
        self,
        listener: TcpListener,
        app: Router,
        stopping: &CancellationToken,
    ) -> JoinHandle<()> {
        let stopping = stopping.clone();
        let open = move |stream, client| (stream, asking(app.clone(), client));
        tokio::spawn(async move {
            let left = self.accept(listener, stopping, open).await;
            left.shutdown().await;
        })
    }

    /// Accepts connections until it is told to stop, serves each in a task of its own with what `open` makes of it, and gives back those that are left.
    pub async fn accept<I, S, B>(
        self,
        listener: TcpListener,
        stopping: CancellationToken,
        mut open: impl FnMut(TcpStream, SocketAddr) -> (I, S),
    ) -> GracefulShutdown
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
        TokioExecutor: Http2ServerConnExec<S::Future, B>,
    {
        let (this, graceful) = (Arc::new(self), GracefulShutdown::new());
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, client)) => {
                        let _ = stream.set_nodelay(true);
                        let (io, service) = open(stream, client);
                        tokio::spawn(Arc::clone(&this).hold(io, service, graceful.watcher()));
                    }
                    // Too many open files, or a client that has gone: others may be served.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = stopping.cancelled() => return graceful,
            }
        }
    }

    /// One connection, until it ends.
    async fn hold<I, S, B>(self: Arc<Self>, io: I, service: S, watcher: Watcher)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Error: Into<BoxError>> + 'static,
        TokioExecutor: Http2ServerConnExec<S::Future, B>,
    {
        let io = TokioIo::new(Opening::new(io, self.patience));
        let mut http = self.http.clone();
        http.http1().timer(HeadTimer::default());
        let serving = http.serve_connection_with_upgrades(io, service);
        // Its errors are the client's: it has gone, takes too long, or speaks another language.
        let _ = watcher.watch(serving).await;
    }
}

/// What a client asks `app`.
fn asking(
    app: Router,
    client: SocketAddr,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(InTime::new(body)));
        request.extensions_mut().insert(ConnectInfo(client));
        app.clone().oneshot(request)
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::in_time::STALL;
    use super::opening::PREFACE;
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    /// A client who is waited for for eight seconds, of a clock that stands still until everybody waits for it.
    fn connect() -> (DuplexStream, JoinHandle<()>, GracefulShutdown) {
        let app = Router::new()
            .route("/", get(async || "page"))
            .route("/", post(async |body: String| body))
            .route(
                "/slow",
                get(async || tokio::time::sleep(5 * PATIENCE).await),
            );
        let (client, server) = duplex(1 << 16);
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Connections::default());
        let service = asking(app, ([127, 0, 0, 1], 80).into());
        let held = tokio::spawn(connections.hold(server, service, graceful.watcher()));
        (client, held, graceful)
    }

    /// What is said until the server hangs up, and how long that takes.
    async fn until_hung_up(client: &mut DuplexStream) -> (String, Duration) {
        let (begun, mut said) = (Instant::now(), Vec::new());
        client.read_to_end(&mut said).await.unwrap();
        (String::from_utf8_lossy(&said).into(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_ask_in_time_is_hung_up_on() {
        let half_a_preface = std::str::from_utf8(&PREFACE[..20]).unwrap();
        for half in [
            "",
            "G",
            "PRI",
            half_a_preface,
            "PRIX",
            &GET[..20],
            &GET[..GET.len() - 2],
        ] {
            let (mut client, held, _graceful) = connect();
            client.write_all(half.as_bytes()).await.unwrap();
            let (said, waited) = until_hung_up(&mut client).await;
            assert!(!said.contains("200"), "{half:?}: {said}");
            assert!(
                waited >= PATIENCE && waited < 2 * PATIENCE,
                "{half:?}: {waited:?}"
            );
            held.await.unwrap();
        }
    }

    /// A byte now and then does not make it longer.
    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_has_no_more_time_than_another() {
        let (client, held, _graceful) = connect();
        let (_reads, mut writes) = tokio::io::split(client);
        let begun = Instant::now();
        let drips = async {
            for byte in GET.repeat(100).replace("\r\n\r\n", "\r\nX-").bytes() {
                if writes.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(PATIENCE / 10).await;
            }
        };
        drips.await;
        held.await.unwrap();
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_for_too_long_between_two_requests_is_hung_up_on() {
        let (mut client, held, _graceful) = connect();
        for _ in 0..3 {
            client.write_all(GET.as_bytes()).await.unwrap();
            let mut said = vec![0; 1024];
            let read = client.read(&mut said).await.unwrap();
            assert!(said[..read].ends_with(b"page"));
            tokio::time::sleep(PATIENCE / 2).await;
        }
        let (said, waited) = until_hung_up(&mut client).await;
        assert_eq!(
            (said.as_str(), waited <= PATIENCE),
            ("", true),
            "{waited:?}"
        );
        held.await.unwrap();
    }

    /// Only heads are waited for so.
    #[tokio::test(start_paused = true)]
    async fn slow_bodies_and_slow_answers_have_their_time() {
        let (mut client, _held, _graceful) = connect();
        let slow = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n";
        client.write_all(slow.as_bytes()).await.unwrap();
        let mut said = vec![0; 1024];
        let read = client.read(&mut said).await.unwrap();
        assert!(said[..read].starts_with(b"HTTP/1.1 200"));
        let post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbo";
        client.write_all(post.as_bytes()).await.unwrap();
        tokio::time::sleep(5 * PATIENCE).await;
        client.write_all(b"dy").await.unwrap();
        assert!(until_hung_up(&mut client).await.0.ends_with("body"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let (mut client, held, _graceful) = connect();
        let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo";
        client.write_all(post.as_bytes()).await.unwrap();
        let (said, waited) = until_hung_up(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
        assert!(waited >= STALL && waited < 2 * STALL, "{waited:?}");
        held.await.unwrap();
    }

    /// RFC 9113, 3.4 and 6.7: it gives no sign of life.
    #[tokio::test(start_paused = true)]
    async fn who_says_no_more_than_the_preface_is_hung_up_on() {
        let (mut client, held, _graceful) = connect();
        client.write_all(PREFACE).await.unwrap();
        let (_, waited) = until_hung_up(&mut client).await;
        assert!(waited < Duration::from_secs(60), "{waited:?}");
        held.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_not_asked_is_not_waited_for_at_the_end() {
        for half in ["", "PRI"] {
            let (mut client, held, graceful) = connect();
            client.write_all(half.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            let begun = Instant::now();
            graceful.shutdown().await;
            held.await.unwrap();
            assert_eq!(begun.elapsed(), Duration::ZERO, "{half:?}");
        }
    }
}
