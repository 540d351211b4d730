//! Events of `tracing`.

use tracing::{debug, info, trace, warn};

use super::{cause, reason, state};
use crate::event::{Event, Observer, Transition};
use crate::machine::State;
use crate::name::Name;

/// Tells `tracing` what happens to breakers, under the target `buttress_circuit` with the fields `breaker`, `from`, `to` and `cause`: at `WARN`
/// what opens, would open, overflows or is lost, at `INFO` any other transition. As an
/// [observer of calls](crate::Builder::observer_of_calls) also rejections at `DEBUG` and finished calls at `TRACE`.
///
/// ```
/// use buttress_circuit::{Breaker, Tracing};
///
/// let breaker = Breaker::builder("payments").observer(Tracing).build()?;
/// # Ok::<(), buttress_circuit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

const TARGET: &str = "buttress_circuit";

impl Observer for Tracing {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Transition(breaker, transition) => tell(breaker.name(), transition),
            Event::WouldOpen(breaker, transition) => {
                warn!(target: TARGET, breaker = %breaker.name(), cause = ?transition.cause, "a breaker that only measures would have opened");
            }
            Event::Finished(breaker, verdict, took) => {
                trace!(target: TARGET, breaker = %breaker.name(), ?verdict, ?took, "call finished");
            }
            Event::Cancelled(breaker, verdict, took) => {
                trace!(target: TARGET, breaker = %breaker.name(), ?verdict, ?took, "call cancelled");
            }
            Event::Rejected(breaker, rejected) => {
                debug!(target: TARGET, breaker = %breaker.name(), reason = reason(rejected.reason()), retry_after = ?rejected.retry_after(), "call rejected");
            }
            Event::TimedOut(breaker, limit) => {
                debug!(target: TARGET, breaker = %breaker.name(), ?limit, "call timed out");
            }
            Event::FellBack(breaker) => {
                debug!(target: TARGET, breaker = %breaker.name(), "a fallback answers");
            }
            Event::CheckFailed(breaker) => {
                debug!(target: TARGET, breaker = %breaker.name(), "health check failed");
            }
            Event::Overflow(breaker) => {
                warn!(target: TARGET, breaker = %breaker.name(), "no room for the breaker of a key");
            }
            Event::Evicted(breaker) => {
                debug!(target: TARGET, breaker = %breaker.name(), "breaker of a key evicted");
            }
            Event::TrippedElsewhere(breaker, open_for) => {
                info!(target: TARGET, breaker = %breaker.name(), ?open_for, "breaker opened in another process");
            }
            Event::FeedLost(error) => {
                warn!(target: TARGET, %error, "other processes cannot be reached");
            }
            Event::FeedRestored => info!(target: TARGET, "other processes can be reached again"),
            Event::Reconfigured(breaker) => {
                info!(target: TARGET, breaker = %breaker.name(), "breaker reconfigured");
            }
            Event::Built(breaker) => {
                debug!(target: TARGET, breaker = %breaker.name(), "breaker built");
            }
        }
    }
}

fn tell(name: &Name, transition: &Transition) {
    let Transition {
        from, to, open_for, ..
    } = *transition;
    let (from, cause) = (state(from), cause(transition.cause));
    match to {
        State::Open | State::ForcedOpen => {
            warn!(target: TARGET, breaker = %name, from, to = state(to), cause, ?open_for, "breaker opened");
        }
        _ => info!(target: TARGET, breaker = %name, from, to = state(to), cause, "breaker changed"),
    }
}
