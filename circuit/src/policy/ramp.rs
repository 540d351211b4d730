//! How a service that is back gets its load back.

use std::time::Duration;

use super::{Ratio, check_time};
use crate::error::ConfigError;

/// Lets a service that has recovered start slowly: of the calls that come after the breaker has closed, a share passes that grows evenly up to
/// all of them. The rest are rejected, with [`Reason::Ramping`](crate::Reason::Ramping).
///
/// Which calls pass is not left to chance: at a share of a tenth it is every tenth, beginning with the first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Ramp {
    pub(crate) time: Duration,
    start: f64,
}

/// One call.
pub(crate) const WHOLE: u64 = 1 << 16;

impl Ramp {
    /// From a tenth to all calls within `time`, which is from a millisecond to a day.
    pub const fn over(time: Duration) -> Self {
        Self { time, start: 0.1 }
    }

    /// Starts with this share of the calls.
    pub const fn start(self, share: f64) -> Self {
        Self {
            start: share,
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Ratio::new(self.start)?;
        check_time(self.time).map(drop)
    }

    /// The part of a call that passes while `left` ms remain: from 1 to [`WHOLE`].
    pub(crate) fn share(&self, left: u64) -> u64 {
        let remaining = (left as f64 / self.time.as_millis() as f64).min(1.0);
        let share = self.start + (1.0 - self.start) * (1.0 - remaining);
        ((share * WHOLE as f64) as u64).clamp(1, WHOLE)
    }
}

/// Spends what has been saved up, `credit`, on a call that costs a whole one and brings `share` of it: what remains, and whether the call passes.
/// The first call may be paid in advance.
pub(crate) fn spend(credit: u64, share: u64) -> (u64, bool) {
    if credit < share {
        (credit + WHOLE - share, true)
    } else {
        (credit - share, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_evenly() {
        let ramp = Ramp::over(Duration::from_secs(10)).start(0.2);
        for (left, share) in [(20_000, 0.2), (10_000, 0.2), (5000, 0.6), (0, 1.0)] {
            let expected = (share * WHOLE as f64) as u64;
            assert!(ramp.share(left).abs_diff(expected) <= 1, "{left}");
        }
    }

    #[test]
    fn calls_pass_evenly_beginning_with_the_first() {
        for (share, pattern) in [
            (WHOLE, "1111111111"),
            (WHOLE / 2, "1010101010"),
            (WHOLE / 4, "1000100010"),
            (WHOLE * 3 / 4, "1110111011"),
        ] {
            let mut credit = 0;
            let calls = (0..pattern.len()).map(|_| {
                let (left, passes) = spend(credit, share);
                credit = left;
                if passes { '1' } else { '0' }
            });
            let calls: String = calls.collect();
            assert_eq!(calls.matches('1').count(), pattern.matches('1').count());
            assert_eq!(calls, pattern);
        }
    }
}
