//! What the shop is made of.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use buttress_cache::Cache;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_cache::l2::SecondLevel;
use buttress_circuit::Breaker;
use buttress_dedup::http::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, Scoped, Store};
use tokio_util::sync::CancellationToken;

use crate::conditions::Service;
use crate::storefront::args::Args;
use crate::storefront::caller;
use crate::storefront::catalogue::Catalogue;
use crate::storefront::client::Remote;
use crate::storefront::events::Feed;
use crate::storefront::key_store::KeyStore;
use crate::storefront::limits::Limits;
use crate::storefront::observe;
use crate::storefront::orders;
use crate::storefront::shared::Shared;
use crate::storefront::stats::Stats;
use crate::storefront::tokens::Keys;
use crate::storefront::upstream::Upstream;
use crate::under_way::{Active, Kept, UnderWay, permits};

/// All of it: shared by the handlers, and looked at by whoever runs it.
pub struct Shop {
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
    pub(crate) active: Active,
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
        let (stats, active) = (Arc::new(Stats::new()), Active::default());
        let remote = |name| {
            let trips = shared.map(Shared::trips);
            let timeout = args.timeout();
            Remote::new(name, upstream_address, timeout, &stats, &active, trips)
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
            active,
            keys: Keys::new(shared.map(|shared| shared.database.token_keys())),
            limits: Limits::new(args),
            strict: args.strict,
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// How much is under way.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        let (dedup, orders) = (self.dedup.snapshot(), self.orders.layer.snapshot());
        let pages = self.pages.stored.snapshot();
        let (one, other) = self.remotes().map(Remote::flights).into();
        let remote = (one.0 + other.0, one.1 + other.1);
        UnderWay {
            requests: self.active.count(),
            permits: permits(&self.breakers()),
            flights: dedup.flights + self.pages.layer.flights() + pages.filling + remote.0,
            // Pages are shared by single flight, and not by their cache.
            waiters: dedup.waiters + orders.waiting + remote.1,
            claims: self.orders.store.running().unwrap_or(orders.tasks),
            tasks: orders.tasks + pages.background,
        }
    }

    /// What it keeps on purpose.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let caches = self.remotes().map(|to| &to.responses);
        let caches = caches.into_iter().chain([&self.pages.stored]);
        Kept {
            orders: self.catalogue.booked(),
            clocks: caches.map(|cache| cache.snapshot().clock).sum(),
            ..self.orders.store.kept()
        }
    }

    /// One for each service that it calls.
    #[must_use]
    pub fn breakers(&self) -> [Breaker; 2] {
        self.remotes().map(|to| to.breaker.clone())
    }

    /// How many answers have said that nobody knows what became of an order.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.stats.state().idempotency.unfinished
    }

    /// Where it keeps the keys of orders.
    pub fn order_keys(&self) -> &impl Store {
        &self.orders.store
    }

    /// Forgets all that it has stored of responses, its own and others'.
    pub async fn forget(&self) {
        let [payments, recommendations] = self.remotes().map(|to| &to.responses);
        for responses in [&self.pages.stored, payments, recommendations] {
            // Where others share it, it holds here in any case.
            let _ = responses.clear().await;
        }
    }

    fn remotes(&self) -> [&Remote; 2] {
        [&self.payments, &self.recommendations]
    }

    /// A service of the shop's own.
    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.upstream.as_deref()?.service(name)
    }
}

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shop")
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
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
            Some(shared) => {
                let (keys, patience) = shared.database.keys();
                KeyStore::Postgres(keys.clone(), patience)
            }
            None => KeyStore::Memory(memory.build()),
        };
        let counts = Arc::clone(stats);
        let layer = IdempotencyLayer::new(store.clone())
            .scope(caller::principal)
            .lease(args.lease())
            .keep(move |head| orders::keep(head, &counts))
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
