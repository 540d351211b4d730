//! One stored value, and what may be done with it at a given time.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{InvalidationClock, Slot, Stamp, Validity};

/// How long a value lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
}

#[derive(Debug)]
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    pub(crate) stamp: Stamp,
    pub(crate) slots: Box<[Slot]>,
    pub(crate) stored: Instant,
    pub(crate) lifetime: Lifetime,
    pub(crate) weight: u32,
}

/// Whether a value may be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usable {
    /// As it is.
    Fresh,
    /// Not at all.
    No,
    /// Only when the source fails.
    Stale,
}

impl<V> Entry<V> {
    pub(crate) fn usable(&self, clock: &InvalidationClock, now: Instant) -> Usable {
        let age = now.saturating_duration_since(self.stored);
        let in_grace = age < self.lifetime.ttl.saturating_add(self.lifetime.grace);
        match clock.check(self.stamp, &self.slots) {
            Validity::Removed => Usable::No,
            _ if !in_grace => Usable::No,
            // An expired value is kept for bad times only if there is a grace at all.
            Validity::Expired if self.lifetime.grace.is_zero() => Usable::No,
            Validity::Valid if age < self.lifetime.ttl => Usable::Fresh,
            Validity::Expired | Validity::Valid => Usable::Stale,
        }
    }
}

/// A value found in, or put into, the cache. Dereferences to the value; a clone is one `Arc`.
pub struct Hit<V> {
    pub(crate) entry: Arc<Entry<V>>,
    pub(crate) state: State,
    pub(crate) age: Duration,
}

/// How a [`Hit`] came about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// It was filled for this call, or for one that ran at the same time.
    Filled,
    /// It was found.
    Fresh,
    /// It was found, is past its time, and the source failed.
    Stale,
}

impl<V> Hit<V> {
    /// How it came about.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// For how long it has been in the cache.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// What was known of the clock before it was filled.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.entry.stamp
    }
}

impl<V> Deref for Hit<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.entry.value
    }
}

impl<V> Clone for Hit<V> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
            state: self.state,
            age: self.age,
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Hit<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit")
            .field("value", &self.entry.value)
            .field("state", &self.state)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}
