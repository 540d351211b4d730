//! What a breaker answers instead of a result.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::name::Name;
use crate::window::Window;

/// The error of a call through a breaker.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call was not made.
    Rejected(Rejected),
    /// The call was made and failed.
    Inner(E),
    /// The call was made and took longer than it may.
    TimedOut(TimedOut),
}

impl<E> Error<E> {
    /// The rejection, if it is one.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(_) | Self::TimedOut(_) => None,
        }
    }

    /// The error of the call, if it was made and answered.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Rejected(_) | Self::TimedOut(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}

impl<E> From<Rejected> for Error<E> {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Inner(error) => error.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(_) | Self::TimedOut(_) => None,
            Self::Inner(error) => error.source(),
        }
    }
}

/// A call that was not made. In the HTTP layer it is in the extensions of the refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    breaker: Name,
    refusal: Refusal,
}

/// A rejection before anybody is told: `[reason: 32 | milliseconds: 32]`. One word, for the same reason as a ticket: what is written in two pieces and moved
/// as one has to be waited for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Refusal(NonZeroU64);

const REASON_AT: u32 = 32;

impl Refusal {
    pub(crate) const FORCED: Self = Self::of(Reason::Forced, 0);
    pub(crate) const SATURATED: Self = Self::of(Reason::Saturated, 0);

    /// `millis` is what remains of an open time; it is never told as zero.
    #[inline]
    pub(crate) fn new(reason: Reason, millis: u64) -> Self {
        Self::of(reason, millis.clamp(1, u32::MAX.into()) as u32)
    }

    #[inline]
    const fn of(reason: Reason, millis: u32) -> Self {
        // A reason is never zero.
        let word = (reason as u64) << REASON_AT | millis as u64;
        Self(NonZeroU64::MIN.saturating_add(word - 1))
    }

    pub(crate) fn reason(self) -> Reason {
        match self.0.get() >> REASON_AT {
            1 => Reason::Open,
            2 => Reason::Probing,
            3 => Reason::Forced,
            4 => Reason::Ramping,
            _ => Reason::Saturated,
        }
    }

    pub(crate) fn retry_after(self) -> Option<Duration> {
        let millis = self.0.get() as u32;
        (millis > 0).then(|| Duration::from_millis(millis.into()))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.reason(), self.retry_after())
    }
}

/// Why a call was not made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The breaker is open.
    Open = 1,
    /// The breaker is half-open and all its probes are under way.
    Probing,
    /// The breaker was forced open.
    Forced,
    /// The service is back, and is not given all its load at once.
    Ramping,
    /// As many calls are under way as may be.
    Saturated,
}

impl Rejected {
    #[inline]
    pub(crate) fn new(breaker: &Name, refusal: Refusal) -> Self {
        Self {
            breaker: breaker.clone(),
            refusal,
        }
    }

    /// The name of the breaker.
    #[must_use]
    pub fn breaker(&self) -> &str {
        &self.breaker
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason()
    }

    /// When to ask again: what remains of the open time; at most a second while probes are under way, since their answer may come
    /// at any moment, and while the service gets its load back; unknown while the breaker is forced open, and while too many calls are
    /// under way. Never zero.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal.retry_after()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.breaker();
        match self.reason() {
            Reason::Open => write!(f, "circuit breaker {name:?} is open"),
            Reason::Probing => write!(f, "circuit breaker {name:?} is probing its service"),
            Reason::Forced => write!(f, "circuit breaker {name:?} was forced open"),
            Reason::Ramping => write!(f, "circuit breaker {name:?} is letting its service recover"),
            Reason::Saturated => write!(f, "circuit breaker {name:?} has no room for another call"),
        }
    }
}

impl std::error::Error for Rejected {}

/// A call that took longer than it may. In the HTTP layer it is in the extensions of the refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimedOut {
    breaker: Name,
    limit: Duration,
}

impl TimedOut {
    pub(crate) fn new(breaker: &Name, limit: Duration) -> Self {
        Self {
            breaker: breaker.clone(),
            limit,
        }
    }

    /// The name of the breaker, which has counted a failure.
    #[must_use]
    pub fn breaker(&self) -> &str {
        &self.breaker
    }

    /// How long the call might have taken.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, limit) = (self.breaker(), self.limit);
        write!(
            f,
            "a call through circuit breaker {name:?} took longer than {limit:?}"
        )
    }
}

impl std::error::Error for TimedOut {}

/// A setting that no breaker can have.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A share that is not between 0 and 1.
    Ratio(f64),
    /// A window of no calls, of too many, too short for its buckets, or longer than a day.
    Window(Window),
    /// A minimum volume of zero, or more than the window holds.
    MinCalls(u32),
    /// A rule that trips at zero failures in a row.
    NoFailures,
    /// A breaker that no call may pass.
    NoRoom,
    /// No probe at all, or more than 4095.
    Probes(u32),
    /// A time of less than a millisecond, of more than a day, or a maximum below its base.
    Time(Duration),
    /// A back-off that shrinks.
    Factor(f64),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(value) => write!(f, "{value} is not a share between 0 and 1"),
            Self::Window(window) => write!(f, "a rate cannot be taken over {window:?}"),
            Self::MinCalls(calls) => {
                write!(f, "a minimum of {calls} calls does not fit the window")
            }
            Self::NoFailures => f.write_str("a rule cannot trip at zero consecutive failures"),
            Self::NoRoom => f.write_str("a breaker cannot bound its calls in flight to zero"),
            Self::Probes(count) => write!(f, "{count} probes are not between 1 and 4095"),
            Self::Time(time) => write!(f, "{time:?} is out of range"),
            Self::Factor(factor) => write!(f, "a back-off cannot grow by a factor of {factor}"),
        }
    }
}

impl std::error::Error for ConfigError {}
