//! Events as metrics.

use metrics::{Counter, counter};

use crate::event::{Event, Observer};

/// Counts each [`Event`] with the crate `metrics`, in the counter `dedup_events_total` with the labels `flights`, which is the name given
/// here, and `event`, which is [`Event::name`].
///
/// ```
/// use buttress_dedup::{Flights, Metrics};
///
/// let flights = Flights::builder().observer(Metrics::new("prices")).build::<u32, u64>();
/// # let _ = flights;
/// ```
///
/// Make it after the recorder is installed: it keeps its counters, so that an event costs one addition.
pub struct Metrics {
    counters: [Counter; Event::NAMES.len()],
}

impl Metrics {
    /// Counts under this name.
    #[must_use]
    pub fn new(flights: &'static str) -> Self {
        let of = |event| counter!("dedup_events_total", "flights" => flights, "event" => event);
        Self {
            counters: Event::NAMES.map(of),
        }
    }
}

impl Observer for Metrics {
    fn on_event(&self, event: &Event<'_>) {
        let counter = &self.counters[event.index()];
        counter.increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
