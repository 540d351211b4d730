//! What the shop is made of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use buttress_cache::Cache;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_dedup::http::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, Scoped};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::caller;
use crate::catalogue::Catalogue;
use crate::client::Remote;
use crate::events::Feed;
use crate::limits::Limits;
use crate::observe;
use crate::stats::Stats;
use crate::tokens::Keys;
use crate::upstream::Upstream;

pub(crate) struct Shop {
    pub(crate) catalogue: Catalogue,
    pub(crate) payments: Remote,
    pub(crate) recommendations: Remote,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) pages: Pages,
    pub(crate) orders: Orders,
    pub(crate) dedup: DedupLayer<Body>,
    pub(crate) feed: Feed,
    pub(crate) stats: Arc<Stats>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    /// Whether whoever has no token is nobody.
    pub(crate) strict: bool,
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
    pub(crate) store: MemoryStore,
    pub(crate) layer: IdempotencyLayer<MemoryStore, Scoped>,
}

impl Shop {
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        upstream_address: SocketAddr,
        args: &Args,
        stopping: CancellationToken,
    ) -> Self {
        let stats = Arc::new(Stats::new());
        Self {
            catalogue: Catalogue::new(),
            payments: Remote::new("payments", upstream_address, args.timeout(), &stats),
            recommendations: Remote::new(
                "recommendations",
                upstream_address,
                args.timeout(),
                &stats,
            ),
            upstream,
            pages: Pages::new(&stats),
            orders: Orders::new(args, &stats),
            dedup: flights(&stats),
            feed: Feed::new(),
            stats,
            keys: Keys::new(),
            limits: Limits::new(args),
            strict: args.strict,
            stopping,
        }
    }
}

impl Pages {
    fn new(stats: &Arc<Stats>) -> Self {
        let stored = CachedResponse::cache()
            .max_weight(64 << 20)
            .observer(observe::cache(stats))
            .build();
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
    fn new(args: &Args, stats: &Arc<Stats>) -> Self {
        let store = MemoryStore::builder()
            .max_keys(args.max_keys)
            .max_bytes(64 << 20)
            .build();
        let layer = IdempotencyLayer::new(store.clone())
            .scope(caller::principal)
            .lease(Duration::from_secs(30))
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
