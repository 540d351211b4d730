//! Looking up, and nothing else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::cache::Cache;
use crate::hit::Hit;

/// A look-up; made by [`Cache::get`]. Await it.
///
/// # Cancellation
///
/// Nothing happens before the first poll, and dropping it changes nothing.
#[must_use = "nothing is looked up before this is awaited"]
pub struct Get<'a, K, V> {
    cache: &'a Cache<V>,
    key: K,
}

impl<'a, K: AsRef<[u8]>, V: Send + Sync + 'static> Get<'a, K, V> {
    pub(crate) fn new(cache: &'a Cache<V>, key: K) -> Self {
        Self { cache, key }
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
}

impl<'a, K: AsRef<[u8]>, V: Send + Sync + 'static> GetMany<'a, K, V> {
    pub(crate) fn new(cache: &'a Cache<V>, keys: Vec<K>) -> Self {
        Self { cache, keys }
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
