//! Reading the source.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "l2")]
use buttress_dedup::Lease;
use buttress_dedup::{Leader, Role};
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, Found};
use crate::call::Call;
use crate::caught::caught;
use crate::entry::{Entry, Held};
use crate::error::FillError;
use crate::event::{Event, Failure};
use crate::fill::{Fill, Said};
use crate::hit::{Hit, State};
use crate::keyed::{Answer, Keyed};
#[cfg(feature = "l2")]
use crate::l2::Reader;
use crate::store::Reading;

pub(crate) type Leads<V> = Leader<Arc<[u8]>, Filled<V>>;

/// What a fill came to, for those who waited for it.
pub(crate) enum Filled<V> {
    /// A value, or that there is none.
    Entry(Arc<Entry<V>>),
    Failed(Arc<dyn Any + Send + Sync>),
    Panicked,
    TimedOut,
}

impl<V, F, Fut, E> Call<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    /// Reads the source, stores what it says and tells it to those who wait for `leader`.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the fill, then the leader.
    pub(crate) async fn work(
        self,
        leader: Option<Leads<V>>,
        stale: Option<Arc<Entry<V>>>,
        keep: bool,
    ) -> Answer<V, E> {
        let Self { at, said, fill, .. } = self;
        #[cfg(feature = "l2")]
        let lease = match at.reader(stale.as_deref(), keep).await {
            Reader::Us(lease) => lease,
            Reader::Other(found) => {
                if let Some(leader) = leader {
                    leader.complete(Filled::Entry(Arc::clone(&found.entry)));
                }
                return Ok(at.hit_below(found));
            }
        };
        let filled = at.fill(fill, said, stale.as_ref(), keep).await;
        if let Some(leader) = leader {
            leader.complete(Filled::of(&filled));
        }
        at.tell_filled(&filled);
        #[cfg(feature = "l2")]
        at.tell_below(&filled, lease, stale.is_some()).await;
        filled.map(Hit::filled)
    }

    /// Reads a value anew that is still fresh, in the background, unless somebody is reading it already.
    pub(crate) fn refresh(self, found: &Found<V>) {
        let refreshing = Refreshing(Arc::clone(&found.entry));
        let flights = self.at.cache.flights();
        let Role::Leader(leader) = flights.join(Arc::clone(&self.at.full)) else {
            return;
        };
        self.at.tell(|key| Event::Refreshing { key });
        let tasks = self.at.cache.tasks().clone();
        tasks.spawn(async move {
            let stale = Some(Arc::clone(&refreshing.0));
            drop(self.work(Some(leader), stale, true).await);
            drop(refreshing);
        });
    }
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// Claims to read a value anew that is fresh and due for it. Tells whether this caller is the one to do so.
    pub(crate) fn claims_refresh(&self, found: &Found<V>) -> bool {
        let refresh = &self.settings().refresh;
        !refresh.is_off()
            && refresh.is_due(&found.entry, found.entry.age(found.now), fastrand::f64)
            && !found.entry.is_calm(self.clock(), found.now)
            && found.entry.begin_refresh()
    }
}

impl<V: Send + Sync + 'static> Keyed<V> {
    /// Reads the source, and stores what it says.
    async fn fill<F, Fut, E>(
        &self,
        fill: F,
        said: Said,
        stale: Option<&Arc<Entry<V>>>,
        keep: bool,
    ) -> Result<Arc<Entry<V>>, FillError<E>>
    where
        F: FnOnce(Fill<V>) -> Fut,
        Fut: Future<Output = Result<Option<V>, E>>,
    {
        // Before the source is read: this is what makes a late fill harmless.
        let stamp = self.cache.stamp();
        let begun = Instant::now();
        let told = Fill::new(&self.cache, stale.and_then(before), said, stamp);
        let read = read(&self.cache, fill, told.clone()).await;
        if let (Err(_), Some(stale)) = (&read, stale) {
            self.calm(stale, stamp);
        }
        let value = read?;
        let mut said = told.said();
        let held = held(value, &mut said, stale);
        let now = Instant::now();
        let reading = Reading {
            keep: keep && held.is_some(),
            held: held.unwrap_or(Held::Nothing),
            stamp,
            said,
            took: now.saturating_duration_since(begun),
            now,
        };
        Ok(self.cache.store(&self.full, reading))
    }

    /// What other processes are to know of it.
    #[cfg(feature = "l2")]
    async fn tell_below<E>(
        &self,
        filled: &Result<Arc<Entry<V>>, FillError<E>>,
        lease: Option<Box<dyn Lease>>,
        was_stale: bool,
    ) {
        let Ok(entry) = filled else {
            // Whoever waits for it in other processes tries.
            return drop(lease);
        };
        self.give_below(entry, lease).await;
        if was_stale {
            self.clear_below(entry).await;
        }
    }

    fn tell_filled<E>(&self, filled: &Result<Arc<Entry<V>>, FillError<E>>) {
        let why = match filled {
            Ok(_) => return self.tell(|key| Event::Filled { key }),
            Err(FillError::Panicked) => Failure::Panicked,
            Err(FillError::Source(_)) => Failure::Source,
            Err(FillError::TimedOut) => Failure::TimedOut,
        };
        self.tell(|key| Event::FillFailed { key, why });
    }
}

/// Asks the source, for as long as it may take.
async fn read<V, F, Fut, E>(
    cache: &Cache<V>,
    fill: F,
    told: Fill<V>,
) -> Result<Option<V>, FillError<E>>
where
    F: FnOnce(Fill<V>) -> Fut,
    Fut: Future<Output = Result<Option<V>, E>>,
{
    let reading = caught(async move { fill(told).await });
    let read = match cache.settings().hard_timeout {
        Some(hard) => timeout(hard, reading)
            .await
            .map_err(|_| FillError::TimedOut)?,
        None => reading.await,
    };
    match read {
        Ok(read) => read.map_err(|error| FillError::Source(Arc::new(error))),
        Err(_) => Err(FillError::Panicked),
    }
}

/// What the fill sees of the value that is there.
fn before<V>(entry: &Arc<Entry<V>>) -> Option<Hit<V>> {
    Hit::new(Arc::clone(entry), State::Stale, Instant::now())
}

/// What was read. `None` for what it was not to be said of: that it is unchanged, where there is nothing.
fn held<V>(value: Option<V>, said: &mut Said, stale: Option<&Arc<Entry<V>>>) -> Option<Held<V>> {
    // That there is nothing is no value, which could be unchanged.
    match (value, stale.filter(|stale| stale.value().is_some())) {
        (Some(value), _) => Some(Held::Own(value)),
        (None, Some(stale)) if said.not_modified => {
            // Those of what was there, and not of where its value is: it may have got more since.
            let slots = stale.slots.as_slice();
            slots.iter().for_each(|slot| said.push(*slot));
            Some(Held::again(stale))
        }
        (None, None) if said.not_modified => None,
        (None, _) => Some(Held::Nothing),
    }
}

/// A value that is being read anew. Dropping it lets others try.
struct Refreshing<V>(Arc<Entry<V>>);

impl<V> Drop for Refreshing<V> {
    fn drop(&mut self) {
        self.0.end_refresh();
    }
}

impl<V> Filled<V> {
    fn of<E: Send + Sync + 'static>(filled: &Result<Arc<Entry<V>>, FillError<E>>) -> Self {
        match filled {
            Ok(entry) => Self::Entry(Arc::clone(entry)),
            Err(FillError::Panicked) => Self::Panicked,
            Err(FillError::Source(error)) => Self::Failed(Arc::clone(error) as _),
            Err(FillError::TimedOut) => Self::TimedOut,
        }
    }
}

impl<V> Clone for Filled<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Entry(entry) => Self::Entry(Arc::clone(entry)),
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked => Self::Panicked,
            Self::TimedOut => Self::TimedOut,
        }
    }
}
