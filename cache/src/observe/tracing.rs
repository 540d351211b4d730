//! Events as log lines.

use std::fmt;

use tracing::{debug, trace, warn};

use crate::event::{Event, Observer};

/// Logs each [`Event`] with the crate `tracing`, under the target `buttress_cache`, with the fields `cache`, which is the name given here, and
/// `event`, which is [`Event::name`]: what every call does at the level TRACE, what is out of the ordinary and invalidations at DEBUG, and a source or a second level that fails at
/// WARN.
///
/// What is about a key has the field `key`, with bytes that are no printable ASCII escaped; hits have `tier`, and what has a reason has `why`.
///
/// ```
/// use buttress_cache::{Cache, Tracing};
///
/// let cache = Cache::<u64>::builder().observer(Tracing::new("products")).build();
/// # let _ = cache;
/// ```
///
/// It is called in the task of whoever causes the event, and so inside of that one's span. Keys may be personal: log them where that may be.
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    cache: &'static str,
}

impl Tracing {
    /// Logs under this name.
    #[must_use]
    pub fn new(cache: &'static str) -> Self {
        Self { cache }
    }
}

impl Observer for Tracing {
    fn on_event(&self, event: &Event<'_>) {
        let (cache, name) = (self.cache, event.name());
        match event {
            Event::Hit { key, tier } => {
                let (key, tier) = (Escaped(key), tier.name());
                trace!(target: "buttress_cache", cache, event = name, %key, tier);
            }
            Event::Filled { key } | Event::Joined { key } | Event::Miss { key } => {
                let key = Escaped(key);
                trace!(target: "buttress_cache", cache, event = name, %key);
            }
            Event::Detached { key } | Event::Refreshing { key } | Event::Unstored { key } => {
                let key = Escaped(key);
                debug!(target: "buttress_cache", cache, event = name, %key);
            }
            Event::ServedStale { key, why } => {
                let key = Escaped(key);
                debug!(target: "buttress_cache", cache, event = name, %key, ?why);
            }
            Event::FillFailed { key, why } => {
                let key = Escaped(key);
                warn!(target: "buttress_cache", cache, event = name, %key, ?why);
            }
            Event::Invalidated { depth } => {
                debug!(target: "buttress_cache", cache, event = name, ?depth);
            }
            Event::L2Failed { why, error } => {
                warn!(target: "buttress_cache", cache, event = name, ?why, error);
            }
            Event::NewEpoch => warn!(target: "buttress_cache", cache, event = name),
            Event::Cleared | Event::Resynced => {
                debug!(target: "buttress_cache", cache, event = name);
            }
        }
    }
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}
