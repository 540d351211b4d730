//! The layers, in the order that ARCHITECTURE.md gives.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use buttress_cache::http::{CachedResponse, Detached, HttpCacheLayer, ResponseCodec};
use buttress_cache::l2::{RedisL2, SecondLevel};
use buttress_cache::{Cache, Depth};
use buttress_circuit::{
    Backoff, Breaker, CircuitLayer, Probes, Rejected, State, Window, consecutive, failure_rate,
};
use buttress_dedup::http::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, RequestBody, Scoped};
use buttress_trace_ctx::{JsonLines, TraceLayer};
use buttress_wire::{Protocol, Refusal, grpc::Code};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::util::{MapRequest, MapResponse};
use tower::{BoxError, Layer, Service, service_fn};

use crate::gateway::admin::is_authorized;
use crate::gateway::args::{Args, Part};
use crate::gateway::erased::{Answering, Erased};
use crate::gateway::proxy::{self, Asked, Body, Pool, boxed};
use crate::gateway::routes::{Routes, Upstream};
use crate::gateway::settled::SettledLayer;
use crate::gateway::{caller, head, health};
use crate::under_way::{Active, Kept, UnderWay, permits};

/// What all requests go through, and what there is to look at.
pub(crate) struct Gateway {
    stack: Erased<Asked, Infallible>,
    /// What is below all layers but those of each upstream.
    to_upstream: Erased<Body, Infallible>,
    /// Who may purge.
    pub(crate) token: Option<Arc<str>>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) pool: Pool,
    pub(crate) max_fields: Option<usize>,
    pub(crate) keep_case: bool,
    /// How long one end of a tunnel may be silent when the other has ended.
    pub(crate) linger: Duration,
    pub(crate) parts: Parts,
    /// Ends the tunnels, which would otherwise last for as long as both of their ends.
    pub(crate) over: CancellationToken,
}

/// What there is to look at, of the layers that are in use.
pub(crate) struct Parts {
    pub(crate) cache: Option<Cached>,
    pub(crate) dedup: Option<DedupLayer<Body>>,
    pub(crate) idempotency: Option<Keyed>,
    /// Of each upstream.
    pub(crate) breakers: Vec<Breaker>,
    active: Option<Active>,
}

impl Gateway {
    pub(crate) fn new(
        args: &Args,
        routes: Routes,
        active: Option<Active>,
    ) -> Result<Self, BoxError> {
        let (routes, pool) = (Arc::new(routes), proxy::pool());
        let upstreams: Vec<_> = routes
            .upstreams()
            .map(|upstream| ToUpstreams::new(upstream, &pool, args))
            .collect();
        let breakers = upstreams
            .iter()
            .filter_map(|to| to.breaker.clone())
            .collect();
        let mut parts = Parts {
            cache: None,
            dedup: None,
            idempotency: None,
            breakers,
            active,
        };
        let to_upstream = route(&routes, upstreams);
        let stack = parts.layers(args, to_upstream.clone())?;
        let settled = SettledLayer(|request: &Request<Body>| Protocol::of(request.headers()));
        Ok(Self {
            stack,
            to_upstream: around(to_upstream, &settled),
            token: args.purge_token.as_deref().map(Into::into),
            routes,
            pool,
            max_fields: args.max_fields.map(NonZeroUsize::get),
            keep_case: args.keep_case,
            linger: args.tunnel_linger(),
            parts,
            over: CancellationToken::new(),
        })
    }

    /// Through all layers.
    pub(crate) fn answer(&self, request: Request<Asked>) -> Answering<Infallible> {
        self.stack.answer(request)
    }

    /// Past those that keep or share answers.
    pub(crate) fn pass(&self, request: Request<Body>) -> Answering<Infallible> {
        self.to_upstream.answer(request)
    }

    /// Asks the upstreams how they are, until what this gives is dropped.
    pub(crate) fn watch(&self, path: &Uri) -> JoinSet<()> {
        let breaker = |upstream: &Upstream| {
            let name = upstream.authority.as_str();
            let mut breakers = self.parts.breakers.iter();
            breakers.find(|breaker| &**breaker.name() == name).cloned()
        };
        let upstreams = self.routes.upstreams();
        let watched = upstreams.map(|upstream| (Arc::clone(upstream), breaker(upstream)));
        health::watch(&self.pool, watched, path)
    }
}

impl Parts {
    /// Outermost last, for each is put around those before.
    fn layers(
        &mut self,
        args: &Args,
        to_upstream: Erased,
    ) -> Result<Erased<Asked, Infallible>, BoxError> {
        let mut stack = to_upstream;
        if args.has(Part::Dedup) {
            let dedup = DedupLayer::http();
            stack = around(stack, &dedup);
            self.dedup = Some(dedup);
        }
        if args.has(Part::Idempotency) {
            // Responses are pieces of what was read from upstreams, a few hundred bytes in some thousand.
            let store = MemoryStore::builder().copy(true).build();
            let caller = caller::scope(args.session.clone());
            let layer = IdempotencyLayer::new(store.clone()).scope(caller);
            self.idempotency = Some(Keyed {
                store,
                layer: layer.clone(),
            });
            // It keeps what it reads of a request, and hands on another body.
            let inner = MapRequest::new(stack, |request: Request<RequestBody<Body>>| {
                request.map(Body::new)
            });
            stack = Erased::new(layer.layer(inner));
        }
        // Below the cache, whose answers go no further.
        let stack = Erased::new(MapRequest::new(stack, head::pass_on));
        let cached = args.has(Part::Cache).then(|| Cached::new(args));
        self.cache = cached.transpose()?;
        let trace = args.has(Part::Trace).then(|| {
            let lines = (!args.quiet).then(JsonLines::stdout);
            let sinks = (lines, self.active.clone());
            TraceLayer::server().echo_request_id().sink(sinks)
        });
        let cache = self.cache.as_ref().map(|cached| cached.layer.clone());
        let settled = SettledLayer(|request: &Request<Asked>| request.body().protocol);
        // A hit goes through these and no others: its way is as short as it can be.
        let stack = match (trace, cache) {
            (Some(trace), Some(cache)) => around(stack, &(trace, settled, cache)),
            (Some(trace), None) => around(stack, &(trace, settled)),
            (None, Some(cache)) => around(stack, &(settled, cache)),
            (None, None) => around(stack, &settled),
        };
        Ok(stack)
    }

    /// Takes what is at a target out of the cache.
    pub(crate) fn forget(&self, target: &http::request::Parts) {
        if let Some(cached) = &self.cache {
            cached.layer.purge_target(target, Depth::Remove);
        }
    }

    /// How much is under way.
    pub(crate) fn under_way(&self) -> UnderWay {
        let mut now = UnderWay {
            requests: self.active.as_ref().map_or(0, Active::count),
            permits: permits(&self.breakers),
            ..UnderWay::default()
        };
        if let Some(dedup) = &self.dedup {
            let dedup = dedup.snapshot();
            (now.flights, now.waiters) = (dedup.flights, dedup.waiters);
        }
        if let Some(keyed) = &self.idempotency {
            let keys = keyed.layer.snapshot();
            now.claims = keyed.store.running();
            now.waiters += keys.waiting;
            now.tasks += keys.tasks;
        }
        if let Some(cached) = &self.cache {
            let responses = cached.responses.snapshot();
            now.flights += cached.layer.flights() + responses.filling;
            now.waiters += cached.layer.waiters();
            now.tasks += cached.layer.tasks().running() + responses.background;
        }
        now
    }

    /// What is kept on purpose.
    pub(crate) fn kept(&self) -> Kept {
        let (keyed, cached) = (self.idempotency.as_ref(), self.cache.as_ref());
        Kept {
            clocks: cached.map_or(0, |cached| cached.responses.snapshot().clock),
            ..keyed.map_or_else(Kept::default, |keyed| Kept::keys(&keyed.store))
        }
    }

    /// Waits for what goes on when all connections have ended.
    pub(crate) async fn drain(&self) {
        if let Some(keyed) = &self.idempotency {
            keyed.layer.tasks().drain().await;
        }
        if let Some(cached) = &self.cache {
            cached.layer.tasks().drain().await;
            cached.responses.drain().await;
        }
    }
}

/// The keys of requests, and what is known of them.
pub(crate) struct Keyed {
    store: MemoryStore,
    layer: IdempotencyLayer<MemoryStore, Scoped>,
}

/// The cache, and what it does in the background.
pub(crate) struct Cached {
    pub(crate) responses: Cache<CachedResponse>,
    pub(crate) layer: HttpCacheLayer<Detached>,
}

impl Cached {
    fn new(args: &Args) -> Result<Self, BoxError> {
        let mut responses = CachedResponse::cache().max_weight(args.cache_size << 20);
        if let Some(url) = &args.redis {
            let redis = RedisL2::open(url, "gateway:responses:v1")
                .map_err(|error| format!("--redis {url}: {error}"))?;
            let level = SecondLevel::new(redis, ResponseCodec);
            responses = responses.l2(level.timeout(args.redis_timeout()));
        }
        let responses = responses.build();
        let mut layer = HttpCacheLayer::new(responses.clone())
            .name("gateway")
            .x_cache(args.x_cache)
            .copy_fields(true)
            .heuristic(Duration::from_secs(24 * 60 * 60))
            .stale_while_revalidate(args.stale_while_revalidate())
            .stale_if_error(args.stale_if_error())
            .tag_header(args.tag_header.clone())
            .store_if(|_, response| {
                let hides = response.extensions.get::<head::Hides>().is_some();
                !hides && !head::varies_by_asker(&response.headers)
            });
        if let Some(token) = args.purge_token.clone() {
            layer = layer.purge(move |parts| is_authorized(&parts.headers, &token));
        }
        let layer = layer.detached(|task| drop(tokio::spawn(task)));
        Ok(Self { responses, layer })
    }
}

/// One upstream, behind what is its own.
struct ToUpstreams {
    upstream: Arc<Upstream>,
    breaker: Option<Breaker>,
    service: Erased,
}

impl ToUpstreams {
    /// trace → circuit → timeout → connection.
    fn new(upstream: &Arc<Upstream>, pool: &Pool, args: &Args) -> Self {
        let (to, pool, timeout) = (Arc::clone(upstream), pool.clone(), args.timeout());
        let connection =
            service_fn(move |request| proxy::send(pool.clone(), Arc::clone(&to), timeout, request));
        let mut service = Erased::new(connection);
        let breaker = args.has(Part::Circuit).then(|| breaker(upstream));
        if let Some(breaker) = &breaker {
            let circuit = CircuitLayer::http(breaker.clone());
            service = around(service, &circuit.classify_http_errors(proxy::verdict));
            // Its own answers are those of a request that was not made: whoever has a key for it may use that again.
            service =
                Erased::new(MapResponse::new(
                    service,
                    |response: Response<Body>| match response.extensions().get::<Rejected>() {
                        Some(_) => proxy::without_effect(response),
                        None => response,
                    },
                ));
        }
        if args.has(Part::Trace) {
            service = around(service, &TraceLayer::client());
        }
        Self {
            upstream: Arc::clone(upstream),
            breaker,
            service,
        }
    }
}

/// Puts a layer around a service, and forgets its type.
fn around<L, R, B, E>(service: Erased<R>, layer: &L) -> Erased<R, E>
where
    R: Send + 'static,
    E: Send + 'static,
    L: Layer<Erased<R>>,
    L::Service:
        Service<Request<R>, Response = Response<B>, Error: Into<E>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<R>>>::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Erased::new(layer.layer(service))
}

impl ToUpstreams {
    /// It says that it serves, if it is asked; and its breaker lets requests pass, where a probe is a request like others if it is not asked.
    fn is_usable(&self) -> bool {
        let upstream = &self.upstream;
        let passes = self.breaker.as_ref().is_none_or(|breaker| {
            let state = breaker.state();
            let waits_for_probe = state == State::HalfOpen && upstream.is_watched();
            !waits_for_probe && !matches!(state, State::Open | State::ForcedOpen)
        });
        passes && upstream.is_serving()
    }
}

/// To an upstream of the request's route.
fn route(routes: &Arc<Routes>, upstreams: Vec<ToUpstreams>) -> Erased {
    let (routes, upstreams) = (Arc::clone(routes), Arc::new(upstreams));
    Erased::new(service_fn(move |request: Request<Body>| {
        let route = routes.find(request.uri().path());
        let find = |upstream: &Upstream| upstreams.iter().find(|to| *to.upstream == *upstream);
        let usable = |upstream: &Upstream| find(upstream).is_some_and(ToUpstreams::is_usable);
        let to = route.and_then(|route| find(route.next(usable)));
        let service = to.map(|to| to.service.clone());
        async move {
            match service {
                Some(service) => service.answer(request).await,
                None => Ok(no_route(&request)),
            }
        }
    }))
}

fn no_route(request: &Request<Body>) -> Response<Body> {
    let refusal = Refusal::new(
        StatusCode::NOT_FOUND,
        "urn:gateway:problem:no-route",
        "No route is for this path",
        Code::NotFound,
    );
    boxed(refusal.response(request.headers()))
}

/// Opens after five failures in a row, or when half of twenty requests within ten seconds fail.
fn breaker(upstream: &Upstream) -> Breaker {
    let seconds = Duration::from_secs;
    Breaker::builder(upstream.authority.to_string())
        .trip(
            failure_rate(0.5)
                .over(Window::time(seconds(10)))
                .min_calls(20)
                .or(consecutive(5)),
        )
        .open_for(Backoff::exponential(seconds(1), 2.0, seconds(30)).jitter(0.2))
        .half_open(Probes::new(1).max_wait(seconds(10)))
        .build()
        .expect("these settings are in range")
}
