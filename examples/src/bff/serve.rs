//! Start and end of the process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use buttress_trace_ctx::{JsonLines, MatchedPath, TraceLayer};
use examples::connections::Connections;
use http::HeaderName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::pages::{self, Shop};
use crate::remote::Remote;
use crate::upstream::{self, Upstream};

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) upstream_address: SocketAddr,
    servers: [JoinHandle<()>; 2],
    stopping: CancellationToken,
}

impl Running {
    pub(crate) async fn start(args: &Args, upstream: Arc<Upstream>) -> io::Result<Self> {
        let listener = TcpListener::bind(args.listen).await?;
        let upstream_listener = TcpListener::bind(args.upstream).await?;
        let (address, upstream_address) = (listener.local_addr()?, upstream_listener.local_addr()?);
        let remote = |name| Remote::new(name, upstream_address, args.timeout(), args.quiet);
        let shop = Arc::new(Shop {
            catalogue: remote("catalogue"),
            reviews: remote("reviews"),
            deadline: args.deadline(),
        });
        let stopping = CancellationToken::new();
        let servers = [
            Connections::default().serve(
                listener,
                traced(pages::router(&shop), args.quiet),
                &stopping,
            ),
            Connections::default().serve(upstream_listener, upstream::router(&upstream), &stopping),
        ];
        Ok(Self {
            address,
            upstream_address,
            servers,
            stopping,
        })
    }

    /// Lets requests end.
    pub(crate) async fn stop(self) -> io::Result<()> {
        self.stopping.cancel();
        for server in self.servers {
            server.await?;
        }
        Ok(())
    }
}

fn traced(app: Router, quiet: bool) -> Router {
    app.layer(
        TraceLayer::server()
            .echo_request_id()
            .echo_trace_id(HeaderName::from_static("x-trace-id"))
            .route(MatchedPath)
            .sink((!quiet).then(JsonLines::stdout)),
    )
}
