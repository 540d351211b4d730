//! So many traces a second, in one atomic word.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

#[cfg(buttress_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(buttress_loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Clock, Decision, SampleRequest, Sampler, Sampling, SystemClock};

/// Records so many traces a second, and a burst of them at once, and denies the others.
///
/// In any span of time `t` no more than `burst + rate · t` are recorded, whatever comes, on however many threads: one atomic
/// word holds the whole state (the generic cell rate algorithm). It never blocks.
pub struct RateLimited {
    /// When the allowance will be whole again, in nanoseconds of the clock.
    whole_at: AtomicU64,
    gcra: Gcra,
    clock: Box<dyn Clock>,
}

/// The rule, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Gcra {
    /// What one trace costs.
    interval: u64,
    /// What may be owed, with this one.
    tolerance: u64,
}

impl RateLimited {
    /// So many traces a second, and as many more at once when none came for a second: in no second more than twice as many.
    #[must_use]
    pub fn per_second(rate: NonZeroU32) -> Self {
        Self::new(rate, rate, SystemClock)
    }

    /// So many traces a second, and `burst` at once after a quiet while, by this clock.
    #[must_use]
    pub fn new(rate: NonZeroU32, burst: NonZeroU32, clock: impl Clock) -> Self {
        // Rounded up: rather a little less than promised than more.
        let interval = 1_000_000_000_u64.div_ceil(u64::from(rate.get()));
        Self {
            whole_at: AtomicU64::new(0),
            gcra: Gcra {
                interval,
                tolerance: interval.saturating_mul(u64::from(burst.get())),
            },
            clock: Box::new(clock),
        }
    }

    fn admit(&self) -> bool {
        let now = nanos(self.clock.now());
        self.admit_at(now)
    }

    fn admit_at(&self, now: u64) -> bool {
        // Relaxed: the word is all there is, and nothing else is read by what it says.
        self.whole_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
                self.gcra.admit(whole_at, now)
            })
            .is_ok()
    }
}

impl Gcra {
    /// When the allowance will be whole again if this one is admitted.
    fn admit(self, whole_at: u64, now: u64) -> Option<u64> {
        let next = whole_at.max(now).checked_add(self.interval)?;
        (next - now <= self.tolerance).then_some(next)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Sampler for RateLimited {
    fn sample(&self, _: &SampleRequest<'_>) -> Decision {
        if self.admit() {
            Sampling::Accept.into()
        } else {
            Sampling::Deny.into()
        }
    }
}

impl fmt::Debug for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimited")
            .field("gcra", &self.gcra)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limited(rate: u32, burst: u32) -> RateLimited {
        let (rate, burst) = (
            NonZeroU32::new(rate).unwrap(),
            NonZeroU32::new(burst).unwrap(),
        );
        RateLimited::new(rate, burst, SystemClock)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limit = limited(10, 3);
        let admitted = |now| (0..10).filter(|_| limit.admit_at(now)).count();
        assert_eq!(admitted(0), 3);
        assert_eq!(admitted(99_999_999), 0);
        assert_eq!(admitted(100_000_000), 1);
        assert_eq!(admitted(350_000_000), 2);
        assert_eq!(
            admitted(u64::MAX / 2),
            3,
            "no more is saved up than a burst"
        );
        assert_eq!(admitted(u64::MAX), 0, "at the end of time it stays shut");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_its_share(
            rate in 1u32..1000, burst in 1u32..50, steps in prop::collection::vec(0u64..20_000_000, 1..200),
        ) {
            let limit = limited(rate, burst);
            let (mut now, mut admitted) = (0, Vec::new());
            for step in steps {
                now += step;
                if limit.admit_at(now) {
                    admitted.push(now);
                }
            }
            for (from, start) in admitted.iter().enumerate() {
                for (to, end) in admitted.iter().enumerate().skip(from) {
                    let share = u128::from(burst) * 1_000_000_000 + u128::from(rate) * u128::from(end - start);
                    prop_assert!((to - from + 1) as u128 * 1_000_000_000 <= share);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(buttress_loom)]
mod loom_tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn loom_two_threads_share_one_allowance() {
        loom::model(|| {
            let two = NonZeroU32::new(2).unwrap();
            let limit = Arc::new(RateLimited::new(two, two, SystemClock));
            let other = limit.clone();
            let there = loom::thread::spawn(move || (0..2).filter(|_| other.admit_at(7)).count());
            let here = (0..2).filter(|_| limit.admit_at(7)).count();
            assert_eq!(
                here + there.join().unwrap(),
                2,
                "all of the burst, and no more"
            );
        });
    }
}
