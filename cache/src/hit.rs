//! What a look-up gives.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Stamp;
use crate::entry::Entry;

/// A value found in, or put into, the cache. Dereferences to the value; a clone is one `Arc`.
pub struct Hit<V> {
    entry: Arc<Entry<V>>,
    state: State,
    /// When it was found.
    found: Instant,
    tier: Tier,
}

/// How a [`Hit`] came about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// It was filled for this call, or for one that ran at the same time.
    Filled,
    /// It was found.
    Fresh,
    /// It was found, is past its time or expired, and the source failed or is slow.
    Stale,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Tier {
    /// The memory of this process.
    Memory,
    /// The level that processes share.
    Redis,
    /// The source itself.
    Source,
}

impl Tier {
    /// What it is called in logs and metrics: `memory`, `redis`, `source`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Source => "source",
        }
    }
}

impl<V> Hit<V> {
    /// `None` when the entry stands for a value that the source does not have.
    pub(crate) fn new(entry: Arc<Entry<V>>, state: State, found: Instant) -> Option<Self> {
        entry.value()?;
        let tier = match state {
            State::Filled => Tier::Source,
            State::Fresh | State::Stale => Tier::Memory,
        };
        Some(Self {
            entry,
            state,
            found,
            tier,
        })
    }

    /// It was found somewhere else.
    #[cfg(feature = "l2")]
    pub(crate) fn at_tier(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }

    #[cfg(any(feature = "http", feature = "l2"))]
    pub(crate) fn entry(&self) -> &Arc<Entry<V>> {
        &self.entry
    }

    /// The same, of what was stored just now.
    pub(crate) fn filled(entry: Arc<Entry<V>>) -> Option<Self> {
        let stored = entry.stored;
        Self::new(entry, State::Filled, stored)
    }

    /// How it came about.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// For how long it had been in the cache when it was found.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.entry.age(self.found)
    }

    /// Where it came from.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
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
        self.entry.value().expect("a hit has a value")
    }
}

impl<V> Clone for Hit<V> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
            state: self.state,
            found: self.found,
            tier: self.tier,
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Hit<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit")
            .field("value", &**self)
            .field("state", &self.state)
            .field("age", &self.age())
            .finish_non_exhaustive()
    }
}
