//! A look-up that fills, once for all who ask at the same time.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Cache;
use crate::call::Call;
use crate::entry::Usable;
use crate::event::Event;
use crate::fill::{Fill, Said};
use crate::hit::{Hit, State};
use crate::keyed::Answer;

/// A look-up that fills; made by [`Cache::get_or_set`]. Await it.
///
/// A hit is an answer at its first poll, and allocates nothing. What goes beyond is put in a box then.
///
/// # Cancellation
///
/// Nothing happens before the first poll. Dropping a call while it fills drops the fill; one of those who wait for the same key then runs its own.
/// A fill that has outlived the [soft timeout](crate::Builder::soft_timeout), or refreshes a value that is still fresh, has no caller any more and
/// goes on. Dropping a call that waits for another one's fill changes nothing for the others.
///
/// # Panics
///
/// A fill's panic is a [`FillError::Panicked`](crate::FillError::Panicked) to all who wait for it. The call panics when it is polled outside of a tokio
/// runtime with time enabled, where it needs one: for timeouts, and for what goes on in the background.
#[must_use = "nothing is looked up before this is awaited"]
pub struct GetOrSet<'a, K, V, F, E> {
    cache: &'a Cache<V>,
    key: K,
    said: Said,
    memory: bool,
    /// `None` once it is on its way, or at work in the background.
    fill: Option<F>,
    slow: Option<Slow<V, E>>,
    error: PhantomData<fn() -> E>,
}

/// What a call is when it is not a hit.
type Slow<V, E> = Pin<Box<dyn Future<Output = Answer<V, E>> + Send>>;

impl<'a, K, V: Send + Sync + 'static, F, E> GetOrSet<'a, K, V, F, E> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<V>, key: K, fill: F) -> Self {
        Self {
            cache,
            key,
            said: Said::default(),
            memory: true,
            fill: Some(fill),
            slow: None,
            error: PhantomData,
        }
    }

    /// How long a filled value is fresh, if the fill does not say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// For how long after that it may be served when the source fails, if the fill does not say.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.said.grace = Some(grace);
        self
    }

    /// For how long it is known that the source has no such value, if the fill does not say.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.said.negative_ttl = Some(ttl);
        self
    }

    /// A filled value goes when one of these is invalidated.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        for tag in tags {
            self.said.push(self.cache.tag_slot(tag.as_ref()));
        }
        self
    }

    /// Neither looks in memory nor stores there, and shares nobody's fill: for who must see what is below.
    pub fn skip_memory(self) -> Self {
        let memory = false;
        Self { memory, ..self }
    }
}

impl<K, V, F, Fut, E> GetOrSet<'_, K, V, F, E>
where
    K: AsRef<[u8]>,
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    /// The answer, if it is there and fresh.
    fn at_once(&mut self) -> Option<Option<Hit<V>>> {
        let cache = self.cache;
        cache.with_full(self.key.as_ref(), |full| {
            let found = cache.look_up(full, Instant::now())?;
            if found.usable != Usable::Fresh {
                return None;
            }
            cache.tell_hit(full);
            if cache.claims_refresh(&found) {
                let said = std::mem::take(&mut self.said);
                let fill = self.fill.take();
                Call::new(cache, Arc::from(full), said, fill).refresh(&found);
            }
            Some(found.hit(State::Fresh))
        })
    }

    /// On its way from here on. Apart, so that a hit is not in its way.
    #[cold]
    fn begin(&mut self) -> &mut Slow<V, E> {
        let full = self.cache.full(self.key.as_ref());
        self.cache.tell(|key| Event::Miss { key }, &full);
        let said = std::mem::take(&mut self.said);
        let call = Call::new(self.cache, full, said, self.fill.take());
        let slow: Slow<V, E> = match self.memory {
            true => Box::pin(call.run()),
            false => Box::pin(call.past_memory()),
        };
        self.slow.insert(slow)
    }
}

impl<K, V, F, Fut, E> Future for GetOrSet<'_, K, V, F, E>
where
    K: AsRef<[u8]>,
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = Answer<V, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(slow) = &mut self.slow {
            return slow.as_mut().poll(cx);
        }
        if self.memory
            && let Some(hit) = self.at_once()
        {
            return Poll::Ready(Ok(hit));
        }
        self.begin().as_mut().poll(cx)
    }
}

/// Nothing in it is pinned.
impl<K, V, F, E> Unpin for GetOrSet<'_, K, V, F, E> {}

impl<K, V, F, E> fmt::Debug for GetOrSet<'_, K, V, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrSet")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
