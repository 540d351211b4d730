//! What the shop is made of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use buttress_cache::Cache;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_cache::l2::SecondLevel;
use buttress_dedup::http::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, Scoped};
use examples::conditions::Service;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::caller;
use crate::catalogue::Catalogue;
use crate::client::Remote;
use crate::events::Feed;
use crate::key_store::KeyStore;
use crate::limits::Limits;
use crate::observe;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::tokens::Keys;
use crate::upstream::Upstream;

pub(crate) struct Shop {
    pub(crate) catalogue: Catalogue,
    pub(crate) payments: Remote,
    pub(crate) recommendations: Remote,
    /// The services that the shop calls, if they are its own.
    pub(crate) upstream: Option<Arc<Upstream>>,
    pub(crate) pages: Pages,
    pub(crate) orders: Orders,
    pub(crate) dedup: DedupLayer<Body>,
    pub(crate) feed: Feed,
    pub(crate) stats: Arc<Stats>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    /// Whether whoever has no token is nobody.
    pub(crate) strict: bool,
    /// It has been told to stop, and may serve for a while yet.
    pub(crate) leaving: CancellationToken,
    /// Ends the streams that would otherwise never end.
    pub(crate) stopping: CancellationToken,
}

/// The HTTP cache: its store and its layer.
pub(crate) struct Pages {
    pub(crate) stored: Cache<CachedResponse>,
    pub(crate) layer: HttpCacheLayer,
}

/// What makes orders happen once.
pub(crate) struct Orders {
    pub(crate) store: KeyStore,
    pub(crate) layer: IdempotencyLayer<KeyStore, Scoped>,
}

impl Shop {
    pub(crate) fn new(
        upstream: Option<Arc<Upstream>>,
        upstream_address: SocketAddr,
        args: &Args,
        shared: Option<&Shared>,
        pages: Option<SecondLevel<CachedResponse>>,
    ) -> Self {
        let stats = Arc::new(Stats::new());
        let remote = |name| {
            let trips = shared.map(Shared::trips);
            Remote::new(name, upstream_address, args.timeout(), &stats, trips)
        };
        Self {
            catalogue: Catalogue::new(shared.map(|shared| shared.database.clone())),
            payments: remote("payments"),
            recommendations: remote("recommendations"),
            upstream,
            pages: Pages::new(&stats, pages),
            orders: Orders::new(args, &stats, shared),
            dedup: flights(&stats),
            feed: Feed::new(),
            stats,
            keys: Keys::new(),
            limits: Limits::new(args),
            strict: args.strict,
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// A service of the shop's own.
    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.upstream.as_deref()?.service(name)
    }
}

impl Pages {
    fn new(stats: &Arc<Stats>, shared: Option<SecondLevel<CachedResponse>>) -> Self {
        let stored = CachedResponse::cache()
            .max_weight(64 << 20)
            .observer(observe::cache(stats));
        let stored = match shared {
            Some(level) => stored.l2(level),
            None => stored,
        };
        let stored = stored.build();
        let layer = HttpCacheLayer::new(stored.clone())
            .name("storefront")
            .x_cache(true)
            .response_extension()
            // Single flight, inside, shows how that is done by itself.
            .collapse(false)
            .partition(caller::partition);
        Self { stored, layer }
    }
}

impl Orders {
    fn new(args: &Args, stats: &Arc<Stats>, shared: Option<&Shared>) -> Self {
        let memory = MemoryStore::builder()
            .max_keys(args.max_keys)
            .max_bytes(64 << 20);
        let store = match shared {
            Some(shared) => KeyStore::Postgres(shared.database.keys().clone()),
            None => KeyStore::Memory(memory.build()),
        };
        let layer = IdempotencyLayer::new(store.clone())
            .scope(caller::principal)
            .lease(args.lease())
            .observer(observe::idempotency(stats));
        Self { store, layer }
    }
}

fn flights(stats: &Arc<Stats>) -> DedupLayer<Body> {
    DedupLayer::http()
        .key(|parts, key| Some(key.with(caller::principal(parts))))
        .wait_timeout(Duration::from_secs(10))
        .observer(observe::dedup(stats))
}
