//! Stored responses on the data cache: the one place that talks to it.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use buttress_wire::Recorded;
use bytes::Bytes;
use http::header::{AGE, DATE, ETAG, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::key::with_buffer;
use super::pieces::Pieces;
use super::policy::Policy;
use super::query::SearchRule;
use super::range::slice;
use super::status::{CACHE_STATUS, CacheOutcome, Told, X_CACHE};
use super::variants::{Normalize, Selecting, Variants, write_variant};
use crate::clock::Validity;
use crate::{Builder, Cache, Depth, Event, Failure, Stale, Stamp, Tier};

/// What an [`HttpCacheLayer`](super::HttpCacheLayer) keeps. Its cache is yours: invalidate its tags, look at its snapshot.
#[derive(Clone, Debug)]
pub struct CachedResponse(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Response(Arc<Stored>),
    /// What the origin says of the queries of a path.
    Search(Arc<SearchRule>),
    /// The target has variants.
    Variants(Arc<Variants>),
}

/// A response, ready to be sent: its headers have all that a hit adds in them, so that a hit changes values and adds none.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) recorded: Recorded,
    pub(super) policy: Policy,
    pub(super) tags: Arc<[String]>,
    pub(super) depends_on: Arc<[Vec<u8>]>,
    /// What is there of the body, if that is not all: then the recorded one is empty.
    pieces: Option<Pieces>,
    received: Instant,
    /// No cache nearer to the origin has told anything.
    is_only_teller: bool,
    /// What the last hit told: the seconds left, and the line that says so. One line is made per second, and not per hit.
    told: Mutex<(i64, HeaderValue)>,
}

/// How this cache marks what it sends.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) name: Arc<str>,
    pub(super) x_cache: bool,
}

impl CachedResponse {
    /// A cache of responses, weighed by their bytes.
    pub fn cache() -> Builder<Self> {
        Cache::builder().weigher(|_, response: &Self| match &response.0 {
            Kind::Response(stored) => stored.weight(),
            Kind::Search(_) => size_of::<SearchRule>(),
            Kind::Variants(variants) => variants.weight(),
        })
    }
}

impl Stored {
    /// `recorded` has the fields of the response, and none of this cache's.
    fn new(recorded: &Recorded, made: Made, marks: &Marks) -> Self {
        let mut headers = recorded.headers().clone();
        // A cache with a clock says when it got what does not say when it was made (RFC 9110, 6.6.1).
        if !headers.contains_key(DATE)
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(made.date))
        {
            headers.insert(DATE, date);
        }
        let is_only_teller = !headers.contains_key(CACHE_STATUS);
        let line = Told::default().line(&marks.name);
        headers.append(CACHE_STATUS, line.clone());
        if marks.x_cache {
            headers.insert(X_CACHE, CacheOutcome::Hit.x_cache());
        }
        headers.insert(AGE, HeaderValue::from_static("0"));
        let trailers = recorded.trailers().cloned();
        Self {
            recorded: Recorded::new(
                recorded.status(),
                headers,
                recorded.body().clone(),
                trailers,
            ),
            policy: made.policy,
            tags: made.tags,
            depends_on: made.depends_on,
            pieces: None,
            received: made.received,
            is_only_teller,
            told: Mutex::new((i64::MIN, line)),
        }
    }

    /// How many bytes the whole has.
    pub(super) fn total(&self) -> u64 {
        let whole = self.recorded.body().len() as u64;
        self.pieces.as_ref().map_or(whole, |pieces| pieces.total)
    }

    /// A part of it, if it is there.
    pub(super) fn slice(&self, part: &Range<u64>) -> Option<Bytes> {
        match &self.pieces {
            Some(pieces) => pieces.slice(part),
            None => slice(self.recorded.body(), part),
        }
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.policy.no_cache && self.age(now) < self.policy.lifetime
    }

    /// Its age by RFC 9111, 4.2.3.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.policy.initial_age + now.saturating_duration_since(self.received)
    }

    /// Seconds of freshness left; negative for how long it has been stale.
    pub(super) fn ttl(&self, now: Instant) -> i64 {
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        whole(self.policy.lifetime) - whole(self.age(now))
    }

    /// The headers as they were, without what this cache has added.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = self.recorded.headers().clone();
        let mut told: Vec<_> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
        told.pop();
        headers.remove(CACHE_STATUS);
        for line in told {
            headers.append(CACHE_STATUS, line);
        }
        for name in [AGE, X_CACHE] {
            headers.remove(name);
        }
        headers
    }

    /// Whether the line of `Cache-Status` that is this cache's is the only one.
    pub(super) fn is_only_teller(&self) -> bool {
        self.is_only_teller
    }

    /// The line of a hit.
    pub(super) fn hit_line(&self, name: &str, now: Instant) -> HeaderValue {
        let ttl = self.ttl(now);
        let make = || {
            let told = Told {
                ttl: Some(ttl),
                ..Told::default()
            };
            let line = told.line(name);
            // A clone makes the bytes shared, and from then on a clone is a count.
            drop(line.clone());
            line
        };
        // Nobody waits for a line that takes as long to make.
        let Ok(mut told) = self.told.try_lock() else {
            return make();
        };
        if told.0 != ttl {
            *told = (ttl, make());
        }
        told.1.clone()
    }

    /// The same, stale from now on.
    fn softened(&self, now: Instant) -> Self {
        let policy = Policy {
            lifetime: self.policy.lifetime.min(self.age(now)),
            ..self.policy.clone()
        };
        let told = Mutex::new((i64::MIN, HeaderValue::from_static("")));
        Self {
            recorded: self.recorded.clone(),
            policy,
            tags: Arc::clone(&self.tags),
            depends_on: Arc::clone(&self.depends_on),
            pieces: self.pieces.clone(),
            received: self.received,
            is_only_teller: self.is_only_teller,
            told,
        }
    }

    fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 24).sum();
        let keys: usize = self.depends_on.iter().map(|key| key.len() + 24).sum();
        let pieces = self.pieces.as_ref().map_or(0, Pieces::len);
        size_of::<Self>() + self.recorded.weight() + pieces + tags + keys
    }
}

/// What was found for a request.
pub(super) enum Found {
    Nothing,
    /// For other values of the selecting fields.
    OtherVariant(Arc<Variants>),
    Response(Arc<Stored>, Option<Arc<Variants>>),
}

/// Looks for what a request selects. Tells nobody.
pub(super) fn find(
    cache: &Cache<CachedResponse>,
    primary: &[u8],
    request: &HeaderMap,
    normalize: Option<&Normalize>,
    now: Instant,
) -> Found {
    // The marker of a target with variants is not a hit: one event per request.
    let Some(hit) = cache.peek(primary, now) else {
        return Found::Nothing;
    };
    let variants = match &hit.0 {
        Kind::Response(stored) => return Found::Response(Arc::clone(stored), None),
        Kind::Search(_) => return Found::Nothing,
        Kind::Variants(variants) => variants,
    };
    let mut found = variants.sets.iter().filter_map(|selecting| {
        with_buffer(|key| {
            write_variant(key, primary, selecting, request, normalize);
            peek(cache, key, now)
        })
    });
    match found.next() {
        Some(stored) => Found::Response(stored, Some(Arc::clone(variants))),
        None => Found::OtherVariant(Arc::clone(variants)),
    }
}

/// The response under a full key.
pub(super) fn peek(cache: &Cache<CachedResponse>, key: &[u8], now: Instant) -> Option<Arc<Stored>> {
    match &cache.peek(key, now)?.0 {
        Kind::Response(stored) => Some(Arc::clone(stored)),
        Kind::Search(_) | Kind::Variants(_) => None,
    }
}

/// What the origin says of the queries of a path.
pub(super) fn search_rule(
    cache: &Cache<CachedResponse>,
    key: &[u8],
    now: Instant,
) -> Option<Arc<SearchRule>> {
    match &cache.peek(key, now)?.0 {
        Kind::Search(rule) => Some(Arc::clone(rule)),
        Kind::Response(_) | Kind::Variants(_) => None,
    }
}

/// Keeps it, or forgets it.
pub(super) fn set_search_rule(
    cache: &Cache<CachedResponse>,
    key: &[u8],
    rule: Option<SearchRule>,
    stamp: Stamp,
) {
    match rule {
        Some(rule) => {
            let marker = CachedResponse(Kind::Search(Arc::new(rule)));
            cache.set(key, marker).at(stamp).ttl(MARKER_TTL).store();
        }
        None => remove(cache, key),
    }
}

/// Takes what is under a key, and what depends on it.
pub(super) fn remove(cache: &Cache<CachedResponse>, key: &[u8]) {
    cache.remove(key).now();
}

/// Takes what has one of these tags.
pub(super) fn invalidate<T: AsRef<str>>(cache: &Cache<CachedResponse>, tags: &[T], depth: Depth) {
    let invalidate = cache.invalidate(tags);
    match depth {
        Depth::Expire => invalidate.now(),
        Depth::Remove => invalidate.remove().now(),
    }
}

/// Makes what is at a target stale, with all its variants: it is there to be validated, and for when the origin fails. What is under way
/// is not stored.
pub(super) fn expire(cache: &Cache<CachedResponse>, primary: &[u8], keep: Duration) {
    let now = Instant::now();
    let known = cache.peek(primary, now).map(|hit| hit.0.clone());
    let (variants, keys) = match &known {
        Some(Kind::Variants(variants)) => (Some(variants), variants.keys.clone()),
        Some(Kind::Response(_)) => (None, vec![Arc::from(primary)]),
        Some(Kind::Search(_)) | None => (None, Vec::new()),
    };
    let stored = keys
        .iter()
        .filter_map(|key| Some((key, peek(cache, key, now)?)));
    let stored: Vec<_> = stored.collect();
    remove(cache, primary);
    if let Some(variants) = variants {
        let marker = CachedResponse(Kind::Variants(Arc::clone(variants)));
        cache.set(primary, marker).ttl(MARKER_TTL).store();
    }
    for (key, stored) in stored {
        let softened = Arc::new(stored.softened(now));
        let keep = keep.max(softened.policy.stale_use());
        let response = CachedResponse(Kind::Response(Arc::clone(&softened)));
        let mut set = cache.set(key, response).ttl(keep);
        set = set.tags(softened.tags.iter());
        for key in softened.depends_on.iter().map(Vec::as_slice) {
            set = set.depends_on(key);
        }
        if variants.is_some() {
            set = set.depends_on(primary);
        }
        set.store();
    }
}

/// What those who count hear of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    FillFailed,
    Filled,
    Hit,
    Joined,
    Miss,
    ServedStale,
}

/// Tells those who count.
pub(super) fn tell(cache: &Cache<CachedResponse>, key: &[u8], heard: Heard) {
    cache.emit(match heard {
        Heard::FillFailed => Event::FillFailed {
            key,
            why: Failure::Source,
        },
        Heard::Filled => Event::Filled { key },
        Heard::Hit => Event::Hit {
            key,
            tier: Tier::Memory,
        },
        Heard::Joined => Event::Joined { key },
        Heard::Miss => Event::Miss { key },
        Heard::ServedStale => Event::ServedStale {
            key,
            why: Stale::Failed,
        },
    });
}

/// Whether something that was begun at `begun` may be given to somebody who asked at `asked`: nothing was invalidated between, or nothing that it goes by.
pub(super) fn is_current(
    cache: &Cache<CachedResponse>,
    begun: Stamp,
    asked: Stamp,
    tags: &[String],
    keys: impl Iterator<Item = impl AsRef<[u8]>>,
) -> bool {
    if begun.epoch == asked.epoch && begun.born >= asked.born {
        return true;
    }
    let clock = cache.clock();
    let of_key = |key: &[u8]| cache.dependency(key).0;
    let mut slots: Vec<_> = keys.flat_map(|key| of_key(key.as_ref())).collect();
    slots.extend(tags.iter().map(|tag| cache.tag_slot(tag)));
    clock.check(begun, &slots) == Validity::Valid
}

/// When and how a response came, and what was decided about it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) policy: Policy,
    pub(super) tags: Arc<[String]>,
    pub(super) depends_on: Arc<[Vec<u8>]>,
    pub(super) received: Instant,
    pub(super) date: SystemTime,
}

/// Where a response is to be stored, and what is known of it before its body is there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) cache: Cache<CachedResponse>,
    pub(super) primary: Vec<u8>,
    /// With these it goes too.
    pub(super) under: Vec<Vec<u8>>,
    /// The selecting fields, and the key that this request's values of them give.
    pub(super) variant: Option<(Selecting, Arc<[u8]>)>,
    pub(super) max_variants: usize,
    pub(super) stamp: Stamp,
    /// How long it is kept after it has become stale.
    pub(super) keep: Duration,
    pub(super) made: Made,
    pub(super) marks: Marks,
}

impl Place {
    /// Stores a response with the fields that are to be stored of it.
    pub(super) fn store(&self, recorded: &Recorded) -> Arc<Stored> {
        self.file(Stored::new(recorded, self.made.clone(), &self.marks))
    }

    /// Stores a part of a response with what is stored of it already. Gives the whole, once it is there.
    pub(super) fn store_part(
        &self,
        recorded: &Recorded,
        part: Pieces,
        limit: usize,
    ) -> Option<Bytes> {
        let own = match &self.variant {
            Some((_, key)) => key,
            None => &self.primary[..],
        };
        let earlier = peek(&self.cache, own, Instant::now());
        let same = |stored: &Arc<Stored>| {
            stored.recorded.headers().get(ETAG) == recorded.headers().get(ETAG)
        };
        let pieces = match earlier
            .filter(same)
            .and_then(|stored| stored.pieces.clone())
        {
            Some(earlier) => part.with(&earlier, limit),
            None => part,
        };
        let whole = pieces.whole();
        let mut stored = Stored::new(recorded, self.made.clone(), &self.marks);
        stored.pieces = Some(pieces);
        self.file(stored);
        whole
    }

    fn file(&self, stored: Stored) -> Arc<Stored> {
        let made = &self.made;
        let fresh = made.policy.left(made.policy.initial_age);
        let keep = self.keep.max(made.policy.stale_use());
        let ttl = fresh
            .saturating_add(keep)
            .saturating_sub(made.received.elapsed());
        let stored = Arc::new(stored);
        let response = CachedResponse(Kind::Response(Arc::clone(&stored)));
        let key = match &self.variant {
            None => &self.primary[..],
            Some((selecting, key)) => {
                self.list(selecting, key);
                key
            }
        };
        let mut set = self.cache.set(key, response).at(self.stamp).ttl(ttl);
        set = set.tags(stored.tags.iter());
        for key in stored.depends_on.iter() {
            set = set.depends_on(key);
        }
        for key in &self.under {
            set = set.depends_on(key);
        }
        if self.variant.is_some() {
            // So that what removes the target removes all its variants.
            set = set.depends_on(&self.primary);
        }
        set.store();
        tell(&self.cache, key, Heard::Filled);
        stored
    }

    /// The same response, for one answer.
    pub(super) fn unstored(&self, recorded: &Recorded) -> Arc<Stored> {
        Arc::new(Stored::new(recorded, self.made.clone(), &self.marks))
    }

    /// Adds a variant to those that are known of the target. Who does so at the same time may win: then once more, and if that fails too, the
    /// variant is not found, which is a miss.
    fn list(&self, selecting: &Selecting, key: &Arc<[u8]>) {
        for _ in 0..3 {
            let known = self.variants();
            if known
                .as_ref()
                .is_some_and(|known| known.has(selecting, key))
            {
                return;
            }
            let known = known.unwrap_or_default();
            let (variants, gone) = known.with(selecting, key, self.max_variants);
            let marker = CachedResponse(Kind::Variants(Arc::new(variants)));
            let set = self.cache.set(&self.primary, marker);
            set.at(self.stamp).ttl(MARKER_TTL).store();
            for key in gone {
                remove(&self.cache, &key);
            }
        }
    }

    fn variants(&self) -> Option<Arc<Variants>> {
        match &self.cache.peek(&self.primary, Instant::now())?.0 {
            Kind::Variants(variants) => Some(Arc::clone(variants)),
            Kind::Search(_) | Kind::Response(_) => None,
        }
    }
}

/// Longer than any variant lives; weight pushes it out before.
const MARKER_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
