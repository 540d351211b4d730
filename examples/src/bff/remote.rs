//! How a service is called: one stack for each, in the order that ARCHITECTURE.md gives.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_circuit::{Backoff, Breaker, CircuitLayer, Probes, consecutive};
use buttress_dedup::DedupLayer;
use buttress_trace_ctx::{JsonLines, TraceLayer};
use bytes::Bytes;
use examples::connections;
use examples::retry::SafeRetries;
use http::Request;
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

/// A service elsewhere, behind its breaker.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) breaker: Breaker,
    address: SocketAddr,
    stack: BoxCloneSyncService<Request<Full<Bytes>>, Response, BoxError>,
}

impl Remote {
    /// cache → dedup → retry → trace → circuit → timeout → concurrency limit → connection.
    pub(crate) fn new(
        name: &'static str,
        address: SocketAddr,
        timeout: Duration,
        quiet: bool,
    ) -> Self {
        let breaker = breaker(name);
        let trace = TraceLayer::client()
            .route(move |_: &buttress_trace_ctx::Head<'_>| Some(name.into()))
            .sink((!quiet).then(JsonLines::stdout));
        let stack = ServiceBuilder::new()
            .map_response(|response: http::Response<_>| response.map(Body::new))
            .layer(HttpCacheLayer::new(CachedResponse::cache().build()))
            .layer(DedupLayer::http())
            .retry(SafeRetries::default())
            .layer(trace)
            .layer(CircuitLayer::http(breaker.clone()))
            .timeout(timeout)
            .concurrency_limit(64)
            .service(connections::client().build_http());
        Self {
            breaker,
            address,
            stack: BoxCloneSyncService::new(stack),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response, BoxError> {
        let request = Request::get(format!("http://{}{path}", self.address));
        let request = request.body(Full::default())?;
        self.stack.clone().oneshot(request).await
    }
}

fn breaker(name: &'static str) -> Breaker {
    let seconds = Duration::from_secs;
    Breaker::builder(name)
        .trip(consecutive(4))
        .open_for(Backoff::constant(seconds(2)))
        .half_open(Probes::new(1).max_wait(seconds(2)))
        .build()
        .expect("these settings are in range")
}
