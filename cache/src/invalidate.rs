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
use crate::told::Told;

/// An invalidation; made by [`Cache::invalidate`], [`Cache::expire`] and [`Cache::remove`]. Await it, or have it [`now`](Self::now).
///
/// It holds in this process from its first poll on, whatever becomes of it then.
///
/// # Cancellation
///
/// Nothing happens before the first poll. If it is dropped after it, other processes hear of it a moment later.
#[must_use = "nothing is invalidated before this is awaited, or `now` is called"]
pub struct Invalidate<'a, V> {
    cache: &'a Cache<V>,
    slots: Vec<Slot>,
    /// What can be freed when it is removed.
    full: Option<Arc<[u8]>>,
    depth: Depth,
    again: Option<Duration>,
    #[cfg(feature = "l2")]
    telling: Telling,
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
            #[cfg(feature = "l2")]
            telling: None,
        }
    }

    /// What is invalidated is gone, and not only stale: it is not served when the source fails.
    pub fn remove(self) -> Self {
        let depth = Depth::Remove;
        Self { depth, ..self }
    }

    /// Does it once more after this time, in the background: for a source whose replicas lag, where a fill that begins after the change may still read
    /// what was before. [`Cache::drain`] waits for it. Outside of a tokio runtime, the default spawner has nothing to do it on, and it is not done.
    pub fn again_after(self, after: Duration) -> Self {
        let again = Some(after);
        Self { again, ..self }
    }

    /// Does it at once, in this process. If there are others, they hear of it a moment later.
    pub fn now(self) {
        let told = self.apply();
        self.cache.tell_others_later(told);
    }

    fn apply(&self) -> Option<Told> {
        let told = self.cache.invalidate_slots(&self.slots, self.depth);
        if let (Some(full), Depth::Remove) = (&self.full, self.depth) {
            self.cache.l1().remove(full);
        }
        if let Some(after) = self.again {
            self.apply_after(after);
        }
        told
    }

    fn apply_after(&self, after: Duration) {
        let cache = self.cache.clone();
        let (slots, depth) = (self.slots.clone(), self.depth);
        self.cache.tasks().spawn(async move {
            tokio::time::sleep(after).await;
            let told = cache.invalidate_slots(&slots, depth);
            cache.tell_others_later(told);
        });
    }
}

impl<V: Send + Sync + 'static> Future for Invalidate<'_, V> {
    type Output = Result<(), InvalidateError>;

    #[cfg(feature = "l2")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let told = match &this.telling {
            Some(_) => None,
            None => this.apply(),
        };
        poll_telling(this.cache, &mut this.telling, told, cx)
    }

    #[cfg(not(feature = "l2"))]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        drop(self.apply());
        Poll::Ready(Ok(()))
    }
}

/// On its way to the others, after the first poll.
#[cfg(feature = "l2")]
type Telling = Option<Pin<Box<dyn Future<Output = Result<(), InvalidateError>> + Send>>>;

/// What holds here is told to the others, if there are any.
#[cfg(feature = "l2")]
fn poll_telling<V: Send + Sync + 'static>(
    cache: &Cache<V>,
    telling: &mut Telling,
    told: Option<Told>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), InvalidateError>> {
    if let (Some(told), Some(below)) = (told, cache.below()) {
        *telling = Some(Box::pin(below.tell_others(told)));
    }
    match telling {
        Some(telling) => telling.as_mut().poll(cx),
        None => Poll::Ready(Ok(())),
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
    #[cfg(feature = "l2")]
    telling: Telling,
}

impl<'a, V: Send + Sync + 'static> Clear<'a, V> {
    pub(crate) fn new(cache: &'a Cache<V>) -> Self {
        Self {
            cache,
            #[cfg(feature = "l2")]
            telling: None,
        }
    }

    /// Does it at once, in this process. If there are others, they hear of it a moment later.
    pub fn now(self) {
        let told = self.cache.clear_all();
        self.cache.tell_others_later(told);
    }
}

impl<V: Send + Sync + 'static> Future for Clear<'_, V> {
    type Output = Result<(), InvalidateError>;

    #[cfg(feature = "l2")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let told = match &this.telling {
            Some(_) => None,
            None => this.cache.clear_all(),
        };
        poll_telling(this.cache, &mut this.telling, told, cx)
    }

    #[cfg(not(feature = "l2"))]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        drop(self.cache.clear_all());
        Poll::Ready(Ok(()))
    }
}

impl<V> fmt::Debug for Clear<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clear").finish_non_exhaustive()
    }
}
