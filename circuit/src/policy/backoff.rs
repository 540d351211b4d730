//! How long a breaker stays open.

use std::time::Duration;

use super::{A_DAY, check_time};
use crate::error::ConfigError;

/// How long a breaker stays open before it lets probes through: always the same, or longer each time it opens again. From 1 ms to a day.
///
/// ```
/// use buttress_circuit::Backoff;
/// use std::time::Duration;
///
/// // 5 s, 10 s, 20 s, … up to 5 minutes, each ±20 %; from the start again after two quiet minutes.
/// let backoff = Backoff::exponential(Duration::from_secs(5), 2.0, Duration::from_mins(5))
///     .jitter(0.2)
///     .forget_after(Duration::from_mins(2));
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Backoff {
    base: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
    forget_after: Option<Duration>,
}

impl Backoff {
    /// Always `time`.
    pub const fn constant(time: Duration) -> Self {
        Self::exponential(time, 1.0, time)
    }

    /// `base` at first, `factor` times as long at each further opening, at most `max`.
    pub const fn exponential(base: Duration, factor: f64, max: Duration) -> Self {
        Self {
            base,
            factor,
            max,
            jitter: 0.0,
            forget_after: None,
        }
    }

    /// Spreads each time evenly by up to this share in both directions, so that many processes do not probe at the same moment.
    pub const fn jitter(self, share: f64) -> Self {
        Self {
            jitter: share,
            ..self
        }
    }

    /// Starts from the base again once the breaker has been closed for so long. Default: the longest time it may be open.
    pub const fn forget_after(self, quiet: Duration) -> Self {
        Self {
            forget_after: Some(quiet),
            ..self
        }
    }

    pub(crate) fn quiet(&self) -> Duration {
        self.forget_after.unwrap_or(self.max)
    }

    /// The time for the `earlier`-th repetition. `roll`, between -1 and 1, is the luck of this one.
    pub(crate) fn time(&self, earlier: u32, roll: f64) -> Duration {
        let exponent = i32::try_from(earlier).unwrap_or(i32::MAX);
        let grown = self.base.as_secs_f64() * self.factor.powi(exponent);
        let seconds = grown.min(self.max.as_secs_f64()) * (1.0 + self.jitter * roll);
        Duration::from_secs_f64(seconds).max(Duration::from_millis(1))
    }

    /// A time that the service asked for, with the jitter after it: not a moment less. `roll` is between 0 and 1.
    pub(crate) fn spread(&self, time: Duration, roll: f64) -> Duration {
        time.mul_f64(1.0 + self.jitter * roll).min(2 * A_DAY)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_time(self.base)?;
        if self.max < self.base || self.max > A_DAY {
            return Err(ConfigError::Time(self.max));
        }
        if !(self.factor >= 1.0 && self.factor.is_finite()) {
            return Err(ConfigError::Factor(self.factor));
        }
        let fits = (0.0..=1.0).contains(&self.jitter);
        fits.then_some(()).ok_or(ConfigError::Ratio(self.jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn grows_up_to_its_bound() {
        let backoff = Backoff::exponential(secs(5), 2.0, secs(60));
        for (earlier, time) in [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (u32::MAX, 60)] {
            assert_eq!(backoff.time(earlier, 0.0), secs(time));
        }
        assert_eq!(Backoff::constant(secs(7)).time(9, 0.0), secs(7));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let backoff = Backoff::constant(secs(10)).jitter(0.2);
        assert_eq!(backoff.time(0, -1.0), secs(8));
        assert_eq!(backoff.time(0, 1.0), secs(12));
        let wild = Backoff::constant(secs(10)).jitter(1.0);
        assert_eq!(wild.time(0, -1.0), Duration::from_millis(1), "never zero");
    }

    #[test]
    fn nonsense_is_refused() {
        for (backoff, error) in [
            (
                Backoff::constant(Duration::ZERO),
                ConfigError::Time(Duration::ZERO),
            ),
            (
                Backoff::exponential(secs(5), 2.0, secs(4)),
                ConfigError::Time(secs(4)),
            ),
            (
                Backoff::constant(secs(90_000)),
                ConfigError::Time(secs(90_000)),
            ),
            (
                Backoff::exponential(secs(1), 0.5, secs(4)),
                ConfigError::Factor(0.5),
            ),
            (
                Backoff::constant(secs(1)).jitter(1.5),
                ConfigError::Ratio(1.5),
            ),
        ] {
            assert_eq!(backoff.check(), Err(error));
        }
        assert_eq!(Backoff::constant(secs(1)).check(), Ok(()));
    }
}
