//! What happens to keyed requests, for those who want to count it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{Claim, Origin, StoreError};

/// Something that happened.
///
/// What a keyed request that gets as far as the store comes to first is one of [`Claimed`](Event::Claimed), [`Replayed`](Event::Replayed), [`InProgress`](Event::InProgress),
/// [`Mismatch`](Event::Mismatch), [`OutcomeUnknown`](Event::OutcomeUnknown), [`Crowded`](Event::Crowded), [`Full`](Event::Full) and [`StoreFailed`](Event::StoreFailed), where it has not left
/// before. It need not stay the only one: who has claimed and is overtaken, or answers something else than it has filed, is answered like a duplicate, which is told again, as `Replayed` for example;
/// a claim that has to give way in a crowded scope is `Claimed`, `Forgotten` and `Crowded`; and a store that fails is told of each time that it does, also beside an answer that is known. So counts
/// of them do not add up to requests. The others say that a request waits, or goes on in another way, and what became of a claim.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request went to the inner service unprotected, since the store had failed.
    Bypassed,
    /// A key was claimed, and the work begins.
    Claimed(&'a Claim),
    /// The work is done and its record filed.
    Completed(&'a Claim),
    /// The request was refused: too many of its scope are running.
    Crowded,
    /// The caller, or the reader of the response, went away in the middle of the work, which goes on by itself.
    Detached,
    /// The work had no effect; the key is free again.
    Forgotten(&'a Claim),
    /// The request was refused: too many of the layer are running.
    Full,
    /// The request was refused: the first of its key is still running.
    InProgress,
    /// The lease was lost while the work went on.
    Lost(&'a Claim),
    /// The request was refused: its key stands for another one.
    Mismatch,
    /// Nobody knows how the work under a claim ended; recovery decides what happens to the next request.
    Orphaned(&'a Claim),
    /// The request was refused: nobody knows how the first of its key ended.
    OutcomeUnknown,
    /// A hook has found out how work ended that nobody knew about.
    Reconciled(&'a Claim),
    /// A recorded response was sent again, or a duplicate was told that it was not kept. Of this request it was the answer first.
    Replayed(&'a Origin),
    /// The store is set up so that it may lose what it has granted.
    #[cfg(feature = "redis")]
    StoreAtRisk(crate::redis::Risk),
    /// The store did not do as asked.
    StoreFailed(&'a StoreError),
    /// A request waits for the first one of its key.
    Waiting,
}

impl Event<'_> {
    pub(crate) const NAMES: [&'static str; 17] = [
        "bypassed",
        "claimed",
        "completed",
        "crowded",
        "detached",
        "forgotten",
        "full",
        "in_progress",
        "lost",
        "mismatch",
        "orphaned",
        "outcome_unknown",
        "reconciled",
        "replayed",
        "store_at_risk",
        "store_failed",
        "waiting",
    ];

    /// What it is called in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Of its name.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Bypassed => 0,
            Self::Claimed(_) => 1,
            Self::Completed(_) => 2,
            Self::Crowded => 3,
            Self::Detached => 4,
            Self::Forgotten(_) => 5,
            Self::Full => 6,
            Self::InProgress => 7,
            Self::Lost(_) => 8,
            Self::Mismatch => 9,
            Self::Orphaned(_) => 10,
            Self::OutcomeUnknown => 11,
            Self::Reconciled(_) => 12,
            Self::Replayed(_) => 13,
            #[cfg(feature = "redis")]
            Self::StoreAtRisk(_) => 14,
            Self::StoreFailed(_) => 15,
            Self::Waiting => 16,
        }
    }
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock. May call any method of the layer. When it panics, nobody but the panic hook hears of it: leases are kept, and waiters woken, all the
    /// same.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Tells one of them.
pub(crate) fn tell(observer: &dyn Observer, event: &Event<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| observer.on_event(event)));
}

/// All who hear, in the order they were added.
#[derive(Clone, Default)]
pub(crate) struct Audience(Vec<Arc<dyn Observer>>);

impl Audience {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Arc::new(observer));
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        for observer in &self.0 {
            tell(&**observer, &event);
        }
    }
}

/// How often each event has happened.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Event::NAMES.len()]);

impl Tally {
    pub(crate) fn count(&self, event: &Event<'_>) {
        self.0[event.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let [
            bypassed,
            claimed,
            completed,
            crowded,
            detached,
            forgotten,
            full,
            in_progress,
            lost,
            mismatch,
            orphaned,
            outcome_unknown,
            reconciled,
            replayed,
            _,
            store_failed,
            waited,
        ] = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        Snapshot {
            bypassed,
            claimed,
            completed,
            crowded,
            detached,
            forgotten,
            full,
            in_progress,
            lost,
            mismatch,
            orphaned,
            outcome_unknown,
            reconciled,
            replayed,
            store_failed,
            waited,
            running: 0,
            waiting: 0,
            tasks: 0,
        }
    }
}

/// What a layer has seen since it was made, and what it is doing; see [`Event`] for the words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the count of the event of its name")]
pub struct Snapshot {
    pub bypassed: u64,
    pub claimed: u64,
    pub completed: u64,
    pub crowded: u64,
    pub detached: u64,
    pub forgotten: u64,
    pub full: u64,
    pub in_progress: u64,
    pub lost: u64,
    pub mismatch: u64,
    pub orphaned: u64,
    pub outcome_unknown: u64,
    pub reconciled: u64,
    pub replayed: u64,
    pub store_failed: u64,
    pub waited: u64,
    /// Claims that are held now, or asked for.
    pub running: usize,
    /// Requests that wait now for the first one of their key.
    pub waiting: usize,
    /// Tasks that run now: work that has lost its caller, leases that are kept, and what a store that failed is to be asked again.
    pub tasks: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_that_of_its_name() {
        let tally = Tally::default();
        let error = StoreError::Full;
        for event in [Event::Waiting, Event::StoreFailed(&error), Event::Mismatch] {
            tally.count(&event);
        }
        let snapshot = tally.snapshot();
        assert_eq!(
            (snapshot.waited, snapshot.store_failed, snapshot.mismatch),
            (1, 1, 1)
        );
        assert_eq!(Event::StoreFailed(&error).name(), "store_failed");
        assert_eq!(Event::Waiting.name(), "waiting");
        assert!(Event::NAMES.is_sorted());
    }
}
