//! What a breaker tells.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// The breaker was built, closed. The first event of each. For every [observer](crate::Builder::observer).
    Built(&'a Breaker),
    /// The breaker changed its state. For every observer, and for who [subscribed](Breaker::subscribe).
    Transition(&'a Breaker, Transition),
    /// A rule tripped while the breaker only measures. The windows start anew. For every observer, and for who subscribed.
    WouldOpen(&'a Breaker, Transition),
    /// The settings of the breaker were changed. For every observer, and for who subscribed.
    Reconfigured(&'a Breaker),
    /// A call is over, with this verdict, after so long. Only for [observers of calls](crate::Builder::observer_of_calls), and in no order with transitions.
    Finished(&'a Breaker, Verdict, Duration),
    /// The caller went away, which has this verdict, after so long. Only for observers of calls.
    Cancelled(&'a Breaker, Verdict, Duration),
    /// A call was not made. Only for observers of calls.
    Rejected(&'a Breaker, &'a Rejected),
    /// A call took longer than this limit of the layer, or of `call_within`. It is [`Finished`](Self::Finished) as well, as a failure. Only for
    /// observers of calls.
    TimedOut(&'a Breaker, Duration),
    /// A fallback answers a request that was rejected, or whose call ended in a way that the fallback is for. Only for observers of calls.
    FellBack(&'a Breaker),
    /// A health check failed, or took too long. Only for observers of calls.
    CheckFailed(&'a Breaker),
    /// A key found no room among the `Breakers` of its layer, and shares this breaker with others for which there is none. Told once each time
    /// that it begins. For every observer.
    Overflow(&'a Breaker),
    /// A breaker of a key had to make room, or was idle for too long. The last event of each that goes so: nobody holds it, and the next of its
    /// key will be closed and new. For every observer.
    Evicted(&'a Breaker),
    /// A breaker of that name has opened in another process, for so long. What this one makes of it is its policy. Only for
    /// observers of a `Sharing`.
    TrippedElsewhere(&'a Breaker, Duration),
    /// Other processes cannot be reached: this one decides alone. Only for observers of a `Sharing`.
    FeedLost(&'a (dyn std::error::Error + 'static)),
    /// They can be again. Only for observers of a `Sharing`.
    FeedRestored,
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
    /// How long the breaker will be open, if it has opened for a time: not where it was forced.
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
    /// Its like has opened in another process.
    Adopted,
    /// A health check failed.
    Unhealthy,
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
    /// Called after the fact, never under a lock: by the call that caused it, or a transition by another that was telling one at that moment. May call any method of
    /// the breaker; transitions that this causes are told after the current event. When it panics, nobody but the panic hook hears of it: the breaker does as it would have done. Should return soon: if an observer is so slow that 256 events wait for
    /// it, the oldest are lost, and the generations show a gap.
    fn on_event(&self, event: &Event<'_>);
}

/// Tells one of them. A call that panics is told of while it does: a second panic would end the process.
pub(crate) fn tell(observer: &dyn Observer, event: &Event<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| observer.on_event(event)));
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}
