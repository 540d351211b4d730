//! What a rate is taken over.

mod count;
mod time;

use std::time::Duration;

pub(crate) use count::CountWindow;
pub(crate) use time::TimeWindow;

use crate::error::ConfigError;
use crate::kept::Contents;

/// The calls a rate is taken over.
///
/// Both forget everything when the breaker changes its state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window(Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Calls(u32),
    Time(Duration),
}

const MIN_TIME: Duration = Duration::from_millis(time::BUCKETS);

impl Window {
    /// The last `calls` calls: every new one pushes out the oldest, however old it is. Costs two bits per call. From 1 to 131 071.
    #[must_use]
    pub const fn calls(calls: u32) -> Self {
        Self(Kind::Calls(calls))
    }

    /// The calls that ended within the last `time`, in 16 buckets of fixed memory: what is counted reaches back at most `time` and at
    /// least 15/16 of it. From 16 ms to a day. A bucket that has seen 262 143 calls halves its numbers and keeps the rate.
    #[must_use]
    pub const fn time(time: Duration) -> Self {
        Self(Kind::Time(time))
    }

    pub(crate) fn check(self) -> Result<(), ConfigError> {
        let fits = match self.0 {
            Kind::Calls(calls) => (1..=count::MAX_CALLS).contains(&calls),
            Kind::Time(time) => (MIN_TIME..=crate::policy::A_DAY).contains(&time),
        };
        fits.then_some(()).ok_or(ConfigError::Window(self))
    }

    /// A minimum volume that this window can never hold would be a rule that never trips.
    pub(crate) fn can_hold(self, calls: u32) -> bool {
        match self.0 {
            Kind::Calls(window) => calls <= window,
            Kind::Time(_) => calls <= time::MAX_TOTAL,
        }
    }

    pub(crate) fn build(self) -> Counts {
        match self.0 {
            Kind::Calls(calls) => Counts::Calls(CountWindow::new(calls)),
            Kind::Time(time) => Counts::Time(TimeWindow::new(time)),
        }
    }
}

/// A window at work.
#[derive(Debug)]
pub(crate) enum Counts {
    Calls(CountWindow),
    Time(TimeWindow),
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// The calls that the rule is about: failed, or slow.
    pub hits: u32,
    /// All calls.
    pub total: u32,
}

impl Counts {
    /// Counts a call and tells what the window then holds. `None` where that cannot trip anything: without a hit in the window.
    #[inline(always)]
    pub(crate) fn record(&self, generation: u32, now: u64, hit: bool) -> Option<Tally> {
        match self {
            Self::Calls(window) => window.record(generation, hit),
            Self::Time(window) => window.record(generation, now, hit),
        }
    }

    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        match self {
            Self::Calls(window) => window.tally(generation),
            Self::Time(window) => window.tally(generation, now),
        }
    }

    pub(crate) fn keep(&self, generation: u32, now: u64) -> Contents {
        match self {
            Self::Calls(window) => window.keep(generation),
            Self::Time(window) => window.keep(generation, now),
        }
    }

    /// What was kept of a window of the same kind. Nothing of another.
    pub(crate) fn remember(&self, generation: u32, now: u64, kept: &Contents) {
        match (self, kept) {
            (Self::Calls(window), Contents::Calls { total, bits }) => {
                window.remember(generation, *total, bits);
            }
            (Self::Time(window), Contents::Buckets(buckets)) => {
                window.remember(generation, now, buckets);
            }
            _ => {}
        }
    }

    pub(crate) fn needs_time(&self) -> bool {
        matches!(self, Self::Time(_))
    }
}
