//! Choices, and what all services of a layer share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, request, response};
use tower_layer::Layer;

use super::freshness::Audience;
use super::service::HttpCache;
use super::storability::Rules;
use super::store::CachedResponse;
use crate::Cache;

type PartitionFn = dyn Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync;
type TagsFn = dyn Fn(&response::Parts) -> Vec<String> + Send + Sync;

/// A shared HTTP cache in front of a service (RFC 9111).
///
/// ```
/// use buttress_cache::http::{CachedResponse, HttpCacheLayer};
///
/// let responses = CachedResponse::cache().max_weight(256 << 20).build();
/// let layer = HttpCacheLayer::new(responses.clone()).x_cache(true);
/// // Later, where a product is changed:
/// responses.invalidate(["product:42"]);
/// # let _ = layer;
/// ```
///
/// All services that it makes share one store, and so do its clones. The inner service is cloned for a miss and made ready inside the
/// response future: the layer is always ready, so that a hit does not wait behind a saturated backend.
#[derive(Clone)]
#[must_use]
pub struct HttpCacheLayer {
    shared: Arc<Shared>,
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) cache: Cache<CachedResponse>,
    pub(super) partition: Option<Arc<PartitionFn>>,
    pub(super) tags: Option<Arc<TagsFn>>,
    pub(super) rules: Rules,
    pub(super) max_object: usize,
    /// How long a stale response is kept.
    pub(super) keep: Duration,
    pub(super) name: Arc<str>,
    pub(super) x_cache: bool,
    pub(super) extension: bool,
}

impl HttpCacheLayer {
    /// A cache that keeps its responses in `cache`.
    pub fn new(cache: Cache<CachedResponse>) -> Self {
        let shared = Shared {
            cache,
            partition: None,
            tags: None,
            rules: Rules::default(),
            max_object: 8 << 20,
            keep: Duration::from_secs(24 * 60 * 60),
            name: "buttress".into(),
            x_cache: false,
            extension: false,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

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
        F: Fn(&response::Parts) -> Vec<String> + Send + Sync + 'static,
    {
        self.set(|shared| shared.tags = Some(Arc::new(tags)))
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

    /// The largest body that is stored, in bytes; larger ones stream by. Default: 8 MiB.
    pub fn max_object(self, bytes: usize) -> Self {
        self.set(|shared| shared.max_object = bytes)
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
        self.set(|shared| shared.name = name.into())
    }

    /// Whether responses also tell in `X-Cache`: `HIT-MEMORY`, `MISS`, `BYPASS`. Default: no.
    pub fn x_cache(self, x_cache: bool) -> Self {
        self.set(|shared| shared.x_cache = x_cache)
    }

    /// Puts the [`CacheOutcome`](super::CacheOutcome) into the extensions of every response that was stored or forwarded,
    /// for layers outside. It costs a hit
    /// three allocations.
    pub fn response_extension(self) -> Self {
        self.set(|shared| shared.extension = true)
    }

    fn set(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S> Layer<S> for HttpCacheLayer {
    type Service = HttpCache<S>;

    fn layer(&self, inner: S) -> HttpCache<S> {
        HttpCache::new(inner, Arc::clone(&self.shared))
    }
}

impl Shared {
    pub(super) fn partition<'a>(&self, parts: &'a request::Parts) -> Cow<'a, [u8]> {
        self.partition
            .as_ref()
            .map_or(Cow::Borrowed(&[]), |partition| partition(parts))
    }

    /// Dates in fields are by the wall clock; nothing else here is.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the date"
    )]
    pub(super) fn date(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl fmt::Debug for HttpCacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("name", &self.shared.name)
            .field("rules", &self.shared.rules)
            .finish_non_exhaustive()
    }
}
