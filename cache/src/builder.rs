//! A cache's size and its defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::counters::Counters;
use crate::event::Observer;
use crate::clock::SlotBits;

/// Chooses a cache's size and its defaults; made by [`Cache::builder`].
#[must_use]
pub struct Builder<V> {
    settings: Settings<V>,
    counters: Counters,
}

pub(crate) struct Settings<V> {
    pub(crate) max_weight: u64,
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) slots: SlotBits,
    jitter: f64,
    weigher: Option<Arc<dyn Fn(&[u8], &V) -> usize + Send + Sync>>,
}

impl<V: Send + Sync + 'static> Builder<V> {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            max_weight: 64 << 20,
            ttl: Duration::from_secs(5 * 60),
            grace: Duration::ZERO,
            slots: SlotBits::DEFAULT,
            jitter: 0.0,
            weigher: None,
        };
        Self {
            settings,
            counters: Counters::default(),
        }
    }

    /// How much is kept, in bytes as the [weigher](Self::weigher) counts them. Default: 64 MiB.
    pub fn max_weight(mut self, bytes: u64) -> Self {
        self.settings.max_weight = bytes;
        self
    }

    /// How many bytes a value takes, beside its key. Default: the size of the type, which is right for types that own nothing.
    pub fn weigher(mut self, weigher: impl Fn(&[u8], &V) -> usize + Send + Sync + 'static) -> Self {
        self.settings.weigher = Some(Arc::new(weigher));
        self
    }

    /// How long a value is fresh, if neither the call nor the fill says. Default: five minutes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// For how long after that a value may be served when the source fails. Default: not at all.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Shortens each ttl by a random part of up to this share, so that what was stored together does not expire together. Taken to
    /// within 0 and 1. Default: 0.
    pub fn jitter(mut self, share: f64) -> Self {
        self.settings.jitter = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self
    }

    /// How many slots the invalidation clock has, at least; two tags in one slot go together. At most 16 bytes each. Default: 2²⁰.
    pub fn slots(mut self, slots: u32) -> Self {
        self.settings.slots = SlotBits::at_least(slots);
        self
    }

    /// Who hears of it.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.counters.observer = Some(Arc::new(observer));
        self
    }

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<V> {
        Cache::build(self.settings, self.counters)
    }
}

impl<V> Settings<V> {
    pub(crate) fn jittered(&self, ttl: Duration) -> Duration {
        if self.jitter == 0.0 {
            ttl
        } else {
            ttl.mul_f64(1.0 - self.jitter * fastrand::f64())
        }
    }

    pub(crate) fn weigh(&self, key: &[u8], value: &V, slots: usize) -> u32 {
        let value = match &self.weigher {
            Some(weigher) => weigher(key, value),
            None => size_of::<V>(),
        };
        let weight = value.saturating_add(key.len() + slots * 4 + ENTRY_OVERHEAD);
        u32::try_from(weight).unwrap_or(u32::MAX)
    }
}

/// What an entry takes beside its key, its value and its slots: its own fields, and moka's.
const ENTRY_OVERHEAD: usize = 250;

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_weight", &self.settings.max_weight)
            .field("ttl", &self.settings.ttl)
            .field("grace", &self.settings.grace)
            .finish_non_exhaustive()
    }
}
