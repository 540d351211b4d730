//! The calls of the last seconds, in a ring of buckets.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::Tally;
use crate::clock::nanos;
use crate::kept::{Bucket, Contents};
use crate::stamped::{Stamp, Stamped};
use crate::sync::AtomicU64;

pub(super) const BUCKETS: u64 = 16;
const COUNT_BITS: u32 = 18;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// What 16 buckets can be relied upon to count, each of them halved a moment ago.
pub(super) const MAX_TOTAL: u32 = (BUCKETS * COUNT_MAX / 2) as u32;

/// Each bucket is one cell, `[lap | hits | total]`. The stamp is the lap of the ring plus the generation: whoever comes round, or
/// after a transition, finds the numbers of another stamp and starts from zero. Nobody ever sweeps.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    /// Of a bucket, in nanoseconds. Rounded down, so that no bucket is longer than a sixteenth of the window.
    width: u64,
    /// The bucket that was last written: a guess, which [`bucket`](Self::bucket) checks.
    latest: AtomicU64,
    /// The first bucket from which on no hit is in sight. Only while one is must a success look at the sum.
    hits_until: AtomicU64,
    buckets: [Stamped; BUCKETS as usize],
}

impl TimeWindow {
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            // `Window` asks for far more than a nanosecond.
            width: (nanos(time) / BUCKETS).max(1),
            latest: AtomicU64::new(0),
            hits_until: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| Stamped::new()),
        }
    }

    #[inline(always)]
    pub(crate) fn record(&self, generation: u32, now: u64, hit: bool) -> Option<Tally> {
        let bucket = self.bucket(now);
        if hit {
            // Before the count: a success that is counted later must know that there is a hit to look for.
            self.hits_until.fetch_max(bucket + BUCKETS, AcqRel);
        }
        self.cell(bucket)
            .update(stamp(generation, bucket), |counts| Some(add(counts, hit)))?;
        let armed = hit || bucket < self.hits_until.load(Acquire);
        armed.then(|| self.sum(generation, bucket))
    }

    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        self.sum(generation, self.bucket(now))
    }

    /// The buckets that hold anything, the oldest first.
    pub(crate) fn keep(&self, generation: u32, now: u64) -> Contents {
        let newest = self.bucket(now);
        let oldest = newest.saturating_sub(BUCKETS - 1);
        let kept = (oldest..=newest).filter_map(|bucket| {
            let (hits, total) = counts(self.cell(bucket).read(stamp(generation, bucket)));
            let age = Duration::from_nanos(now.saturating_sub(bucket * self.width));
            (total > 0).then_some(Bucket { age, hits, total })
        });
        Contents::Buckets(kept.collect())
    }

    /// Adds what was kept to the buckets in which it would have been counted: to the numbers of a lap that is over, if it is too old. What was
    /// before the clock began is dropped.
    pub(crate) fn remember(&self, generation: u32, now: u64, kept: &[Bucket]) {
        for Bucket { age, hits, total } in kept.iter().copied() {
            let Some(at) = now.checked_sub(nanos(age)) else {
                continue;
            };
            let bucket = self.bucket(at);
            let total = u64::from(total).min(COUNT_MAX / 2);
            let hits = u64::from(hits).min(total);
            if hits > 0 {
                self.hits_until.fetch_max(bucket + BUCKETS, AcqRel);
            }
            let more = |counts| Some(add_all(counts, hits, total));
            self.cell(bucket).update(stamp(generation, bucket), more);
        }
    }

    #[inline(never)]
    fn sum(&self, generation: u32, newest: u64) -> Tally {
        let oldest = newest.saturating_sub(BUCKETS - 1);
        let mut tally = Tally::default();
        for bucket in oldest..=newest {
            let (hits, total) = counts(self.cell(bucket).read(stamp(generation, bucket)));
            tally.hits += hits;
            tally.total += total;
        }
        tally
    }

    /// In which bucket `now` is. As a rule in the one of the call before, and that is checked by a branch, which the processor foresees: were the
    /// bucket computed from the time, its cell could not be looked for before the clock has answered, and that would double
    /// what a call costs.
    #[inline]
    fn bucket(&self, now: u64) -> u64 {
        let latest = self.latest.load(Relaxed);
        if now.wrapping_sub(latest * self.width) < self.width {
            latest
        } else {
            self.turn_to(now)
        }
    }

    #[inline(never)]
    fn turn_to(&self, now: u64) -> u64 {
        let bucket = now / self.width;
        self.latest.store(bucket, Relaxed);
        bucket
    }

    #[inline]
    fn cell(&self, bucket: u64) -> &Stamped {
        &self.buckets[(bucket % BUCKETS) as usize]
    }
}

#[inline]
fn stamp(generation: u32, bucket: u64) -> Stamp {
    Stamp::new(bucket / BUCKETS + u64::from(generation))
}

fn counts(payload: u64) -> (u32, u32) {
    ((payload >> COUNT_BITS) as u32, (payload & COUNT_MAX) as u32)
}

/// At most half a bucket more, so that what is there and is halved leaves room for it.
fn add_all(counts: u64, more_hits: u64, more: u64) -> u64 {
    let (mut hits, mut total) = (counts >> COUNT_BITS, counts & COUNT_MAX);
    if total + more > COUNT_MAX {
        (hits, total) = (hits / 2, total / 2);
    }
    (hits + more_hits) << COUNT_BITS | (total + more)
}

#[inline]
fn add(counts: u64, hit: bool) -> u64 {
    let (mut hits, mut total) = (counts >> COUNT_BITS, counts & COUNT_MAX);
    if total == COUNT_MAX {
        (hits, total) = (hits / 2, total / 2);
    }
    (hits + u64::from(hit)) << COUNT_BITS | (total + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen buckets of 10 ns.
    fn window() -> TimeWindow {
        TimeWindow::new(Duration::from_nanos(160))
    }

    fn tally(hits: u32, total: u32) -> Tally {
        Tally { hits, total }
    }

    #[test]
    fn reaches_back_between_fifteen_and_sixteen_buckets() {
        for (recorded, asked, seen) in [
            (0, 0, 1),
            (0, 159, 1),
            (0, 160, 0),
            (9, 159, 1),
            (9, 160, 0),
            (155, 309, 1),
            (155, 310, 0),
            (0, 16_000_000, 0),
        ] {
            let window = window();
            window.record(1, recorded, true);
            assert_eq!(
                window.tally(1, asked),
                tally(seen, seen),
                "{recorded} {asked}"
            );
        }
    }

    #[test]
    fn another_generation_sees_nothing_and_changes_nothing() {
        let window = window();
        window.record(1, 5, true);
        assert_eq!(window.tally(2, 5), tally(0, 0));
        assert_eq!(window.record(2, 6, true), Some(tally(1, 1)));
        assert_eq!(window.record(1, 7, true), None, "a late answer");
        assert_eq!(window.tally(2, 7), tally(1, 1));
    }

    #[test]
    fn a_success_is_told_the_sum_only_while_a_hit_is_in_sight() {
        let window = window();
        assert_eq!(window.record(1, 0, false), None);
        assert_eq!(window.record(1, 1, true), Some(tally(1, 2)));
        assert_eq!(window.record(1, 159, false), Some(tally(1, 3)));
        assert_eq!(window.record(1, 161, false), None);
    }

    #[test]
    fn a_clock_that_steps_back_loses_the_record_at_worst() {
        let window = window();
        window.record(1, 1000, true);
        assert_eq!(
            window.record(1, 995, false),
            Some(tally(0, 1)),
            "the bucket before"
        );
        assert_eq!(window.record(1, 840, true), None, "its bucket is taken");
        assert_eq!(window.tally(1, 1000), tally(1, 2));
    }

    #[test]
    fn a_full_bucket_keeps_its_rate() {
        let mut counts = 0;
        for call in 0..3 * COUNT_MAX {
            counts = add(counts, call % 4 == 0);
        }
        let (hits, total) = ((counts >> COUNT_BITS) as f64, (counts & COUNT_MAX) as f64);
        assert!(total <= COUNT_MAX as f64 && total > COUNT_MAX as f64 / 2.0);
        assert!((hits / total - 0.25).abs() < 0.001);
        assert_eq!(
            add(COUNT_MAX << COUNT_BITS | COUNT_MAX, true) >> COUNT_BITS,
            COUNT_MAX / 2 + 1
        );
    }
}
