//! What a call says about its service.

use std::time::Duration;

/// What a finished call says about the health of the service.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// A failure that says for how long the service does not want to be called. A breaker that opens before that time is over stays
    /// open until then, plus its jitter, whatever its back-off says. At most a day; whoever classifies sets a tighter bound.
    FailureFor(Duration),
    /// The service turns calls away since it has too much to do, and may say for how long. A failure for every rate and for a probe, but
    /// never one of consecutive failures: a service that answers some calls and sheds the rest is not down.
    Overloaded(Option<Duration>),
    /// Nothing: the call is not counted, and a probe's slot is given back.
    Ignore,
}

impl Verdict {
    pub(crate) fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failure | Self::FailureFor(_) | Self::Overloaded(_)
        )
    }

    /// For how long the service does not want to be called.
    pub(crate) fn asks_for(self) -> Option<Duration> {
        match self {
            Self::FailureFor(time) | Self::Overloaded(Some(time)) => Some(time),
            _ => None,
        }
    }
}

/// Turns a result into a [`Verdict`]. Implemented for closures.
pub trait Classify<T, E> {
    /// What `result` says about the service.
    fn classify(&self, result: &Result<T, E>) -> Verdict;
}

impl<T, E, F: Fn(&Result<T, E>) -> Verdict> Classify<T, E> for F {
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        self(result)
    }
}

/// Every error is a failure, everything else a success.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrIsFailure;

impl<T, E> Classify<T, E> for ErrIsFailure {
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Failure,
        }
    }
}
