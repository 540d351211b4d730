//! Events as log lines.

use tracing::{debug, trace, warn};

use crate::event::{Event, Observer};

/// Logs each [`Event`] with the crate `tracing`, under the target `buttress_dedup`, with the fields `flights`, which is the name given here, and
/// `event`, which is [`Event::name`]: what every call does at the level TRACE, what is out of the ordinary at DEBUG, and trouble with a
/// coordinator at WARN with the field `error`.
///
/// ```
/// use buttress_dedup::{Flights, Tracing};
///
/// let flights = Flights::builder().observer(Tracing::new("prices")).build::<u32, u64>();
/// # let _ = flights;
/// ```
///
/// It is called in the task of whoever causes the event, and so inside of that one's span.
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    flights: &'static str,
}

impl Tracing {
    /// Logs under this name.
    #[must_use]
    pub fn new(flights: &'static str) -> Self {
        Self { flights }
    }
}

impl Observer for Tracing {
    fn on_event(&self, event: &Event<'_>) {
        let (flights, name) = (self.flights, event.name());
        match event {
            Event::Joined | Event::Led | Event::Received => {
                trace!(target: "buttress_dedup", flights, event = name);
            }
            Event::Uncoordinated(error) => {
                warn!(target: "buttress_dedup", flights, event = name, %error);
            }
            _ => debug!(target: "buttress_dedup", flights, event = name),
        }
    }
}
