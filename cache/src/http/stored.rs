//! A stored response, ready to be sent, and what else is kept.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buttress_wire::Recorded;
use bytes::{Bytes, BytesMut};
use http::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::dates::Dates;
use super::freshness::date;
use super::list::List;
use super::pieces::Pieces;
use super::policy::Policy;
use super::query::SearchRule;
use super::range::slice;
use super::status::{CACHE_STATUS, CacheOutcome, X_CACHE};
use super::variants::{Said, Variant, Variants};
use super::words::Words;
use crate::{Builder, Cache};

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

/// A response, ready to be sent: its headers have all that a hit adds in them, and before all others, so that a hit changes values, adds none, and looks
/// for none.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) recorded: Recorded,
    pub(super) policy: Policy,
    /// What it was selected by, if it is a variant.
    pub(super) variant: Option<Variant>,
    /// In what words.
    pub(super) said: Option<Said>,
    pub(super) tags: List<String>,
    pub(super) depends_on: List<Vec<u8>>,
    /// What is there of the body, if that is not all: then the recorded one is empty.
    pub(super) pieces: Option<Pieces>,
    pub(super) received: Instant,
    /// No cache nearer to the origin has told anything.
    pub(super) is_only_teller: bool,
    /// There is a place for `X-Cache` in its headers.
    pub(super) tells_x_cache: bool,
}

/// How this cache marks what it sends.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) name: Arc<str>,
    pub(super) x_cache: bool,
    /// Fields that are stored have memory of their own.
    pub(super) copies: bool,
    pub(super) dates: Dates,
}

impl CachedResponse {
    /// A cache of responses, weighed by their bytes.
    pub fn cache() -> Builder<Self> {
        Cache::builder().weigher(|_, response: &Self| match &response.0 {
            Kind::Response(stored) => stored.weight(),
            Kind::Search(rule) => rule.weight(),
            Kind::Variants(variants) => variants.weight(),
        })
    }
}

impl Stored {
    /// `recorded` has the fields of the response, and none of this cache's.
    pub(super) fn new(recorded: &Recorded, made: Made, marks: &Marks) -> Self {
        let (headers, is_only_teller) = marked(recorded.headers(), made.date, marks);
        let body = recorded.body().clone();
        let trailers = recorded.trailers().cloned();
        let recorded = Recorded::new(recorded.status(), headers, body, trailers);
        Self::ready(recorded, is_only_teller, made, marks)
    }

    /// `recorded` has the fields that are [marked].
    pub(super) fn ready(
        recorded: Recorded,
        is_only_teller: bool,
        made: Made,
        marks: &Marks,
    ) -> Self {
        Self {
            recorded,
            policy: made.policy,
            variant: None,
            said: None,
            tags: made.tags,
            depends_on: made.depends_on,
            pieces: None,
            received: made.received,
            is_only_teller,
            tells_x_cache: marks.x_cache,
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

    /// Whether it is to be preferred, where both are suitable: by `Date` (RFC 9111, 4), and in the same second by age.
    pub(super) fn is_newer(&self, than: &Self, now: Instant) -> bool {
        let when = |stored: &Self| {
            let made = date(stored.recorded.headers(), DATE);
            (made, Reverse(stored.age(now)))
        };
        when(self) > when(than)
    }

    /// Its age by RFC 9111, 4.2.3.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.policy.initial_age + now.saturating_duration_since(self.received)
    }

    /// Seconds of freshness left at this age; negative for how long it has been stale.
    pub(super) fn ttl_at(&self, age: Duration) -> i64 {
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        whole(self.policy.lifetime) - whole(age)
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
        headers.remove(AGE);
        if self.tells_x_cache {
            headers.remove(X_CACHE);
        }
        headers
    }

    /// Whether the line of `Cache-Status` that is this cache's is the only one.
    pub(super) fn is_only_teller(&self) -> bool {
        self.is_only_teller
    }

    /// What a hit tells that has nothing particular to tell.
    #[inline]
    pub(super) fn words(&self, name: &Arc<str>, age: Duration) -> Words {
        Words::of(name, age.as_secs(), self.ttl_at(age))
    }

    /// The same, stale from now on.
    pub(super) fn softened(&self, now: Instant) -> Self {
        let policy = Policy {
            lifetime: self.policy.lifetime.min(self.age(now)),
            ..self.policy.clone()
        };
        Self {
            recorded: self.recorded.clone(),
            policy,
            variant: self.variant.clone(),
            said: self.said.clone(),
            tags: self.tags.clone(),
            depends_on: self.depends_on.clone(),
            pieces: self.pieces.clone(),
            received: self.received,
            is_only_teller: self.is_only_teller,
            tells_x_cache: self.tells_x_cache,
        }
    }

    fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 24).sum();
        let keys: usize = self.depends_on.iter().map(|key| key.len() + 24).sum();
        let pieces = self.pieces.as_ref().map_or(0, Pieces::len);
        let fields = (self.recorded.headers().len() + 3) * COUNTED;
        // Both as long as a client likes: they hold what it said in the selecting fields.
        let selected = self.variant.as_ref().map_or(0, |(_, key)| key.len());
        let said = self.said.as_ref().map_or(0, |said| said.len());
        let own = size_of::<Self>() + self.recorded.weight();
        own + fields + pieces + tags + keys + selected + said
    }
}

/// The same fields, with one piece of memory for all their values.
fn copied(mut headers: HeaderMap) -> HeaderMap {
    let mut all = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers
        .values()
        .for_each(|value| all.extend_from_slice(value.as_bytes()));
    let mut all = all.freeze();
    for value in headers.values_mut() {
        // What was a value is one.
        if let Ok(mut own) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
    headers
}

/// What the bytes of a field take beside themselves once they are shared: a count, and the block that it is in.
const COUNTED: usize = 80;

/// The fields of a response and those that a hit adds: its own first, where they are found without looking. And whether no cache nearer to the origin has told anything.
pub(super) fn marked(given: &HeaderMap, date: SystemTime, marks: &Marks) -> (HeaderMap, bool) {
    let own = 3 + usize::from(marks.x_cache);
    let mut headers = HeaderMap::with_capacity(given.len() + own);
    headers.insert(AGE, HeaderValue::from_static("0"));
    for line in given.get_all(CACHE_STATUS) {
        headers.append(CACHE_STATUS, line.clone());
    }
    let is_only_teller = !headers.append(CACHE_STATUS, HeaderValue::from_static(""));
    if marks.x_cache {
        headers.insert(X_CACHE, CacheOutcome::Hit.x_cache());
    }
    let is_own = |name: &HeaderName| {
        *name == AGE || *name == CACHE_STATUS || (*name == X_CACHE && marks.x_cache)
    };
    let mut has_date = false;
    for (name, value) in given.iter().filter(|(name, _)| !is_own(name)) {
        has_date |= *name == DATE;
        headers.append(name, value.clone());
    }
    // A cache with a clock says when it got what does not say when it was made (RFC 9110, 6.6.1).
    if !has_date && let Some(date) = marks.dates.value(date) {
        headers.insert(DATE, date);
    }
    if marks.copies {
        headers = copied(headers);
    }
    (headers, is_only_teller)
}

/// When and how a response came, and what was decided about it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) policy: Policy,
    pub(super) tags: List<String>,
    pub(super) depends_on: List<Vec<u8>>,
    pub(super) received: Instant,
    pub(super) date: SystemTime,
}
