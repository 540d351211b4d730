//! How the shop calls other services: one stack per service, in the order that ARCHITECTURE.md gives. A call is its tenant's: it
//! carries `x-tenant`, by which stored responses and flights are kept apart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use buttress_cache::Cache;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_circuit::feed::Trips;
use buttress_circuit::{Backoff, Breaker, CircuitLayer, Probes, Window, consecutive, failure_rate};
use buttress_dedup::DedupLayer;
use buttress_trace_ctx::{Head, TraceLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::connections;
use crate::retry::SafeRetries;
use crate::storefront::observe;
use crate::storefront::stats::Stats;
use crate::storefront::tenant::{self, Tenant};
use crate::under_way::Active;

pub(crate) type Outgoing = Request<Full<Bytes>>;

/// Counts the flights of a stack, and who waits for them, whose types nobody wants to name.
type Flights = Arc<dyn Fn() -> (usize, usize) + Send + Sync>;

/// A service elsewhere, behind its breaker.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) breaker: Breaker,
    pub(crate) responses: Cache<CachedResponse>,
    flights: Flights,
    address: SocketAddr,
    stack: BoxCloneSyncService<Outgoing, Response<Body>, BoxError>,
}

impl Remote {
    /// cache → dedup → retry → trace → circuit → timeout → concurrency limit → connection.
    pub(crate) fn new(
        name: &'static str,
        address: SocketAddr,
        timeout: Duration,
        stats: &Arc<Stats>,
        active: &Active,
        trips: Option<Trips>,
    ) -> Self {
        let breaker = breaker(name, stats, trips);
        let responses = CachedResponse::cache().build();
        let cache = HttpCacheLayer::new(responses.clone()).partition(tenant::partition);
        let dedup = DedupLayer::http().key(|parts, key| Some(key.with(tenant::partition(parts))));
        let flights = {
            let (cache, dedup) = (cache.clone(), dedup.clone());
            Arc::new(move || {
                let below = dedup.snapshot();
                let flights = cache.flights() + below.flights;
                (flights, cache.waiters() + below.waiters)
            })
        };
        let connection = connections::client().build_http();
        let stack = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(cache)
            .layer(dedup)
            .retry(SafeRetries::default())
            .layer(
                TraceLayer::client()
                    .route(move |_: &Head<'_>| Some(name.into()))
                    .sink((observe::traces(stats), active.clone())),
            )
            .layer(CircuitLayer::http(breaker.clone()))
            .timeout(timeout)
            .concurrency_limit(64)
            .service(connection)
            .boxed_clone_sync();
        Self {
            breaker,
            responses,
            flights,
            address,
            stack,
        }
    }

    /// How many calls are under way that others can join, and how many have joined one.
    pub(crate) fn flights(&self) -> (usize, usize) {
        (self.flights)()
    }

    /// Sends a tenant's request to `path`.
    pub(crate) async fn send(
        &self,
        tenant: &Tenant,
        request: http::request::Builder,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<Body>, BoxError> {
        let uri = format!("http://{}{path}", self.address);
        let request = request.uri(uri).header(tenant::HEADER, tenant.as_str());
        let request = request.body(Full::new(body.into()))?;
        self.stack.clone().oneshot(request).await
    }
}

trait BoxedCloneSync<R>: tower::Service<R> + Sized {
    fn boxed_clone_sync(self) -> BoxCloneSyncService<R, Self::Response, Self::Error>
    where
        Self: Clone + Send + Sync + 'static,
        Self::Future: Send + 'static,
    {
        BoxCloneSyncService::new(self)
    }
}

impl<S: tower::Service<R>, R> BoxedCloneSync<R> for S {}

/// Opens after five failures in a row, or when half of ten calls within ten seconds fail.
///
/// It tells `trips` when it does, for those who call the same service from other processes.
fn breaker(name: &'static str, stats: &Arc<Stats>, trips: Option<Trips>) -> Breaker {
    let seconds = Duration::from_secs;
    let breaker = Breaker::builder(name)
        .trip(
            failure_rate(0.5)
                .over(Window::time(seconds(10)))
                .min_calls(10)
                .or(consecutive(5)),
        )
        .open_for(Backoff::constant(seconds(5)))
        .half_open(Probes::new(1).max_wait(seconds(5)))
        .observer(observe::breaker(stats));
    let breaker = match trips {
        Some(trips) => breaker.observer(trips),
        None => breaker,
    };
    breaker.build().expect("these settings are in range")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_call_of_another_is_counted() {
        // It accepts nobody.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (stats, active) = (Arc::new(Stats::new()), Active::default());
        let address = silent.local_addr().unwrap();
        let patience = Duration::from_mins(1);
        let remote = Remote::new("silent", address, patience, &stats, &active, None);
        let tenant = Tenant::default();
        let ask = || remote.send(&tenant, Request::builder(), "/", "");
        let (mut one, mut other) = (spawn(ask()), spawn(ask()));
        assert!(one.poll().is_pending() && other.poll().is_pending());
        assert_eq!(remote.flights().1, 1, "the other waits for the one");
        drop((one, other));
        assert_eq!(remote.flights(), (0, 0));
    }
}
