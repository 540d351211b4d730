//! One stored value, and what may be done with it at a given time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{InvalidationClock, Stamp, Validity};
use crate::slots::Slots;

/// How long a value lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
}

#[derive(Debug)]
pub(crate) struct Entry<V> {
    pub(crate) held: Held<V>,
    pub(crate) stamp: Stamp,
    pub(crate) slots: Slots,
    pub(crate) stored: Instant,
    pub(crate) lifetime: Lifetime,
    /// `None` is for ever.
    fresh_until: Option<Instant>,
    /// How long its fill took, if this process filled it.
    pub(crate) took: Option<Duration>,
    pub(crate) weight: u32,
    /// Nobody but those who waited for it may have it.
    pub(crate) unstorable: bool,
    refreshing: AtomicBool,
    quiet: Mutex<Option<Quiet>>,
}

/// What an entry holds.
#[derive(Debug)]
pub(crate) enum Held<V> {
    /// That the source has no such value.
    Nothing,
    /// The value of another entry, which was found not to have changed. That one holds its own.
    Of(Arc<Entry<V>>),
    Own(V),
}

/// The source is not asked before `until`, unless something was invalidated after `stamp`.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    until: Instant,
    stamp: Stamp,
}

/// Whether a value may be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usable {
    /// As it is.
    Fresh,
    /// Not at all.
    No,
    /// Only when the source fails, or is slow.
    Stale,
}

impl<V> Entry<V> {
    pub(crate) fn new(
        held: Held<V>,
        stamp: Stamp,
        slots: Slots,
        stored: Instant,
        lifetime: Lifetime,
    ) -> Self {
        Self {
            held,
            stamp,
            slots,
            stored,
            lifetime,
            fresh_until: stored.checked_add(lifetime.ttl),
            took: None,
            weight: 0,
            unstorable: false,
            refreshing: AtomicBool::new(false),
            quiet: Mutex::new(None),
        }
    }

    /// `None` when it stands for a value that the source does not have.
    pub(crate) fn value(&self) -> Option<&V> {
        match &self.held {
            Held::Nothing => None,
            Held::Own(value) => Some(value),
            Held::Of(other) => other.value(),
        }
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// When its source was asked, if this process has done so.
    #[cfg(feature = "l2")]
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.took.and_then(|took| self.stored.checked_sub(took))
    }

    pub(crate) fn usable(&self, clock: &InvalidationClock, now: Instant) -> Usable {
        let is_fresh = self.fresh_until.is_none_or(|until| now < until);
        let in_grace = || self.age(now) < self.lifetime.ttl.saturating_add(self.lifetime.grace);
        match self.validity(clock) {
            Validity::Valid if is_fresh => Usable::Fresh,
            Validity::Removed => Usable::No,
            _ if !in_grace() => Usable::No,
            // An expired value is kept for bad times only if there is a grace at all.
            Validity::Expired if self.lifetime.grace.is_zero() => Usable::No,
            Validity::Expired | Validity::Valid => Usable::Stale,
        }
    }

    pub(crate) fn validity(&self, clock: &InvalidationClock) -> Validity {
        clock.check(self.stamp, self.slots.as_slice())
    }

    /// From now until `until` the source need not be asked again; it was asked at `stamp`, and that came to nothing.
    pub(crate) fn calm(&self, until: Option<Instant>, stamp: Stamp) {
        if let Some(until) = until {
            *self.quiet() = Some(Quiet { until, stamp });
        }
    }

    /// Whether the source was asked a short while ago, in vain, and nothing of this was invalidated since.
    pub(crate) fn is_calm(&self, clock: &InvalidationClock, now: Instant) -> bool {
        let quiet = *self.quiet();
        quiet.is_some_and(|quiet| {
            now < quiet.until && clock.check(quiet.stamp, self.slots.as_slice()) == Validity::Valid
        })
    }

    /// Whether this caller is the one to refresh it.
    pub(crate) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }

    fn quiet(&self) -> MutexGuard<'_, Option<Quiet>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Held<V> {
    /// The value that `entry` holds, once more. Never longer than one step away, however often it was found unchanged.
    pub(crate) fn again(entry: &Arc<Entry<V>>) -> Self {
        match &entry.held {
            Held::Of(other) => Held::Of(Arc::clone(other)),
            Held::Nothing | Held::Own(_) => Held::Of(Arc::clone(entry)),
        }
    }
}
