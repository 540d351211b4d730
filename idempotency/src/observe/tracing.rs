//! Events as log lines.

use tracing::{debug, info, trace, warn};

use crate::event::{Event, Observer};
use crate::store::Claim;

/// Logs each [`Event`] with the crate `tracing`, under the target `buttress_idempotency`, with the fields `layer`, which is the name given here, and
/// `event`, which is [`Event::name`]: what every request does at the level TRACE, refusals at DEBUG, a replay at INFO with the id of the first request as
/// `original_request`, and at WARN what somebody has to look at: a claim whose outcome nobody knows, a lost lease, a store that fails.
///
/// What is about a claim has the fields `key`, which is the [`RecordKey`](crate::RecordKey) in hexadecimal, `fence` and `attempt`.
///
/// ```
/// use buttress_idempotency::{IdempotencyLayer, MemoryStore, Tracing};
///
/// let layer = IdempotencyLayer::new(MemoryStore::new())
///     .single_tenant()
///     .observer(Tracing::new("orders"));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    layer: &'static str,
}

impl Tracing {
    /// Logs under this name.
    #[must_use]
    pub fn new(layer: &'static str) -> Self {
        Self { layer }
    }
}

impl Observer for Tracing {
    fn on_event(&self, event: &Event<'_>) {
        let (layer, name) = (self.layer, event.name());
        match event {
            Event::Claimed(Claim {
                key,
                fence,
                attempt,
                ..
            })
            | Event::Completed(Claim {
                key,
                fence,
                attempt,
                ..
            }) => {
                trace!(target: "buttress_idempotency", layer, event = name, %key, fence, attempt);
            }
            Event::Forgotten(Claim {
                key,
                fence,
                attempt,
                ..
            })
            | Event::Reconciled(Claim {
                key,
                fence,
                attempt,
                ..
            }) => {
                info!(target: "buttress_idempotency", layer, event = name, %key, fence, attempt);
            }
            Event::Orphaned(Claim {
                key,
                fence,
                attempt,
                ..
            })
            | Event::Lost(Claim {
                key,
                fence,
                attempt,
                ..
            }) => {
                warn!(target: "buttress_idempotency", layer, event = name, %key, fence, attempt);
            }
            Event::Replayed(origin) => {
                let request = origin.request_id().and_then(|id| id.to_str().ok());
                info!(target: "buttress_idempotency", layer, event = name, original_request = request);
            }
            Event::StoreFailed(error) => {
                let cause = std::error::Error::source(error).map(tracing::field::display);
                warn!(target: "buttress_idempotency", layer, event = name, %error, cause);
            }
            Event::Bypassed => warn!(target: "buttress_idempotency", layer, event = name),
            #[cfg(feature = "redis")]
            Event::StoreAtRisk(risk) => {
                warn!(target: "buttress_idempotency", layer, event = name, ?risk);
            }
            _ => debug!(target: "buttress_idempotency", layer, event = name),
        }
    }
}
