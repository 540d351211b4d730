//! The way of a call that has found nothing fresh.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::{Role, Waited};
use tokio::time::{Instant, timeout};

use crate::cache::Cache;
use crate::clock::{Stamp, Validity};
use crate::entry::{Entry, Usable};
use crate::error::FillError;
use crate::event::{Event, Stale};
use crate::fill::{Fill, Said};
use crate::hit::{Hit, State};
use crate::keyed::{Answer, Keyed};
use crate::reading::{Filled, Leads};

/// A call, and its fill if it comes to that.
pub(crate) struct Call<V, F, E> {
    pub(crate) at: Keyed<V>,
    pub(crate) said: Said,
    pub(crate) fill: F,
    error: PhantomData<fn() -> E>,
}

/// When a call began.
#[derive(Clone, Copy)]
struct Asked {
    stamp: Stamp,
    #[cfg(feature = "l2")]
    at: Instant,
}

/// How often a follower may find that what it waited for began too early for it, before it fills for itself alone.
const MAX_FLIGHTS: usize = 3;

impl<V, F, E> Call<V, F, E> {
    pub(crate) fn new(cache: &Cache<V>, full: Arc<[u8]>, said: Said, fill: Option<F>) -> Self {
        let cache = cache.clone();
        Self {
            at: Keyed { cache, full },
            said,
            fill: fill.expect("a future is not polled after it was ready"),
            error: PhantomData,
        }
    }
}

impl<V, F, Fut, E> Call<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    /// Waits for somebody else's fill, or fills.
    ///
    /// ```text
    ///  Look ── fresh ─► (hit)
    ///   │ └─── stale, and the source is left in peace ─► (stale)
    ///   └──► Join ─── leads, or is promoted ─► Lead ─► (answer), or (stale)
    ///          ├───── follows ─── a value, or an error ─► (answer), or (stale)
    ///          │        ├──────── too slow ─► (stale), or Look
    ///          │        └──────── began too early ─► Look, and after some times Alone
    ///          └───── there is no room ─► Alone ─► (answer), or (stale)
    /// ```
    pub(crate) async fn run(self) -> Answer<V, E> {
        // Whatever is invalidated from here on, this call began before.
        let asked = Asked {
            stamp: self.at.cache.stamp(),
            #[cfg(feature = "l2")]
            at: Instant::now(),
        };
        let mut too_early = 0;
        let mut joined = false;
        while too_early < MAX_FLIGHTS {
            let stale = match self.at.look_up() {
                Some(found) if found.usable == Usable::Fresh => return Ok(found.hit(State::Fresh)),
                found => found.map(|found| found.entry),
            };
            if let Some(hit) = self.throttled(stale.as_ref()) {
                return Ok(Some(hit));
            }
            let wait = match self.at.cache.flights().join(Arc::clone(&self.at.full)) {
                Role::Follower(wait) => wait,
                Role::Leader(leader) => return self.lead(leader).await,
                Role::Full | Role::Landed(_) => return self.alone(stale).await,
            };
            if !std::mem::replace(&mut joined, true) {
                self.at.tell(|key| Event::Joined { key });
            }
            match wait.await {
                Waited::Promoted(leader) => return self.lead(leader).await,
                Waited::TimedOut => {
                    if let Some(hit) = self.too_slow(stale.as_ref(), asked.stamp) {
                        return Ok(hit);
                    }
                }
                Waited::Value(filled) => {
                    if let Some(answer) = self.accept(filled, stale.as_ref(), asked) {
                        return answer;
                    }
                    too_early += 1;
                }
            }
        }
        let stale = self.at.look_up().map(|found| found.entry);
        self.alone(stale).await
    }

    /// Fills for this caller, and keeps nothing.
    pub(crate) async fn past_memory(self) -> Answer<V, E> {
        #[cfg(feature = "l2")]
        if let Some(found) = self.at.look_below(false).await
            && found.usable == Usable::Fresh
        {
            return Ok(self.at.hit_below(found));
        }
        self.work(None, None, false).await
    }

    async fn alone(self, stale: Option<Arc<Entry<V>>>) -> Answer<V, E> {
        let at = self.at.clone();
        let answer = self.work(None, stale.clone(), true).await;
        at.or_stale(answer, stale.as_ref())
    }

    /// Fills for everyone who waits. If it is dropped, its fill is dropped first, and then somebody else leads.
    async fn lead(self, leader: Leads<V>) -> Answer<V, E> {
        // Between our look and our lead someone may have filled it, or what was stale may have been removed.
        let stale = match self.at.look_up() {
            Some(found) if found.usable == Usable::Fresh => {
                leader.complete(Filled::Entry(Arc::clone(&found.entry)));
                return Ok(found.hit(State::Fresh));
            }
            found => found.map(|found| found.entry),
        };
        // Nobody asks the source for what another process has read.
        #[cfg(feature = "l2")]
        let stale = match self.at.look_below(true).await {
            Some(found) if found.usable == Usable::Fresh => {
                leader.complete(Filled::Entry(Arc::clone(&found.entry)));
                return Ok(self.at.hit_below(found));
            }
            found => found.map(|found| found.entry).or(stale),
        };
        match (self.at.cache.settings().soft_timeout, stale) {
            (Some(soft), Some(stale)) => self.lead_for(soft, leader, stale).await,
            (_, stale) => {
                let at = self.at.clone();
                let answer = self.work(Some(leader), stale.clone(), true).await;
                at.or_stale(answer, stale.as_ref())
            }
        }
    }

    /// Fills, and lets the fill go on by itself when it takes longer than `soft`.
    async fn lead_for(
        self,
        soft: Duration,
        leader: Leads<V>,
        stale: Arc<Entry<V>>,
    ) -> Answer<V, E> {
        let at = self.at.clone();
        let asked = at.cache.stamp();
        let mut work = Box::pin(self.work(Some(leader), Some(Arc::clone(&stale)), true));
        if let Ok(answer) = timeout(soft, &mut work).await {
            return at.or_stale(answer, Some(&stale));
        }
        if let Some(hit) = at.instead(Some(&stale), Stale::Slow) {
            at.calm(&stale, asked);
            at.tell(|key| Event::Detached { key });
            at.cache.tasks().spawn(async move { drop(work.await) });
            return Ok(hit);
        }
        // It was removed in the meantime.
        at.or_stale(work.await, None)
    }

    /// The stale value, where the source is left in peace.
    fn throttled(&self, stale: Option<&Arc<Entry<V>>>) -> Option<Hit<V>> {
        let stale = stale.filter(|stale| self.at.is_calm(stale))?;
        self.at.serve_stale(stale, Stale::Throttled)
    }

    /// What there is, for a follower who has waited for the source long enough. Who came when there was nothing stale waits on.
    fn too_slow(&self, stale: Option<&Arc<Entry<V>>>, asked: Stamp) -> Option<Option<Hit<V>>> {
        let stale = stale?;
        let hit = self.at.instead(Some(stale), Stale::Slow)?;
        self.at.calm(stale, asked);
        Some(hit)
    }

    /// What a follower makes of somebody else's fill. `None` when it may not be used: it began before something that this call
    /// must not miss, or failed with an error of another type.
    fn accept(
        &self,
        filled: Filled<V>,
        stale: Option<&Arc<Entry<V>>>,
        asked: Asked,
    ) -> Option<Answer<V, E>> {
        let error = match filled {
            Filled::Entry(entry) => {
                let now = Instant::now();
                let may_have = self.may_have(&entry, asked);
                return may_have.then(|| Ok(Hit::new(entry, State::Filled, now)));
            }
            Filled::Failed(error) => FillError::Source(error.downcast().ok()?),
            Filled::Panicked => FillError::Panicked,
            Filled::TimedOut => FillError::TimedOut,
        };
        Some(self.at.or_stale(Err(error), stale))
    }

    /// Whether what was filled for somebody else is no older than what this call may have.
    fn may_have(&self, entry: &Entry<V>, asked: Asked) -> bool {
        // Nothing was invalidated between this call and that fill: whatever has happened since, it is as good as its own would be.
        let Stamp { epoch, born } = asked.stamp;
        let is_current = entry.stamp.epoch == epoch && entry.stamp.born >= born;
        let is_valid = || entry.validity(self.at.cache.clock()) == Validity::Valid;
        let is_good = is_current || (!entry.unstorable && is_valid());
        #[cfg(feature = "l2")]
        if let Some(below) = self.at.cache.below() {
            // What others invalidated may be known later than this call began, and that fill may have begun long before.
            let is_known =
                || below.covers(entry.begun(), asked.at) || below.is_trusted(Instant::now());
            return is_good && is_valid() && is_known();
        }
        is_good
    }
}
