//! What a breaker is told to do: plain settings, checked once.

mod backoff;
mod probes;
mod ramp;
mod trip;

use std::time::Duration;

pub use backoff::Backoff;
pub use probes::Probes;
pub use ramp::Ramp;
pub use trip::{Rate, Trip, consecutive, failure_rate, failure_rate_above, slow_calls};

pub(crate) use ramp::spend;
pub(crate) use trip::{RuleSpec, Subject};

use crate::error::ConfigError;

/// No window and no open time is longer than this.
pub(crate) const A_DAY: Duration = Duration::from_hours(24);

/// What it means that a caller went away before its answer came: the future, or the [`Permit`](crate::Permit), was dropped.
///
/// A timeout inside the breaker is an error like any other and needs no policy. This is about a timeout *outside* and about clients that
/// hang up: both only drop the future. Whatever is chosen, a probe's slot is given back or decided at that moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cancel {
    /// It says nothing about the service.
    #[default]
    Ignore,
    /// It is a failure.
    Failure,
    /// It is a failure if the call had been running for so long. Set below the outer timeout, it counts the timeouts and spares
    /// the clients that hang up early.
    FailureAfter(Duration),
}

/// A share between 0 (excluded) and 1, in millionths: compared in integers, so that 3 of 30 is a tenth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ratio(u32);

const MILLION: u64 = 1_000_000;

impl Ratio {
    pub(crate) fn new(value: f64) -> Result<Self, ConfigError> {
        let millionths = (value * MILLION as f64).round();
        let fits = (1.0..=MILLION as f64).contains(&millionths);
        fits.then_some(Self(millionths as u32))
            .ok_or(ConfigError::Ratio(value))
    }

    pub(crate) fn is_reached(self, part: u32, total: u32) -> bool {
        u64::from(part) * MILLION >= u64::from(self.0) * u64::from(total)
    }

    /// The smallest part of `total` that reaches this share.
    pub(crate) fn least_of(self, total: u32) -> u32 {
        (u64::from(total) * u64::from(self.0)).div_ceil(MILLION) as u32
    }
}

/// A time of which zero would be a mistake.
pub(crate) fn check_time(time: Duration) -> Result<Duration, ConfigError> {
    let fits = (Duration::from_millis(1)..=A_DAY).contains(&time);
    fits.then_some(time).ok_or(ConfigError::Time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_share() {
        for bad in [0.0, -0.1, 1.000_01, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(Ratio::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Ratio::new(1.0).unwrap(), Ratio(1_000_000));
    }

    #[test]
    fn a_share_is_compared_exactly() {
        for (ratio, part, total, reached) in [
            (0.1, 3, 30, true),
            (0.1, 2, 30, false),
            (0.5, 1, 2, true),
            (0.5, 1, 3, false),
            (1.0, 9, 10, false),
            (1.0, u32::MAX, u32::MAX, true),
        ] {
            assert_eq!(Ratio::new(ratio).unwrap().is_reached(part, total), reached);
        }
        for (ratio, total, least) in [(1.0, 3, 3), (0.5, 3, 2), (0.1, 3, 1), (0.6, 5, 3)] {
            assert_eq!(Ratio::new(ratio).unwrap().least_of(total), least);
        }
    }
}
