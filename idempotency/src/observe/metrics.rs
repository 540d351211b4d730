//! Events as metrics.

use metrics::{Counter, counter};

use crate::event::{Event, Observer};

/// Counts each [`Event`] with the crate `metrics`, in the counter `idempotency_events_total` with the labels `layer`, which is the name given
/// here, and `event`, which is [`Event::name`].
///
/// ```
/// use buttress_idempotency::{IdempotencyLayer, MemoryStore, Metrics};
///
/// let layer = IdempotencyLayer::new(MemoryStore::new())
///     .single_tenant()
///     .observer(Metrics::new("orders"));
/// # let _ = layer;
/// ```
///
/// Make it after the recorder is installed: it keeps its counters, so that an event costs one addition.
pub struct Metrics {
    counters: [Counter; Event::NAMES.len()],
}

impl Metrics {
    /// Counts under this name.
    #[must_use]
    pub fn new(layer: &'static str) -> Self {
        let of = |event| counter!("idempotency_events_total", "layer" => layer, "event" => event);
        Self {
            counters: Event::NAMES.map(of),
        }
    }
}

impl Observer for Metrics {
    fn on_event(&self, event: &Event<'_>) {
        self.counters[event.index()].increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
