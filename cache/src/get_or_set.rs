//! A look-up that fills, once for all who ask at the same time.

use std::any::Any;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::{Leader, Role, Waited};
use tokio::time::Instant;

use crate::cache::Cache;
use crate::entry::{Entry, Hit, State, Usable};
use crate::error::FillError;
use crate::event::Event;
use crate::fill::{Fill, Said};
use crate::clock::{Name, Stamp, Validity};

/// A look-up that fills; made by [`Cache::get_or_set`]. Await it.
#[must_use = "nothing is looked up before this is awaited"]
pub struct GetOrSet<V, F, E> {
    cache: Cache<V>,
    key: Arc<[u8]>,
    said: Said,
    fill: F,
    error: PhantomData<fn() -> E>,
}

impl<V: Send + Sync + 'static, F, E> GetOrSet<V, F, E> {
    pub(crate) fn new(cache: Cache<V>, key: Arc<[u8]>, fill: F) -> Self {
        Self {
            cache,
            key,
            said: Said::default(),
            fill,
            error: PhantomData,
        }
    }

    /// How long a filled value is fresh, if the fill does not say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// A filled value goes when one of these is invalidated.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let clock = self.cache.clock();
        tags.into_iter()
            .for_each(|tag| self.said.push(clock.slot(Name::Tag(tag.as_ref()))));
        self
    }
}

impl<V, F, Fut, E> IntoFuture for GetOrSet<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<Option<Hit<V>>, FillError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// How often a follower may find that what it waited for began too early for it, before it fills for itself alone.
const MAX_FLIGHTS: usize = 3;

impl<V, F, Fut, E> GetOrSet<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut,
    Fut: Future<Output = Result<Option<V>, E>>,
    E: Send + Sync + 'static,
{
    async fn run(self) -> Result<Option<Hit<V>>, FillError<E>> {
        let asked = self.cache.stamp();
        for _ in 0..MAX_FLIGHTS {
            let stale = match self.cache.look_up(&self.key, Instant::now()) {
                Some((Usable::Fresh, entry, age)) => {
                    self.cache.emit(Event::Hit { key: &self.key });
                    return Ok(Some(Hit {
                        entry,
                        state: State::Fresh,
                        age,
                    }));
                }
                found => found,
            };
            self.cache.emit(Event::Miss { key: &self.key });
            let filled = match self.cache.flights().join(Arc::clone(&self.key)) {
                Role::Leader(leader) => return self.lead(leader, stale).await,
                Role::Full => return self.fill_alone(stale).await,
                Role::Landed(filled) => filled,
                Role::Follower(wait) => {
                    self.cache.emit(Event::Joined { key: &self.key });
                    match wait.await {
                        Waited::Promoted(leader) => return self.lead(leader, stale).await,
                        Waited::TimedOut => return self.fill_alone(stale).await,
                        Waited::Value(filled) => filled,
                    }
                }
            };
            if let Some(result) = self.accept(filled, stale, asked) {
                return result;
            }
        }
        self.fill_alone(None).await
    }

    /// Fills for everyone who waits. If it is dropped, its fill is dropped first, and then somebody else leads.
    async fn lead(
        self,
        leader: Leader<Arc<[u8]>, Filled<V>>,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> Result<Option<Hit<V>>, FillError<E>> {
        // Someone may have filled it between our look and our lead.
        if let Some((Usable::Fresh, entry, age)) = self.cache.look_up(&self.key, Instant::now()) {
            leader.complete(Filled::Value(Arc::clone(&entry)));
            return Ok(Some(Hit {
                entry,
                state: State::Fresh,
                age,
            }));
        }
        let cache = self.cache.clone();
        let key = Arc::clone(&self.key);
        let (result, stamp) = self.fill(&stale).await;
        let filled = match &result {
            Ok(Some(hit)) => Filled::Value(Arc::clone(&hit.entry)),
            Ok(None) => Filled::Nothing(stamp),
            Err(error) => Filled::Failed(Arc::clone(&error.0) as Arc<dyn Any + Send + Sync>),
        };
        leader.complete(filled);
        or_stale(&cache, &key, result, stale)
    }

    async fn fill_alone(
        self,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> Result<Option<Hit<V>>, FillError<E>> {
        let cache = self.cache.clone();
        let key = Arc::clone(&self.key);
        let (result, _) = self.fill(&stale).await;
        or_stale(&cache, &key, result, stale)
    }

    async fn fill(
        self,
        stale: &Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> (Result<Option<Hit<V>>, FillError<E>>, Stamp) {
        let stale = stale.as_ref().map(|(_, entry, age)| Hit {
            entry: Arc::clone(entry),
            state: State::Stale,
            age: *age,
        });
        // Before the source is read: this is what makes a late fill harmless.
        let stamp = self.cache.stamp();
        let fill = Fill::new(&self.cache, stale, self.said, stamp);
        let result = (self.fill)(fill.clone()).await;
        let key = &self.key;
        self.cache.emit(if result.is_ok() {
            Event::Filled { key }
        } else {
            Event::FillFailed { key }
        });
        let result = result
            .map_err(|error| FillError(Arc::new(error)))
            .map(|value| {
                let entry = self.cache.store(key, value?, stamp, fill.said());
                Some(Hit {
                    entry,
                    state: State::Filled,
                    age: Duration::ZERO,
                })
            });
        (result, stamp)
    }

    /// What a follower makes of somebody else's fill. `None` when it may not be used: it began before something that this call
    /// must not miss, or failed with an error of another type.
    fn accept(
        &self,
        filled: Filled<V>,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
        asked: Stamp,
    ) -> Option<Result<Option<Hit<V>>, FillError<E>>> {
        let clock = self.cache.clock();
        // Nothing was invalidated between this call and that fill: whatever has happened since, it is no older than its answer may be.
        let current = |stamp: Stamp| stamp.epoch == asked.epoch && stamp.born >= asked.born;
        match filled {
            Filled::Value(entry) => {
                let now = Instant::now();
                let fresh = current(entry.stamp) || entry.usable(clock, now) == Usable::Fresh;
                let age = now.saturating_duration_since(entry.stored);
                fresh.then_some(Ok(Some(Hit {
                    entry,
                    state: State::Filled,
                    age,
                })))
            }
            Filled::Nothing(stamp) => {
                let slot = clock.slot(Name::Key(&self.key));
                let valid = current(stamp) || clock.check(stamp, &[slot]) == Validity::Valid;
                valid.then_some(Ok(None))
            }
            Filled::Failed(error) => {
                let error = FillError(error.downcast::<E>().ok()?);
                Some(or_stale(&self.cache, &self.key, Err(error), stale))
            }
        }
    }
}

/// A stale value within its grace is better than an error.
fn or_stale<V: Send + Sync + 'static, E>(
    cache: &Cache<V>,
    key: &Arc<[u8]>,
    result: Result<Option<Hit<V>>, FillError<E>>,
    stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
) -> Result<Option<Hit<V>>, FillError<E>> {
    // Looked at again: it may have been removed while the source was asked.
    let usable = |entry: &Arc<Entry<V>>| entry.usable(cache.clock(), Instant::now()) != Usable::No;
    match (result, stale) {
        (Err(_), Some((_, entry, age))) if usable(&entry) => {
            cache.emit(Event::ServedStale { key });
            Ok(Some(Hit {
                entry,
                state: State::Stale,
                age,
            }))
        }
        (result, _) => result,
    }
}

/// What a fill came to, for those who waited for it.
#[derive(Debug)]
pub(crate) enum Filled<V> {
    Failed(Arc<dyn Any + Send + Sync>),
    Nothing(Stamp),
    Value(Arc<Entry<V>>),
}

impl<V> Clone for Filled<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Nothing(stamp) => Self::Nothing(*stamp),
            Self::Value(entry) => Self::Value(Arc::clone(entry)),
        }
    }
}

impl<V, F, E> fmt::Debug for GetOrSet<V, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrSet")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
