//! Start and end of the process, and of each connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use buttress_circuit::Breaker;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::connections::Connections;
use crate::gateway::answer::Answer;
use crate::gateway::args::Args;
use crate::gateway::head;
use crate::gateway::interim::Connection;
use crate::gateway::routes::Routes;
use crate::gateway::stack::Gateway;
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
        if let Some(upstream) = routes.upstreams().find(|upstream| upstream.is_at(address)) {
            let upstream = &upstream.authority;
            return Err(format!("the upstream {upstream} is the gateway itself").into());
        }
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
        let connection = Connection::new(stream, head::told(client));
        let asker = connection.asker();
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request: Request<Incoming>| {
            let asker = asker(request.version());
            Answer::new(&gateway, asker, request)
        });
        (connection, service)
    })
}
