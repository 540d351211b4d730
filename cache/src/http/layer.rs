//! Choices, and what all services of a layer share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use buttress_wire::tasks::{Spawn, Tasks};
use http::{HeaderMap, HeaderName, request, response};
use tower_layer::Layer;

use super::freshness::Audience;
use super::memory::Memory;
use super::purge::purge_target;
use super::query::Params;
use super::refresh::{Detached, Inline};
use super::service::HttpCache;
use super::settings::{Shared, largest};
use super::status::{self, Lines};
use super::stored::CachedResponse;
use crate::{Cache, Depth};

/// A shared HTTP cache in front of a service (RFC 9111).
///
/// ```
/// use buttress_cache::http::{CachedResponse, HttpCacheLayer};
///
/// let responses = CachedResponse::cache().max_weight(256 << 20).build();
/// let layer = HttpCacheLayer::new(responses.clone()).x_cache(true);
/// // Later, where a product is changed:
/// responses.invalidate(["product:42"]).now();
/// # let _ = layer;
/// ```
///
/// All services that it makes share one store, and so do its clones. The inner service is cloned for a miss and made ready inside the
/// response future: the layer is always ready, so that a hit does not wait behind a saturated backend.
#[derive(Clone)]
#[must_use]
pub struct HttpCacheLayer<M = Inline> {
    shared: Arc<Shared>,
    mode: M,
}

impl HttpCacheLayer {
    /// A cache that keeps its responses in `cache`.
    pub fn new(cache: Cache<CachedResponse>) -> Self {
        Self {
            shared: Arc::new(Shared::new(cache)),
            mode: Inline,
        }
    }
}

impl<M> HttpCacheLayer<M> {
    /// What keeps stored responses apart beside their target: a tenant, above all. Default: nothing.
    pub fn partition<F>(self, partition: F) -> Self
    where
        F: Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync + 'static,
    {
        self.set(|shared| shared.partition = Some(Arc::new(partition)))
    }

    /// Tags of a response, beside its [`CacheTags`](super::CacheTags).
    pub fn tags<F>(self, tags: F) -> Self
    where
        F: Fn(&request::Parts, &response::Parts) -> Vec<String> + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.tags = Some(Arc::new(tags)))
    }

    /// Keys of the same cache that a response goes with.
    pub fn depends_on<F>(self, keys: F) -> Self
    where
        F: Fn(&request::Parts, &response::Parts) -> Vec<Vec<u8>> + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.depends_on = Some(Arc::new(keys)))
    }

    /// What a request is stored under in place of its scheme, authority, path and query; `None` for those. It has to tell apart all that the origin does.
    pub fn key<F>(self, key: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<Vec<u8>> + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.key = Some(Arc::new(key)))
    }

    /// Which requests are for the cache at all; others pass by it. Default: all.
    pub fn cache_if<F>(self, cacheable: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.cacheable = Some(Arc::new(cacheable)))
    }

    /// Which responses are stored, of those that may be. Default: all.
    pub fn store_if<F>(self, storable: F) -> Self
    where
        F: Fn(&request::Parts, &response::Parts) -> bool + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.storable = Some(Arc::new(storable)))
    }

    /// How long a response is fresh, in place of what it says itself; `None` for that. What it forbids stays forbidden.
    pub fn ttl<F>(self, ttl: F) -> Self
    where
        F: Fn(&request::Parts, &response::Parts) -> Option<Duration> + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.ttl = Some(Arc::new(ttl)))
    }

    /// Parameters of the query that tell nothing apart; a name that ends in `*` stands for all that begin so. Names are compared as they are written. Default: none.
    pub fn ignore_params<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.set(|shared| shared.params = Params::Except(names))
    }

    /// The parameters of the query that tell something apart, in place of all. Those whose name an origin may read otherwise than it is written count too.
    pub fn only_params<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.set(|shared| shared.params = Params::Only(names))
    }

    /// Listens to `No-Vary-Search`: what the origin says of the parameters of a path. It costs each request a look-up. Default: no.
    pub fn no_vary_search(self, listen: bool) -> Self {
        self.set(|shared| shared.search = listen)
    }

    /// A field of responses that has tags, apart by commas or spaces: `Surrogate-Key`, `Cache-Tag`. [Purges](Self::purge) name tags in it too. A
    /// response that has more than 256 is not stored.
    pub fn tag_header(self, name: HeaderName) -> Self {
        self.set(|shared| shared.tag_header = Some(name))
    }

    /// Answers the method `PURGE` for those who may: takes what is at the target, or what has the tags of the [tag header](Self::tag_header) if there are any. With
    /// `X-Soft-Purge` what is at the target is stale then, and not gone; what has tags always goes. Done is a 204; who may not gets a 403 problem. Default: the method is passed on.
    pub fn purge<F>(self, may_purge: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        self.set(|shared| shared.hooks.purge = Some(Arc::new(may_purge)))
    }

    /// Takes what is at the target of a request like this one, with all its variants. At [`Depth::Expire`] it is stale then: to be validated, and there for
    /// when the inner service fails. By tags, the [cache](crate::Cache) itself does it.
    pub fn purge_target(&self, parts: &request::Parts, depth: Depth) {
        purge_target(&self.shared, parts, depth);
    }

    /// Stores the response to a `POST` that says that it is what is at its target, by `Content-Location`, and how long it is fresh: for `GET` and
    /// `HEAD` (RFC 9110, 9.3.3). Default: no.
    pub fn store_post(self, store: bool) -> Self {
        self.set(|shared| shared.store_post = store)
    }

    /// What a request says in a field that a response varies by, where the field itself says more than the origin looks at: a class of
    /// devices in place of a `User-Agent`. `None` for the field as it is; then only lists of the negotiating fields are
    /// compared as lists.
    pub fn normalize<F>(self, normalize: F) -> Self
    where
        F: for<'a> Fn(&HeaderName, &'a HeaderMap) -> Option<Cow<'a, [u8]>> + Send + Sync + 'static,
    {
        self.set(|shared| shared.normalize = Some(Arc::new(normalize)))
    }

    /// How long a response is fresh that has a cacheable status and says nothing itself. Default: it is not stored.
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.set(|shared| shared.rules.default_ttl = Some(ttl))
    }

    /// Stores responses that set a cookie too: everyone gets the same one. Default: they are not stored.
    pub fn allow_set_cookie(self) -> Self {
        self.set(|shared| shared.rules.allow_set_cookie = true)
    }

    /// Guesses how long a response is fresh that does not say: a tenth of the time since its `Last-Modified`, at most `cap` (RFC 9111, 4.2.2).
    /// For the statuses that are cacheable by their meaning, and for `public`. Default: no guesses.
    pub fn heuristic(self, cap: Duration) -> Self {
        self.set(|shared| shared.rules.heuristic = Some(cap))
    }

    /// The cache of one user: stores what is `private`, sets cookies or needs `Authorization`, and does not listen to what is said to
    /// shared caches. [Partition](Self::partition) it by user, or give each user one.
    pub fn private(self) -> Self {
        self.set(|shared| {
            shared.rules.audience = Audience::Private;
            shared.rules.targets = Arc::new([]);
        })
    }

    /// The fields that count for this cache in place of `Cache-Control` and `Expires`: the first that is there and valid (RFC 9213).
    /// Default: `CDN-Cache-Control`, and none in a [private](Self::private) cache.
    pub fn targeted(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|shared| shared.rules.targets = names.into_iter().collect())
    }

    /// Takes a request's `Cookie` for no sign that the response is one user's: for sites that give everybody one, and read it for
    /// nothing that they cache. Default: such a response needs the same leave as one to `Authorization` (RFC 9111, 3.5).
    pub fn ignore_cookie(self) -> Self {
        self.set(|shared| shared.rules.ignore_cookie = true)
    }

    /// How long a response is kept after it has become stale. Default: a day; weight pushes it out before.
    pub fn keep_stale(self, keep: Duration) -> Self {
        self.set(|shared| shared.keep = keep)
    }

    /// For how long a response that was fresh may be used stale while it is asked for anew, if it does not say itself and nothing forbids it
    /// (RFC 5861, 3). Default: not at all.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.set(|shared| shared.rules.stale.while_revalidating = window)
    }

    /// For how long a stale response may be used when the inner service fails, with an error or with 500, 502, 503 or 504, if it does not say
    /// itself and nothing forbids it (RFC 5861, 4). A response that says nothing of how long it is fresh is not kept for that. Default: not at all.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.set(|shared| shared.rules.stale.if_error = window)
    }

    /// Refreshes what is used while it is stale in a task. Wait for these [`tasks`](Self::tasks) at shutdown. Requires of the service, its future
    /// and its requests that they can be sent. Without it, one of those who ask does so, and waits.
    pub fn detached(self, spawn: impl Spawn) -> HttpCacheLayer<Detached> {
        HttpCacheLayer {
            shared: self.shared,
            mode: Detached(Tasks::new(spawn)),
        }
    }

    /// Whether requests for the same that come at the same time are forwarded once. Default: yes.
    pub fn collapse(self, collapse: bool) -> Self {
        self.set(|shared| shared.collapse = collapse)
    }

    /// For how long requests whose answer could not be shared are let through at once, in whole seconds and perhaps one more. Zero remembers nothing. Default: 10 s.
    pub fn private_memory(self, keep: Duration) -> Self {
        self.set(|shared| shared.private = Memory::new(keep))
    }

    /// How many bytes of each streaming body are kept for readers that are behind. Default: 1 MiB.
    pub fn window(self, bytes: usize) -> Self {
        self.set(|shared| shared.window = bytes)
    }

    /// For how long in total a slow reader may hold up those it shares a body with, before it is cut off with an error. Default: 5 s.
    pub fn stall(self, total: Duration) -> Self {
        self.set(|shared| shared.stall = total)
    }

    /// How many variants of one target are stored. Default: 64.
    pub fn max_variants(self, max: usize) -> Self {
        self.set(|shared| shared.max_variants = max)
    }

    /// The largest body that is stored, in bytes; larger ones stream by. Default: 8 MiB. It is never more than the largest value that the cache
    /// [keeps in memory](crate::Memory): with 64 MiB, the default [room](crate::Builder::max_weight), that is 31 MiB.
    pub fn max_object(self, bytes: usize) -> Self {
        self.set(|shared| shared.max_object = bytes.min(largest(&shared.cache)))
    }

    /// Copies the fields that are stored into memory of their own. What a connection has read is in a buffer that lives as long as any part of it, and that no
    /// weight tells of: wanted where responses come from a connection, as hyper's do, and the bound on memory is to be one. A hit then counts references
    /// to fields that were static, too. Bodies are copied in any case. Default: no.
    pub fn copy_fields(self, copy: bool) -> Self {
        self.set(|shared| shared.marks.copies = copy)
    }

    /// What this cache is called in `Cache-Status`.
    ///
    /// # Panics
    ///
    /// When `name` is not a token (RFC 9110, section 5.6.2).
    pub fn name(self, name: &str) -> Self {
        assert!(
            buttress_wire::lex::is_token(name.as_bytes()),
            "a cache's name is a token"
        );
        let name = status::name(name);
        self.set(|shared| {
            shared.lines = Lines::of(&name);
            shared.marks.name = name.into();
        })
    }

    /// Whether responses also tell in `X-Cache`: `HIT-MEMORY`, `HIT-REDIS`, `STALE`, `REVALIDATED`, `COLLAPSED`, `MISS`, `BYPASS`. Default: no.
    pub fn x_cache(self, x_cache: bool) -> Self {
        self.set(|shared| shared.marks.x_cache = x_cache)
    }

    /// Whether `Cache-Status` also tells the target that the response is stored under. Default: no.
    pub fn tell_key(self, tell: bool) -> Self {
        self.set(|shared| shared.tell_key = tell)
    }

    /// Puts the [`CacheOutcome`](super::CacheOutcome) into the extensions of every response that was stored or forwarded,
    /// for layers outside. It costs a hit
    /// three allocations.
    pub fn response_extension(self) -> Self {
        self.set(|shared| shared.extension = true)
    }

    /// How many requests are forwarded now that others can join, or are about to be stored; and how many responses are refreshed while they are used.
    #[must_use]
    pub fn flights(&self) -> usize {
        let (flights, refreshes) = (&self.shared.flights, &self.shared.refreshes);
        flights.snapshot().flights + refreshes.snapshot().flights
    }

    /// How many requests wait now for the response to another one.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.shared.flights.snapshot().waiters
    }

    fn set(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl HttpCacheLayer<Detached> {
    /// The refreshes that are under way: wait for them at shutdown, by [`Tasks::drain`].
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.mode.0
    }
}

impl<S, M: Clone> Layer<S> for HttpCacheLayer<M> {
    type Service = HttpCache<S, M>;

    fn layer(&self, inner: S) -> HttpCache<S, M> {
        HttpCache::new(inner, Arc::clone(&self.shared), self.mode.clone())
    }
}

impl<M> fmt::Debug for HttpCacheLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("name", &self.shared.marks.name)
            .field("rules", &self.shared.rules)
            .finish_non_exhaustive()
    }
}
