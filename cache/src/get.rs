//! Looking up, and nothing else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::cache::Cache;
use crate::hit::Hit;
#[cfg(feature = "l2")]
use crate::keyed::Keyed;

/// A look-up; made by [`Cache::get`]. Await it.
///
/// # Cancellation
///
/// Nothing happens before the first poll, and dropping it changes nothing.
#[must_use = "nothing is looked up before this is awaited"]
pub struct Get<'a, K, V> {
    cache: &'a Cache<V>,
    key: K,
    #[cfg(feature = "l2")]
    below: Option<Pin<Box<dyn Future<Output = Option<Hit<V>>> + Send>>>,
}

impl<'a, K: AsRef<[u8]>, V: Send + Sync + 'static> Get<'a, K, V> {
    pub(crate) fn new(cache: &'a Cache<V>, key: K) -> Self {
        Self {
            cache,
            key,
            #[cfg(feature = "l2")]
            below: None,
        }
    }

    /// What is in memory, at once.
    #[must_use]
    pub fn now(self) -> Option<Hit<V>> {
        self.look_up()
    }

    fn look_up(&self) -> Option<Hit<V>> {
        self.cache.get_at(self.key.as_ref(), Instant::now())
    }
}

impl<K: AsRef<[u8]>, V: Send + Sync + 'static> Future for Get<'_, K, V> {
    type Output = Option<Hit<V>>;

    #[cfg(feature = "l2")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.below.is_none() {
            let found = self.look_up();
            if found.is_some() || self.cache.below().is_none() {
                return Poll::Ready(found);
            }
            let place = Keyed::new(self.cache, self.key.as_ref());
            self.below = Some(Box::pin(async move { place.fresh_below().await }));
        }
        self.below
            .as_mut()
            .map_or(Poll::Ready(None), |below| below.as_mut().poll(cx))
    }

    #[cfg(not(feature = "l2"))]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.look_up())
    }
}

/// Nothing in it is pinned.
impl<K, V> Unpin for Get<'_, K, V> {}

impl<K, V> fmt::Debug for Get<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

/// Several look-ups; made by [`Cache::get_many`]. Await it.
///
/// # Cancellation
///
/// Nothing happens before the first poll, and dropping it changes nothing.
#[must_use = "nothing is looked up before this is awaited"]
pub struct GetMany<'a, K, V> {
    cache: &'a Cache<V>,
    keys: Vec<K>,
    #[cfg(feature = "l2")]
    below: Option<Pin<Box<dyn Future<Output = Vec<Option<Hit<V>>>> + Send>>>,
}

impl<'a, K: AsRef<[u8]>, V: Send + Sync + 'static> GetMany<'a, K, V> {
    pub(crate) fn new(cache: &'a Cache<V>, keys: Vec<K>) -> Self {
        Self {
            cache,
            keys,
            #[cfg(feature = "l2")]
            below: None,
        }
    }

    /// What is in memory, at once.
    #[must_use]
    pub fn now(self) -> Vec<Option<Hit<V>>> {
        self.look_up()
    }

    /// All at one time.
    fn look_up(&self) -> Vec<Option<Hit<V>>> {
        let now = Instant::now();
        let keys = self.keys.iter();
        keys.map(|key| self.cache.get_at(key.as_ref(), now))
            .collect()
    }
}

impl<K: AsRef<[u8]>, V: Send + Sync + 'static> Future for GetMany<'_, K, V> {
    type Output = Vec<Option<Hit<V>>>;

    #[cfg(feature = "l2")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.below.is_none() {
            let found = self.look_up();
            if self.cache.below().is_none() || found.iter().all(Option::is_some) {
                return Poll::Ready(found);
            }
            let places = self
                .keys
                .iter()
                .map(|key| Keyed::new(self.cache, key.as_ref()));
            let each = places.zip(found).map(|(place, found)| async move {
                match found {
                    Some(found) => Some(found),
                    None => place.fresh_below().await,
                }
            });
            // At the same time: one connection takes all the questions before it waits for the first answer.
            self.below = Some(Box::pin(futures_util::future::join_all(each)));
        }
        self.below
            .as_mut()
            .map_or(Poll::Ready(vec![]), |below| below.as_mut().poll(cx))
    }

    #[cfg(not(feature = "l2"))]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.look_up())
    }
}

/// Nothing in it is pinned.
impl<K, V> Unpin for GetMany<'_, K, V> {}

impl<K, V> fmt::Debug for GetMany<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetMany")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
