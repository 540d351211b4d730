//! Observers that are ready to use.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;

use crate::error::Reason;
use crate::event::Cause;
use crate::machine::State;

pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Open => "open",
        State::HalfOpen => "half_open",
        State::ForcedOpen => "forced_open",
        State::ForcedClosed => "forced_closed",
        State::MetricsOnly => "metrics_only",
    }
}

pub(crate) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Tripped(_) => "tripped",
        Cause::OpenTimeOver => "open_time_over",
        Cause::ProbesSucceeded => "probes_succeeded",
        Cause::ProbesFailed => "probes_failed",
        Cause::ProbesTimedOut => "probes_timed_out",
        Cause::Manual => "manual",
        Cause::Reconfigured => "reconfigured",
        Cause::Restored => "restored",
        Cause::Adopted => "adopted",
        Cause::Unhealthy => "unhealthy",
    }
}

pub(crate) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Open => "open",
        Reason::Probing => "probing",
        Reason::Forced => "forced",
        Reason::Ramping => "ramping",
        Reason::Saturated => "saturated",
    }
}
