//! What a breaker tells.

use std::time::Duration;

use crate::breaker::Breaker;
use crate::error::Rejected;
use crate::machine::State;
use crate::verdict::Verdict;
use crate::window::Tally;

/// Something that happened to a breaker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The breaker changed its state.
    Transition(&'a Breaker, Transition),
    /// A rule tripped while the breaker only measures. The windows start anew.
    WouldOpen(&'a Breaker, Transition),
    /// The settings of the breaker were changed.
    Reconfigured(&'a Breaker),
    /// A call is over, with this verdict, after so long. Only for an [observer of calls](crate::Builder::observer_of_calls), like the next two, and not
    /// in any order with transitions.
    Finished(&'a Breaker, Verdict, Duration),
    /// The caller went away, which has this verdict, after so long.
    Cancelled(&'a Breaker, Verdict, Duration),
    /// A call was not made.
    Rejected(&'a Breaker, &'a Rejected),
}

/// A change of state. Every generation has one, and they are told in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// The number of the state that began: one more than that of the last. Wraps around at 2 097 152.
    pub generation: u32,
    /// The state that ended.
    pub from: State,
    /// The state that began.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// How long the breaker will be open, where it opened by itself.
    pub open_for: Option<Duration>,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// A rule tripped. This is what it held then.
    Tripped(Reading),
    /// The open time is over.
    OpenTimeOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed.
    ProbesFailed,
    /// Probes did not answer in time.
    ProbesTimedOut,
    /// Somebody asked for it.
    Manual,
    /// The settings were changed while probes were out, which start anew.
    Reconfigured,
    /// A snapshot was restored.
    Restored,
}

/// What a trip rule holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Reading {
    /// The calls in the window that failed.
    FailureRate(Tally),
    /// The calls in the window that were slow.
    SlowCalls(Tally),
    /// The failures in a row.
    Consecutive(u32),
}

/// Hears what happens to a breaker. Implemented for closures.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, by the call that caused it, never under a lock. May call any method of the breaker; transitions that this
    /// causes are told after the current event. Should return soon, and not panic. If an observer is so slow that 256 events wait for
    /// it, the oldest are lost, and the generations show a gap.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}
