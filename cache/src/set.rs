//! Storing what was read elsewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Cache;
#[cfg(feature = "http")]
use crate::clock::Name;
use crate::clock::Stamp;
use crate::entry::{Entry, Held};
use crate::fill::Said;
use crate::hit::Hit;
#[cfg(feature = "l2")]
use crate::keyed::Keyed;
use crate::store::Reading;

/// A value on its way into the cache; made by [`Cache::set`]. Await it, or [`store`](Self::store) it.
///
/// It is no invalidation: what other processes hold in their memory under the same key stays there. [Remove](Cache::remove) that first, where it matters.
///
/// # Cancellation
///
/// Nothing is stored before the first poll.
#[must_use = "nothing is stored before this is awaited, or `store` is called"]
pub struct Set<'a, V> {
    cache: &'a Cache<V>,
    full: Arc<[u8]>,
    /// `None` once it is stored.
    value: Option<V>,
    stamp: Stamp,
    said: Said,
    /// By a clock that was read already.
    now: Option<Instant>,
    #[cfg(feature = "l2")]
    below: Option<Pin<Box<dyn Future<Output = Hit<V>> + Send>>>,
}

impl<'a, V: Send + Sync + 'static> Set<'a, V> {
    pub(crate) fn new(cache: &'a Cache<V>, full: Arc<[u8]>, value: V) -> Self {
        Self {
            cache,
            full,
            value: Some(value),
            stamp: cache.stamp(),
            said: Said::default(),
            now: None,
            #[cfg(feature = "l2")]
            below: None,
        }
    }

    /// Says when the value was read: a [`Cache::stamp`] taken before. Without it the value counts as read when
    /// [`Cache::set`] was called, and that is only as true as the caller makes it.
    pub fn at(self, stamp: Stamp) -> Self {
        Self { stamp, ..self }
    }

    /// It is stored now, by a clock that was read already.
    #[cfg(feature = "http")]
    pub(crate) fn now(mut self, now: Instant) -> Self {
        self.now = Some(now);
        self
    }

    /// How long it is fresh.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// For how long after that it may be served when the source fails.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.said.grace = Some(grace);
        self
    }

    /// It goes when one of these is invalidated.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        for tag in tags {
            self.said.push(self.cache.tag_slot(tag.as_ref()));
        }
        self
    }

    /// It goes with the value under `key`, and with the tags of that one, if it is there. If that was filled after the time that this one [was read
    /// at](Self::at), this one may have been read from the one before, and is not stored: say `at` first.
    pub fn depends_on(mut self, key: impl AsRef<[u8]>) -> Self {
        let (slots, born) = self.cache.dependency(key.as_ref());
        slots.into_iter().for_each(|slot| self.said.push(slot));
        self.said.unstorable |=
            born.is_some_and(|of| of.epoch != self.stamp.epoch || of.born > self.stamp.born);
        self
    }

    /// It goes with the key, and with nothing that what is there goes with.
    #[cfg(feature = "http")]
    pub(crate) fn beside(mut self, key: &[u8]) -> Self {
        let clock = self.cache.clock();
        let slot = |full: &[u8]| clock.slot(Name::Key(full));
        self.said.push(self.cache.with_full(key, slot));
        self
    }

    /// Stores it in memory, at once, and gives it to the other processes in the background, if there are any.
    #[cfg(feature = "http")]
    pub(crate) fn store_for_all(mut self) -> Hit<V> {
        let hit = self.file();
        self.cache.give_later(&self.full, hit.entry());
        hit
    }

    /// Stores it in memory, at once. What is not to be stored, like a value with a tag that is [guarded](Cache::guard), is not; the hit holds it all
    /// the same.
    pub fn store(mut self) -> Hit<V> {
        self.file()
    }

    fn file(&mut self) -> Hit<V> {
        let value = self.value.take().expect("a value is stored once");
        let reading = Reading {
            held: Held::Own(value),
            stamp: self.stamp,
            said: std::mem::take(&mut self.said),
            took: Duration::ZERO,
            now: self.now.unwrap_or_else(Instant::now),
            keep: true,
        };
        let entry: Arc<Entry<V>> = self.cache.store(&self.full, reading);
        Hit::filled(entry).expect("it has a value")
    }
}

impl<V: Send + Sync + 'static> Future for Set<'_, V> {
    type Output = Hit<V>;

    #[cfg(feature = "l2")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Hit<V>> {
        if self.below.is_none() {
            let hit = self.file();
            if self.cache.below().is_none() {
                return Poll::Ready(hit);
            }
            let (cache, full) = (self.cache.clone(), Arc::clone(&self.full));
            self.below = Some(Box::pin(async move {
                Keyed { cache, full }.give_below(hit.entry(), None).await;
                hit
            }));
        }
        let below = self.below.as_mut().expect("it was put there");
        below.as_mut().poll(cx)
    }

    #[cfg(not(feature = "l2"))]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Hit<V>> {
        Poll::Ready(self.file())
    }
}

/// Nothing in it is pinned.
impl<V> Unpin for Set<'_, V> {}

impl<V> fmt::Debug for Set<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
