//! Forgetting what is over, in the background.

use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Store;
use crate::event::{Audience, Event, Observer};

/// Deletes what has outlived its ttl, a bounded number at a time, for as long as it is [`run`](Self::run).
///
/// Every store refuses or replaces what is over by itself; this gives its room back. A `RedisStore` needs none of it. Any
/// number of processes may purge one store.
///
/// ```
/// use buttress_idempotency::{MemoryStore, Purge};
/// use std::time::Duration;
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let purging = tokio::spawn(Purge::new(store).every(Duration::from_secs(60)).run());
/// // At shutdown:
/// purging.abort();
/// # })
/// ```
#[must_use = "it purges while `run` is polled"]
pub struct Purge<St> {
    store: St,
    every: Duration,
    limit: NonZeroUsize,
    audience: Audience,
}

impl<St: Store> Purge<St> {
    /// Purges `store` each minute, 1000 records at a time.
    pub fn new(store: St) -> Self {
        const THOUSAND: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
        Self {
            store,
            every: Duration::from_secs(60),
            limit: THOUSAND,
            audience: Audience::default(),
        }
    }

    /// How long it rests between runs, a second at least. Default: a minute.
    pub fn every(self, every: Duration) -> Self {
        let every = every.max(Duration::from_secs(1));
        Self { every, ..self }
    }

    /// How many records one statement deletes at most. When it finds as many, the next run follows after a hundredth of the rest. Default: 1000.
    pub fn limit(self, limit: NonZeroUsize) -> Self {
        Self { limit, ..self }
    }

    /// Who hears of a store that fails. Several may.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.audience.add(observer);
        self
    }

    /// Purges until it is dropped. The first run comes after a random part of the rest, so that processes that start together do not purge
    /// together.
    ///
    /// # Cancellation
    ///
    /// Dropping it ends the purging; a statement that is under way may still be done.
    pub async fn run(self) -> Infallible {
        let mut rest = self.every.mul_f64(fastrand::f64());
        loop {
            tokio::time::sleep(rest).await;
            rest = match self.store.purge(self.limit.get()).await {
                Ok(purged) if purged >= self.limit.get() => self.every / 100,
                Ok(_) => self.every,
                Err(error) => {
                    self.audience.tell(Event::StoreFailed(&error));
                    self.every
                }
            };
        }
    }
}

impl<St> fmt::Debug for Purge<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purge")
            .field("every", &self.every)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
