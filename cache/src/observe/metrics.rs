//! Events as metrics.

use metrics::{Counter, counter};

use crate::event::{Event, Observer};
use crate::hit::Tier;

/// Counts each [`Event`] with the crate `metrics`, in the counter `cache_events_total` with the labels `cache`, which is the name given
/// here, and `event`, which is [`Event::name`]. Hits have the label `tier` too, which is [`Tier::name`].
///
/// ```
/// use buttress_cache::{Cache, Metrics};
///
/// let cache = Cache::<u64>::builder().observer(Metrics::new("products")).build();
/// # let _ = cache;
/// ```
///
/// Make it after the recorder is installed: it keeps its counters, so that an event costs one addition. How much is in a cache is told by its
/// [snapshot](crate::Cache::snapshot).
pub struct Metrics {
    /// By the index of the event.
    counters: [Counter; Event::NAMES.len()],
    hits: [Counter; 2],
}

impl Metrics {
    /// Counts under this name.
    #[must_use]
    pub fn new(cache: &'static str) -> Self {
        let hits = |tier: Tier| counter!("cache_events_total", "cache" => cache, "event" => "hit", "tier" => tier.name());
        let of = |event| match event {
            // Counted by tier.
            "hit" => Counter::noop(),
            event => counter!("cache_events_total", "cache" => cache, "event" => event),
        };
        Self {
            counters: Event::NAMES.map(of),
            hits: [Tier::Memory, Tier::Redis].map(hits),
        }
    }

    fn counter(&self, event: &Event<'_>) -> &Counter {
        match event {
            Event::Hit {
                tier: Tier::Redis, ..
            } => &self.hits[1],
            Event::Hit { .. } => &self.hits[0],
            _ => &self.counters[event.index()],
        }
    }
}

impl Observer for Metrics {
    fn on_event(&self, event: &Event<'_>) {
        self.counter(event).increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
