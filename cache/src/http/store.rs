//! Stored responses on the data cache: finding them, and taking them out.

use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use buttress_wire::key::with_buffer;
use tokio::time::Instant;

use super::glance::Glance;
use super::query::SearchRule;
use super::stored::{CachedResponse, Kind, Stored};
use super::variants::{Normalize, Variants, is_variant, says, write_variant};
use crate::clock::Validity;
use crate::entry::Entry;
use crate::{Cache, Depth, Event, Failure, Stale, Stamp, Tier};

/// What was found for a request.
pub(super) enum Found {
    Nothing,
    /// For other values of the selecting fields.
    OtherVariant(Arc<Variants>),
    Response(Held, Option<Arc<Variants>>),
}

/// A response that is held where it was found: a hit counts no reference more than it has to.
pub(super) enum Held {
    Here(Arc<Entry<CachedResponse>>),
    #[cfg(feature = "l2")]
    Own(Arc<Stored>),
}

impl Held {
    /// `None` if it is something else.
    fn new(entry: Arc<Entry<CachedResponse>>) -> Option<Self> {
        let is_response = matches!(kind_of(&entry), Some(Kind::Response(_)));
        is_response.then_some(Self::Here(entry))
    }

    pub(super) fn into_stored(self) -> Arc<Stored> {
        match self {
            Self::Here(entry) => Arc::clone(response_of(&entry)),
            #[cfg(feature = "l2")]
            Self::Own(stored) => stored,
        }
    }
}

impl Deref for Held {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        match self {
            Self::Here(entry) => response_of(entry),
            #[cfg(feature = "l2")]
            Self::Own(stored) => stored,
        }
    }
}

fn kind_of(entry: &Entry<CachedResponse>) -> Option<&Kind> {
    entry.value().map(|value| &value.0)
}

fn response_of(entry: &Entry<CachedResponse>) -> &Arc<Stored> {
    match kind_of(entry) {
        Some(Kind::Response(stored)) => stored,
        Some(Kind::Search(_) | Kind::Variants(_)) | None => unreachable!("it was looked at"),
    }
}

/// Looks for what a request selects. Tells nobody.
pub(super) fn find(
    cache: &Cache<CachedResponse>,
    primary: &[u8],
    request: &Glance<'_>,
    normalize: Option<&Normalize>,
    now: Instant,
) -> Found {
    // The marker of a target with variants is not a hit: one event per request.
    let Some(entry) = cache.peek_entry(primary, now) else {
        return Found::Nothing;
    };
    let variants = match kind_of(&entry) {
        Some(Kind::Response(stored)) => match other_than(stored, primary, request, normalize) {
            Some(known) => return Found::OtherVariant(known),
            None => return Found::Response(Held::Here(entry), None),
        },
        Some(Kind::Search(_)) | None => return Found::Nothing,
        Some(Kind::Variants(variants)) => variants,
    };
    let found = variants.sets.iter().filter_map(|selecting| {
        with_buffer(|key| {
            write_variant(key, primary, selecting, request.headers(), normalize);
            cache.peek_entry(key, now).and_then(Held::new)
        })
    });
    let newer = |one: Held, other: Held| {
        if other.is_newer(&one, now) {
            other
        } else {
            one
        }
    };
    match found.reduce(newer) {
        Some(stored) => Found::Response(stored, Some(Arc::clone(variants))),
        None => Found::OtherVariant(Arc::clone(variants)),
    }
}

/// The only response of a target stands in its place, and is found by one look. `None` if it is for the request; else what is known of the target's variants.
pub(super) fn other_than(
    stored: &Stored,
    primary: &[u8],
    request: &Glance<'_>,
    normalize: Option<&Normalize>,
) -> Option<Arc<Variants>> {
    let (selecting, key) = stored.variant.as_ref()?;
    // Most say it in the same words.
    let said = stored.said.as_ref().filter(|_| normalize.is_none());
    let is_same = said.is_some_and(|said| says(said, selecting, request))
        || is_variant(key, primary, selecting, request.headers(), normalize);
    (!is_same).then(|| Arc::new(Variants::one(selecting, primary)))
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
            let set = cache.set(key, marker).at(stamp).ttl(MARKER_TTL);
            set.store_for_all();
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
    let (variants, keys) = match known {
        Some(Kind::Variants(variants)) => (Some(Arc::clone(&variants)), variants.keys.clone()),
        Some(Kind::Response(_)) => (None, vec![Arc::from(primary)]),
        Some(Kind::Search(_)) | None => (None, Vec::new()),
    };
    let stored = keys.into_iter().filter_map(|key| {
        let stored = peek(cache, &key, now)?;
        Some((key, Arc::new(stored.softened(now))))
    });
    let soft = Soft {
        primary: primary.into(),
        variants,
        stored: stored.collect(),
        keep,
    };
    let of = cache.clone();
    remove_then(cache, primary, move || soft.put(&of));
}

/// Takes what is under a key, and does something when that holds for all: what is stored before would go with it there.
fn remove_then(cache: &Cache<CachedResponse>, key: &[u8], then: impl FnOnce() + Send + 'static) {
    if !cache.is_shared() {
        remove(cache, key);
        return then();
    }
    let (of, key) = (cache.clone(), key.to_vec());
    let mut removing = Box::pin(async move { drop(of.remove(&key).await) });
    // It holds here from the first poll on, and so from now on.
    match removing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(()) => then(),
        Poll::Pending => cache.tasks().spawn(async move {
            removing.await;
            then();
        }),
    }
}

/// What was at a target, stale.
struct Soft {
    primary: Arc<[u8]>,
    variants: Option<Arc<Variants>>,
    stored: Vec<(Arc<[u8]>, Arc<Stored>)>,
    keep: Duration,
}

impl Soft {
    /// Where nothing newer is by now.
    fn put(self, cache: &Cache<CachedResponse>) {
        let is_free = |key: &[u8]| cache.peek(key, Instant::now()).is_none();
        if let Some(variants) = self.variants.as_ref().filter(|_| is_free(&self.primary)) {
            let marker = CachedResponse(Kind::Variants(Arc::clone(variants)));
            let set = cache.set(&self.primary, marker);
            set.ttl(MARKER_TTL).store_for_all();
        }
        for (key, stored) in self.stored.iter().filter(|(key, _)| is_free(key)) {
            let response = CachedResponse(Kind::Response(Arc::clone(stored)));
            let keep = self.keep.max(stored.policy.stale_use());
            let mut set = cache.set(key, response).ttl(keep).beside(&self.primary);
            set = set.tags(stored.tags.iter());
            for key in stored.depends_on.iter().map(Vec::as_slice) {
                set = set.depends_on(key);
            }
            if let Some((_, own)) = &stored.variant {
                set = set.beside(own);
            }
            set.store_for_all();
        }
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
    ServedStale(Stale),
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
        Heard::ServedStale(why) => Event::ServedStale { key, why },
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

/// Longer than any variant lives; weight pushes it out before.
pub(super) const MARKER_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
