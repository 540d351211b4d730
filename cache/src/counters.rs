//! Counts events, and hands them on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Event, Observer, Snapshot};

#[derive(Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    fills: AtomicU64,
    failures: AtomicU64,
    joined: AtomicU64,
    stale: AtomicU64,
    invalidations: AtomicU64,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Counters {
    pub(crate) fn emit(&self, event: Event<'_>) {
        let counter = match event {
            Event::Hit { .. } => &self.hits,
            Event::Miss { .. } => &self.misses,
            Event::Filled { .. } => &self.fills,
            Event::FillFailed { .. } => &self.failures,
            Event::Joined { .. } => &self.joined,
            Event::ServedStale { .. } => &self.stale,
            Event::Invalidated { .. } | Event::Cleared => &self.invalidations,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.on_event(&event);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            hits: read(&self.hits),
            misses: read(&self.misses),
            fills: read(&self.fills),
            failures: read(&self.failures),
            joined: read(&self.joined),
            stale: read(&self.stale),
            invalidations: read(&self.invalidations),
            ..Snapshot::default()
        }
    }
}
