//! Stored responses on the data cache.

use std::sync::Arc;
use std::time::Duration;

use buttress_wire::Recorded;
use http::HeaderMap;
use http::header::{AGE, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::key::{with_buffer, write_variant};
use super::policy::Policy;
use super::status::{CacheOutcome, tell};
use crate::{Builder, Cache, Event, Stamp};

/// What an [`HttpCacheLayer`](super::HttpCacheLayer) keeps. Its cache is yours: invalidate its tags, look at its snapshot.
#[derive(Clone, Debug)]
pub struct CachedResponse(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Response(Stored),
    /// The target has variants; these request fields tell which.
    Variants(Arc<[HeaderName]>),
}

/// A response, ready to be sent: its headers have all that a hit adds in them, so that a hit changes values and adds none.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) recorded: Recorded,
    pub(super) policy: Policy,
    received: Instant,
}

impl CachedResponse {
    /// A cache of responses, weighed by their bytes.
    pub fn cache() -> Builder<Self> {
        Cache::builder().weigher(|_, response: &Self| match &response.0 {
            Kind::Response(stored) => stored.recorded.weight(),
            Kind::Variants(names) => names.len() * size_of::<HeaderName>(),
        })
    }
}

impl Stored {
    pub(super) fn new(
        recorded: Recorded,
        received: Instant,
        policy: Policy,
        name: &str,
        x_cache: bool,
    ) -> Self {
        let mut headers = recorded.headers().clone();
        tell(&mut headers, name, x_cache, CacheOutcome::Hit, true);
        headers.insert(AGE, HeaderValue::from_static("0"));
        let trailers = recorded.trailers().cloned();
        let recorded = Recorded::new(
            recorded.status(),
            headers,
            recorded.body().clone(),
            trailers,
        );
        Self {
            recorded,
            policy,
            received,
        }
    }

    /// Its age by RFC 9111, 4.2.3.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.policy.initial_age + now.saturating_duration_since(self.received)
    }
}

/// What was found for a request.
pub(super) enum Found {
    Nothing,
    /// For other values of the selecting fields.
    OtherVariant,
    Response(crate::Hit<CachedResponse>),
}

pub(super) fn find(
    cache: &Cache<CachedResponse>,
    primary: &[u8],
    request: &HeaderMap,
    now: Instant,
) -> Found {
    // The marker of a target with variants is not a hit: one event per request.
    let Some(hit) = cache.peek(primary, now) else {
        cache.emit(Event::Miss { key: primary });
        return Found::Nothing;
    };
    let Kind::Variants(selecting) = &hit.0 else {
        cache.emit(Event::Hit { key: primary });
        return Found::Response(hit);
    };
    let variant = with_buffer(|key| {
        write_variant(key, primary, selecting, request);
        cache.get_at(key, now)
    });
    variant.map_or(Found::OtherVariant, Found::Response)
}

/// Where a response is to be stored, and what is known of it before its body is there.
pub(super) struct Place {
    pub(super) cache: Cache<CachedResponse>,
    pub(super) primary: Vec<u8>,
    /// The selecting fields, and the key that this request's values of them give.
    pub(super) variant: Option<(Arc<[HeaderName]>, Vec<u8>)>,
    pub(super) tags: Vec<String>,
    pub(super) stamp: Stamp,
    pub(super) received: Instant,
    pub(super) policy: Policy,
    /// Fields that are not stored.
    pub(super) omitted: Vec<HeaderName>,
    /// How long it is kept after it has become stale.
    pub(super) keep: Duration,
    pub(super) name: Arc<str>,
    pub(super) x_cache: bool,
}

impl Place {
    pub(super) fn store(self, recorded: Recorded) {
        let fresh = self.policy.left(self.policy.initial_age);
        let keep = self.keep.max(self.policy.stale_use());
        let ttl = fresh
            .saturating_add(keep)
            .saturating_sub(self.received.elapsed());
        let stored = Stored::new(
            recorded,
            self.received,
            self.policy,
            &self.name,
            self.x_cache,
        );
        let response = CachedResponse(Kind::Response(stored));
        let Some((selecting, key)) = self.variant else {
            let set = self.cache.set(&self.primary, response).at(self.stamp);
            set.ttl(ttl).tags(&self.tags).store();
            return;
        };
        let variants = CachedResponse(Kind::Variants(selecting));
        self.cache
            .set(&self.primary, variants)
            .at(self.stamp)
            .ttl(MARKER_TTL)
            .store();
        let set = self.cache.set(key, response).at(self.stamp).ttl(ttl);
        // So that what removes the target removes all its variants.
        set.tags(&self.tags).depends_on(&self.primary).store();
    }
}

/// Longer than any variant lives; weight pushes it out before.
const MARKER_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
