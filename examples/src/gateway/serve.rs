//! Start and end of the process, and of each connection.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use buttress_circuit::Breaker;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::connections::{Connections, InTime};
use crate::gateway::args::Args;
use crate::gateway::interim::{Connection, Interim};
use crate::gateway::proxy::{Asker, Body};
use crate::gateway::routes::Routes;
use crate::gateway::stack::Gateway;
use crate::gateway::{admin, head, tunnel};
use crate::under_way::{Active, Kept, UnderWay};
use crate::{say, told_to_stop};

/// Serves until the process is told to stop, and then lets what is under way come to its end.
///
/// # Errors
///
/// When it cannot serve, or gave up at its end on what took too long.
pub async fn run(args: Args) -> Result<(), BoxError> {
    let told = told_to_stop();
    let running = Running::start(args, None).await?;
    say(format_args!("gateway: http://{}", running.address));
    told.await;
    let accepting = running.refuse().await;
    say(format_args!("stopping: finishing what is under way"));
    accepting.finish().await?;
    say(format_args!("stopped"));
    Ok(())
}

/// A gateway that serves, in tasks of its own.
///
/// # Cancellation
///
/// Dropping it leaves the server to itself, for as long as its runtime lives; [`stop`](Self::stop) ends it.
pub struct Running {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    accepting: JoinHandle<GracefulShutdown>,
    stopping: CancellationToken,
    _watches: Option<JoinSet<()>>,
    grace: Duration,
}

impl Running {
    /// Starts one. What it is asked is counted in `active`, if that is there.
    ///
    /// # Errors
    ///
    /// When an address is taken, or what the arguments name cannot be used.
    pub async fn start(args: Args, active: Option<Active>) -> Result<Self, BoxError> {
        let routes = match &args.routes {
            Some(file) => Routes::read(file, &args.upstream),
            None => Routes::all(&args.upstream),
        };
        let routes = routes.map_err(|wrong| wrong.to_string())?;
        let listener = TcpListener::bind(args.listen)
            .await
            .map_err(|error| format!("cannot listen on {} (--listen): {error}", args.listen))?;
        let address = listener.local_addr()?;
        let gateway = Arc::new(Gateway::new(&args, routes, active)?);
        let watches = args.health.as_ref().map(|path| gateway.watch(path));
        let stopping = CancellationToken::new();
        let accepting = accept_until(
            stopping.clone(),
            listener,
            Arc::clone(&gateway),
            args.patience(),
        );
        Ok(Self {
            address,
            gateway,
            accepting: tokio::spawn(accepting),
            stopping,
            _watches: watches,
            grace: args.grace(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How much is under way.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        self.gateway.parts.under_way()
    }

    /// What it keeps on purpose.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.gateway.parts.kept()
    }

    /// One for each upstream, if it has any.
    #[must_use]
    pub fn breakers(&self) -> &[Breaker] {
        &self.gateway.parts.breakers
    }

    /// Forgets all that it has stored of responses.
    pub async fn forget(&self) {
        if let Some(cached) = &self.gateway.parts.cache {
            // Where others share it, it holds here in any case.
            let _ = cached.responses.clear().await;
        }
    }

    /// Accepts nobody any more, and lets what is under way come to its end.
    ///
    /// # Errors
    ///
    /// When that takes longer than it may.
    pub async fn stop(self) -> Result<(), BoxError> {
        self.refuse().await.finish().await
    }

    async fn refuse(self) -> Stopping {
        self.stopping.cancel();
        Stopping {
            connections: self.accepting.await,
            gateway: self.gateway,
            grace: self.grace,
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// One that accepts nobody any more.
struct Stopping {
    connections: Result<GracefulShutdown, JoinError>,
    gateway: Arc<Gateway>,
    grace: Duration,
}

impl Stopping {
    async fn finish(self) -> Result<(), BoxError> {
        let (connections, grace) = (self.connections?, self.grace);
        let finish = async {
            connections.shutdown().await;
            self.gateway.parts.drain().await;
        };
        let finished = tokio::time::timeout(grace, finish).await;
        self.gateway.over.cancel();
        finished.map_err(|_| format!("gave up on what was still under way after {grace:?}").into())
    }
}

/// Boxed, for the compiler cannot see through all the layers that it may change threads.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Gives back the connections that are left.
fn accept_until(
    stopping: CancellationToken,
    listener: TcpListener,
    gateway: Arc<Gateway>,
    patience: Duration,
) -> impl Future<Output = GracefulShutdown> + Send {
    let connections = Connections::new(patience).with(|http| {
        http.http1().preserve_header_case(gateway.keep_case);
        // Up to a hundred are read without asking for memory.
        if let Some(fields) = gateway.max_fields {
            http.http1().max_headers(fields);
        }
    });
    connections.accept(listener, stopping, move |stream, client| {
        let connection = Connection::new(stream);
        let (client, interim) = (head::told(client), connection.interim());
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(Arc::clone(&gateway), client.clone(), interim(), request);
            Box::pin(answer) as Answering
        });
        (connection, service)
    })
}

async fn answer(
    gateway: Arc<Gateway>,
    client: HeaderValue,
    interim: Interim,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(|body| Body::new(InTime::new(body)));
    if admin::is_wanted(&request) {
        // In a box of its own, as what is opened below: no request is to be as large as what is rare.
        return Ok(Box::pin(admin::answer(&gateway, request)).await);
    }
    // A tunnel to wherever a client likes is what a forward proxy gives. This one stands before its upstreams, and supports it for none (RFC 9110, 9.3.6).
    if request.method() == Method::CONNECT {
        return Ok(status(StatusCode::NOT_IMPLEMENTED));
    }
    if !head::has_one_host(request.headers(), request.version()) {
        return Ok(status(StatusCode::BAD_REQUEST));
    }
    if let Err(ours) = head::count_forward(&mut request) {
        return Ok(*ours);
    }
    let (until, version) = (interim.until(), request.version());
    request.extensions_mut().insert(Asker {
        address: client,
        interim: (version == http::Version::HTTP_11).then_some(interim),
    });
    if let Some(wanted) = tunnel::Wanted::of(&request) {
        return Ok(Box::pin(tunnel::open(&gateway, wanted, request)).await);
    }
    head::settle(&mut request);
    let mut response = gateway.answer(request).await;
    *response.version_mut() = version;
    drop(until);
    Ok(response)
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
