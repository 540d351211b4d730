//! Metrics, for whichever recorder is installed.

use metrics::{SharedString, counter, gauge, histogram};

use super::{cause, reason, state};
use crate::breaker::Breaker;
use crate::event::{Event, Observer};
use crate::machine::State;
use crate::verdict::Verdict;

/// Tells the `metrics` facade what happens to breakers. As an [observer of calls](crate::Builder::observer_of_calls) it also counts calls and takes
/// their time.
///
/// | metric | labels | |
/// |---|---|---|
/// | `circuit_state` | `breaker`, `state` | a gauge: 1 for the state that the breaker is in, 0 for every other, from the build on |
/// | `circuit_transitions_total` | `breaker`, `from`, `to`, `cause` | |
/// | `circuit_would_open_total` | `breaker` | a rule tripped while the breaker only measured |
/// | `circuit_overflows_total` | `breaker` | keys found no room |
/// | `circuit_feed_connected` | | a gauge: 0 while other processes cannot be reached |
/// | `circuit_calls_total` | `breaker`, `outcome` | `success`, `failure`, `overloaded`, `ignored`, `cancelled` |
/// | `circuit_rejected_total` | `breaker`, `reason` | |
/// | `circuit_timeouts_total`, `circuit_fallbacks_total`, `circuit_checks_failed_total` | `breaker` | |
/// | `circuit_call_duration_seconds` | `breaker`, `outcome` | a histogram |
///
/// Breakers of one name share their metrics: give those of keys a name each, and think of how many there will be. One that is evicted is
/// `closed`, as the next of its key will be. A breaker whose open time is over is `open` here until the next call comes.
///
/// ```
/// use buttress_circuit::{Breaker, Metrics};
///
/// // Installed before, the recorder knows the breaker from the first moment on.
/// let breaker = Breaker::builder("payments").observer_of_calls(Metrics).build()?;
/// # Ok::<(), buttress_circuit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

const STATES: [State; 6] = [
    State::Closed,
    State::Open,
    State::HalfOpen,
    State::ForcedOpen,
    State::ForcedClosed,
    State::MetricsOnly,
];

impl Observer for Metrics {
    fn on_event(&self, event: &Event<'_>) {
        match *event {
            // What a key without a breaker would get is a closed one.
            Event::Built(breaker) | Event::Evicted(breaker) => show(breaker, State::Closed),
            Event::Transition(breaker, transition) => {
                show(breaker, transition.to);
                let (from, to) = (state(transition.from), state(transition.to));
                let cause = cause(transition.cause);
                counter!("circuit_transitions_total", "breaker" => name(breaker), "from" => from, "to" => to, "cause" => cause)
                    .increment(1);
            }
            Event::WouldOpen(breaker, _) => {
                counter!("circuit_would_open_total", "breaker" => name(breaker)).increment(1);
            }
            Event::Overflow(breaker) => {
                counter!("circuit_overflows_total", "breaker" => name(breaker)).increment(1);
            }
            Event::Finished(breaker, verdict, took) => {
                count(breaker, outcome(verdict), took.as_secs_f64());
            }
            Event::Cancelled(breaker, _, took) => count(breaker, "cancelled", took.as_secs_f64()),
            Event::Rejected(breaker, rejected) => {
                let reason = reason(rejected.reason());
                counter!("circuit_rejected_total", "breaker" => name(breaker), "reason" => reason)
                    .increment(1);
            }
            Event::FeedLost(_) => gauge!("circuit_feed_connected").set(0.0),
            Event::FeedRestored => gauge!("circuit_feed_connected").set(1.0),
            Event::TimedOut(breaker, _) => {
                counter!("circuit_timeouts_total", "breaker" => name(breaker)).increment(1);
            }
            Event::FellBack(breaker) => {
                counter!("circuit_fallbacks_total", "breaker" => name(breaker)).increment(1);
            }
            Event::CheckFailed(breaker) => {
                counter!("circuit_checks_failed_total", "breaker" => name(breaker)).increment(1);
            }
            Event::Reconfigured(_) | Event::TrippedElsewhere(..) => {}
        }
    }
}

/// All states, also those that it cannot have been in: an event may have been lost.
fn show(breaker: &Breaker, now: State) {
    for one in STATES {
        let gauge = gauge!("circuit_state", "breaker" => name(breaker), "state" => state(one));
        gauge.set(if one == now { 1.0 } else { 0.0 });
    }
}

fn count(breaker: &Breaker, outcome: &'static str, seconds: f64) {
    counter!("circuit_calls_total", "breaker" => name(breaker), "outcome" => outcome).increment(1);
    histogram!("circuit_call_duration_seconds", "breaker" => name(breaker), "outcome" => outcome)
        .record(seconds);
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Success => "success",
        Verdict::Failure | Verdict::FailureFor(_) => "failure",
        Verdict::Overloaded(_) => "overloaded",
        Verdict::Ignore => "ignored",
    }
}

/// Without a copy of its text.
fn name(breaker: &Breaker) -> SharedString {
    match breaker.name().shared() {
        Ok(literal) => SharedString::const_str(literal),
        Err(shared) => SharedString::from_shared(shared),
    }
}
