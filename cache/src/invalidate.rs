//! Taking values away.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cache::Cache;
use crate::clock::{Depth, Name, Slot};
use crate::error::InvalidateError;

/// An invalidation; made by [`Cache::invalidate`], [`Cache::expire`] and [`Cache::remove`]. Await it, or have it [`now`](Self::now).
///
/// It holds in this process from its first poll on, whatever becomes of it then.
///
/// # Cancellation
///
/// Nothing happens before the first poll.
#[must_use = "nothing is invalidated before this is awaited, or `now` is called"]
pub struct Invalidate<'a, V> {
    cache: &'a Cache<V>,
    slots: Vec<Slot>,
    /// What can be freed when it is removed.
    full: Option<Arc<[u8]>>,
    depth: Depth,
    again: Option<Duration>,
}

impl<'a, V: Send + Sync + 'static> Invalidate<'a, V> {
    pub(crate) fn tags(cache: &'a Cache<V>, tags: impl Iterator<Item = Slot>) -> Self {
        Self::new(cache, tags.collect(), None)
    }

    pub(crate) fn key(cache: &'a Cache<V>, full: Arc<[u8]>) -> Self {
        let slots = vec![cache.clock().slot(Name::Key(&full))];
        Self::new(cache, slots, Some(full))
    }

    fn new(cache: &'a Cache<V>, slots: Vec<Slot>, full: Option<Arc<[u8]>>) -> Self {
        Self {
            cache,
            slots,
            full,
            depth: Depth::Expire,
            again: None,
        }
    }

    /// What is invalidated is gone, and not only stale: it is not served when the source fails.
    pub fn remove(self) -> Self {
        let depth = Depth::Remove;
        Self { depth, ..self }
    }

    /// Does it once more after this time, in the background: for a source whose replicas lag, where a fill that begins after the change may still read
    /// what was before. [`Cache::drain`] waits for it.
    ///
    /// # Panics
    ///
    /// The call does, with the default spawner outside of a tokio runtime; it holds by then.
    pub fn again_after(self, after: Duration) -> Self {
        let again = Some(after);
        Self { again, ..self }
    }

    /// Does it at once, in this process.
    pub fn now(self) {
        self.apply();
    }

    fn apply(&self) {
        self.cache.invalidate_slots(&self.slots, self.depth);
        if let (Some(full), Depth::Remove) = (&self.full, self.depth) {
            self.cache.l1().remove(full);
        }
        if let Some(after) = self.again {
            self.apply_after(after);
        }
    }

    fn apply_after(&self, after: Duration) {
        let cache = self.cache.clone();
        let (slots, depth) = (self.slots.clone(), self.depth);
        self.cache.tasks().spawn(async move {
            tokio::time::sleep(after).await;
            cache.invalidate_slots(&slots, depth);
        });
    }
}

impl<V: Send + Sync + 'static> Future for Invalidate<'_, V> {
    type Output = Result<(), InvalidateError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.apply();
        Poll::Ready(Ok(()))
    }
}

/// Nothing in it is pinned.
impl<V> Unpin for Invalidate<'_, V> {}

impl<V> fmt::Debug for Invalidate<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidate")
            .field("depth", &self.depth)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

/// Takes everything away; made by [`Cache::clear`]. Await it, or have it [`now`](Self::now).
///
/// # Cancellation
///
/// Nothing happens before the first poll.
#[must_use = "nothing is cleared before this is awaited, or `now` is called"]
pub struct Clear<'a, V> {
    cache: &'a Cache<V>,
}

impl<'a, V: Send + Sync + 'static> Clear<'a, V> {
    pub(crate) fn new(cache: &'a Cache<V>) -> Self {
        Self { cache }
    }

    /// Does it at once, in this process.
    pub fn now(self) {
        self.cache.clear_all();
    }
}

impl<V: Send + Sync + 'static> Future for Clear<'_, V> {
    type Output = Result<(), InvalidateError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.cache.clear_all();
        Poll::Ready(Ok(()))
    }
}

impl<V> fmt::Debug for Clear<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clear").finish_non_exhaustive()
    }
}
