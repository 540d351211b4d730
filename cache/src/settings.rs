//! What was chosen, and what follows from it.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::SlotBits;
use crate::entry::{Entry, Held, Lifetime};
use crate::fill::Said;
use crate::l1::Memory;
use crate::slots::Slots;

type Weigher<V> = dyn Fn(&[u8], &V) -> usize + Send + Sync;

pub(crate) struct Settings<V> {
    pub(crate) max_weight: u64,
    pub(crate) memory: Memory,
    pub(crate) weigher: Option<Box<Weigher<V>>>,
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) jitter: Share,
    pub(crate) throttle: Duration,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) refresh: Refresh,
    pub(crate) slots: SlotBits,
}

/// Between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Share(f64);

impl Share {
    pub(crate) fn new(share: f64) -> Self {
        Self(if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        })
    }
}

/// When a value is read anew before its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refresh {
    pub(crate) share: Option<Share>,
    pub(crate) beta: Option<f64>,
}

impl Refresh {
    /// `None` for what is no factor.
    pub(crate) fn checked(beta: f64) -> Option<f64> {
        (beta.is_finite() && beta > 0.0).then_some(beta)
    }

    /// Whether a value of this age is due, where `random` is between 0 and 1.
    pub(crate) fn is_due<V>(
        &self,
        entry: &Entry<V>,
        age: Duration,
        random: impl FnOnce() -> f64,
    ) -> bool {
        let ttl = entry.lifetime.ttl;
        // Not by `mul_f64`, which panics for a ttl without end.
        let is_past = |share: Share| age.as_secs_f64() >= ttl.as_secs_f64() * share.0;
        if self.share.is_some_and(is_past) {
            return true;
        }
        let Some(beta) = self.beta else {
            return false;
        };
        // ln of 0 would be infinite.
        let took = entry.took.unwrap_or_default().as_secs_f64();
        let early = took * beta * -random().max(f64::MIN_POSITIVE).ln();
        age.as_secs_f64() + early >= ttl.as_secs_f64()
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_off(&self) -> bool {
        self.share.is_none() && self.beta.is_none()
    }
}

impl<V> Settings<V> {
    /// How long `held` lives. `None` when it is not to be stored at all: nobody has said for how long it is known that there is nothing.
    pub(crate) fn lifetime(&self, held: &Held<V>, said: &Said) -> Option<Lifetime> {
        match held {
            Held::Nothing => {
                let ttl = said.negative_ttl.or(self.negative_ttl)?;
                let ttl = self.jittered(ttl);
                let grace = Duration::ZERO;
                Some(Lifetime { ttl, grace })
            }
            Held::Of(_) | Held::Own(_) => Some(Lifetime {
                ttl: self.jittered(said.ttl.unwrap_or(self.ttl)),
                grace: said.grace.unwrap_or(self.grace),
            }),
        }
    }

    pub(crate) fn weigh(&self, key: &[u8], value: Option<&V>, slots: &Slots) -> u32 {
        let value = match (value, &self.weigher) {
            (Some(value), Some(weigher)) => weigher(key, value),
            _ => 0,
        };
        let kept = size_of::<Entry<V>>() + key.len() + slots.weight() + OVERHEAD;
        u32::try_from(value.saturating_add(kept)).unwrap_or(u32::MAX)
    }

    /// Until when the source is left in peace. `None` for not at all, and beyond the end of the clock.
    pub(crate) fn calm_until(&self, now: Instant) -> Option<Instant> {
        let is_some = !self.throttle.is_zero();
        is_some.then(|| now.checked_add(self.throttle)).flatten()
    }

    fn jittered(&self, ttl: Duration) -> Duration {
        if self.jitter.0 == 0.0 {
            ttl
        } else {
            let share = 1.0 - self.jitter.0 * fastrand::f64();
            Duration::try_from_secs_f64(ttl.as_secs_f64() * share).unwrap_or(ttl)
        }
    }
}

/// What an entry takes beside itself: the counts of references, and the table's own.
const OVERHEAD: usize = 150;

impl<V> Default for Settings<V> {
    fn default() -> Self {
        Self {
            max_weight: 64 << 20,
            memory: Memory::default(),
            weigher: None,
            ttl: Duration::from_secs(5 * 60),
            grace: Duration::ZERO,
            negative_ttl: None,
            jitter: Share::default(),
            throttle: Duration::from_secs(1),
            soft_timeout: None,
            hard_timeout: None,
            refresh: Refresh::default(),
            slots: SlotBits::DEFAULT,
        }
    }
}

impl<V> fmt::Debug for Settings<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("max_weight", &self.max_weight)
            .field("memory", &self.memory)
            .field("ttl", &self.ttl)
            .field("grace", &self.grace)
            .field("negative_ttl", &self.negative_ttl)
            .field("jitter", &self.jitter)
            .field("throttle", &self.throttle)
            .field("soft_timeout", &self.soft_timeout)
            .field("hard_timeout", &self.hard_timeout)
            .field("refresh", &self.refresh)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{InvalidationClock, SlotBits};

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(took: Duration) -> Entry<()> {
        let stamp = InvalidationClock::new(SlotBits::at_least(0)).stamp();
        let lifetime = Lifetime {
            ttl: 100 * SECOND,
            grace: Duration::ZERO,
        };
        let slots = Slots::default();
        let mut entry = Entry::new(Held::Own(()), stamp, slots, Instant::now(), lifetime);
        entry.took = Some(took);
        entry
    }

    #[test]
    fn a_value_is_due_after_its_share_and_by_chance_before_its_end() {
        let refresh = |share: Option<f64>, beta| Refresh {
            share: share.map(Share::new),
            beta,
        };
        // What took a second, with beta 1, is due ln(1/random) seconds before its end.
        let one_in_e = std::f64::consts::E.recip();
        for (share, beta, took, age, random, due) in [
            (None, None, 1, 99, one_in_e, false),
            (Some(0.8), None, 1, 79, one_in_e, false),
            (Some(0.8), None, 1, 80, one_in_e, true),
            (None, Some(1.0), 1, 98, one_in_e, false),
            (None, Some(1.0), 1, 99, one_in_e, true),
            (None, Some(1.0), 5, 95, one_in_e, true),
            (None, Some(5.0), 1, 95, one_in_e, true),
            (None, Some(1.0), 1, 99, 0.9, false),
            (None, Some(1.0), 1, 0, 0.0, true),
            (None, Some(1.0), 0, 99, 0.0, false),
        ] {
            let (entry, age) = (entry(took * SECOND), age * SECOND);
            let is_due = refresh(share, beta).is_due(&entry, age, || random);
            assert_eq!(is_due, due, "{share:?} {beta:?} {took} {age:?} {random}");
        }
    }

    #[test]
    fn what_lives_for_ever_is_never_due_and_may_be_jittered() {
        let mut entry = entry(SECOND);
        entry.lifetime.ttl = Duration::MAX;
        let refresh = Refresh {
            share: Some(Share::new(1.0)),
            beta: Some(1.0),
        };
        assert!(!refresh.is_due(&entry, 99 * SECOND, || 0.5));
        let settings = Settings::<()> {
            jitter: Share::new(f64::MIN_POSITIVE),
            ..Settings::default()
        };
        assert_eq!(settings.jittered(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn no_number_that_is_none_gets_through() {
        for (share, taken) in [(f64::NAN, 0.0), (-1.0, 0.0), (0.5, 0.5), (2.0, 1.0)] {
            assert_eq!(Share::new(share), Share(taken));
        }
        for beta in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(Refresh::checked(beta), None);
        }
    }
}
