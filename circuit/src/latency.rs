//! How long calls take.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::time::Duration;

use histogram::{AtomicHistogram32, Config, Histogram32};

use crate::clock::nanos;

/// How long the calls took that ended in the last one to two spans of [`Builder::latencies`](crate::Builder::latencies), whatever became of them. Rejected
/// and ignored calls are not among them. Times are those of the upper bound of their class, and so up to 3.2 % too long.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Latencies {
    /// How many calls that were.
    pub calls: u64,
    /// Their mean.
    pub mean: Duration,
    /// A quarter was this fast, or faster.
    pub p25: Duration,
    /// Half of them: the median.
    pub p50: Duration,
    /// Three quarters.
    pub p75: Duration,
    /// 90 %.
    pub p90: Duration,
    /// 95 %.
    pub p95: Duration,
    /// 99 %.
    pub p99: Duration,
    /// 99.9 %.
    pub p99_9: Duration,
    /// All of them.
    pub max: Duration,
}

/// Microseconds, in classes of which each power of two has 32, up to 19 hours.
const GROUPING_POWER: u8 = 5;
const MAX_POWER: u8 = 36;

/// Two histograms that take turns, so that what is old is forgotten as a whole. Bounded: about 8 KiB.
pub(crate) struct Recorder {
    span: u64,
    /// Which span of the clock was recorded last.
    turn: AtomicU64,
    halves: [AtomicHistogram32; 2],
}

impl Recorder {
    pub(crate) fn new(span: Duration) -> Self {
        let config = Config::new(GROUPING_POWER, MAX_POWER).expect("5 < 36 < 64");
        let half = || AtomicHistogram32::with_config(&config);
        Self {
            span: nanos(span).max(1),
            turn: AtomicU64::new(0),
            halves: [half(), half()],
        }
    }

    pub(crate) fn record(&self, now: u64, took: u64) {
        let turn = now / self.span;
        self.turn_to(turn);
        let micros = took.div_ceil(1000).min((1 << MAX_POWER) - 1);
        self.half(turn).increment(micros).expect("in range");
    }

    /// Whoever comes first in a span empties what is older than the one before. A call that ends at the very moment may be lost with it.
    fn turn_to(&self, turn: u64) {
        let last = self.turn.load(Acquire);
        if turn <= last
            || self
                .turn
                .compare_exchange(last, turn, AcqRel, Acquire)
                .is_err()
        {
            return;
        }
        self.half(turn).drain();
        if turn > last + 1 {
            self.half(turn + 1).drain();
        }
    }

    fn half(&self, turn: u64) -> &AtomicHistogram32 {
        &self.halves[(turn % 2) as usize]
    }

    pub(crate) fn read(&self, now: u64) -> Latencies {
        let (turn, last) = (now / self.span, self.turn.load(Acquire));
        let newest = self.half(last).load();
        match turn.saturating_sub(last) {
            0 => summary(
                &newest
                    .wrapping_add(&self.half(last + 1).load())
                    .unwrap_or(newest),
            ),
            1 => summary(&newest),
            _ => Latencies::default(),
        }
    }
}

fn summary(histogram: &Histogram32) -> Latencies {
    let Ok(Some(found)) = histogram.quantiles(&[0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0])
    else {
        return Latencies::default();
    };
    let mut times = found
        .entries()
        .values()
        .map(|class| Duration::from_micros(class.end()));
    let mut next = || times.next().unwrap_or_default();
    let (calls, mean) = mean(histogram);
    Latencies {
        calls,
        mean,
        p25: next(),
        p50: next(),
        p75: next(),
        p90: next(),
        p95: next(),
        p99: next(),
        p99_9: next(),
        max: next(),
    }
}

fn mean(histogram: &Histogram32) -> (u64, Duration) {
    let (mut calls, mut sum) = (0_u64, 0_u128);
    for class in histogram.iter() {
        calls += class.count();
        sum += u128::from(class.count()) * u128::from(class.end());
    }
    let mean = sum / u128::from(calls.max(1));
    (calls, Duration::from_micros(mean as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: u64 = 10_000_000_000;

    fn recorder() -> Recorder {
        Recorder::new(Duration::from_nanos(SPAN))
    }

    const fn ms(n: u64) -> u64 {
        n * 1_000_000
    }

    #[test]
    fn percentiles_are_those_of_the_calls() {
        let recorder = recorder();
        (1..=1000).for_each(|n| recorder.record(SPAN, ms(n)));
        let found = recorder.read(SPAN);
        assert_eq!(found.calls, 1000);
        for (time, exact) in [
            (found.mean, 500),
            (found.p25, 250),
            (found.p50, 500),
            (found.p90, 900),
            (found.p99, 990),
            (found.p99_9, 999),
            (found.max, 1000),
        ] {
            let exact = Duration::from_millis(exact);
            assert!(
                time >= exact && time < exact.mul_f64(1.033),
                "{time:?} {exact:?}"
            );
        }
    }

    #[test]
    fn reaches_back_one_to_two_spans() {
        let recorder = recorder();
        recorder.record(SPAN, ms(1));
        for (now, calls) in [(SPAN, 1), (2 * SPAN, 1), (3 * SPAN - 1, 1), (3 * SPAN, 0)] {
            assert_eq!(recorder.read(now).calls, calls, "{now}");
        }
        recorder.record(2 * SPAN, ms(1));
        assert_eq!(recorder.read(2 * SPAN).calls, 2);
        recorder.record(3 * SPAN, ms(1));
        assert_eq!(recorder.read(3 * SPAN).calls, 2);
        recorder.record(9 * SPAN, ms(1));
        assert_eq!(recorder.read(9 * SPAN).calls, 1);
    }

    #[test]
    fn takes_any_time_and_a_clock_that_steps_back() {
        let recorder = recorder();
        recorder.record(5 * SPAN, u64::MAX);
        recorder.record(SPAN, 0);
        let found = recorder.read(5 * SPAN);
        assert_eq!(found.calls, 2);
        assert_eq!(found.max, Duration::from_micros((1 << MAX_POWER) - 1));
        assert_eq!(Recorder::new(Duration::ZERO).read(0), Latencies::default());
    }
}
