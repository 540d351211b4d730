//! What was measured of one, round by round.

use std::collections::BTreeMap;

/// Medians, in nanoseconds for one call, each of another round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times(BTreeMap<usize, f64>);

impl Times {
    pub(crate) fn add(&mut self, round: usize, nanos: f64) {
        self.0.insert(round, nanos);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn best(&self) -> Option<f64> {
        self.0.values().copied().reduce(f64::min)
    }

    /// What is left of them without those of `zero` in the same round: a slow one is slow for both. Nothing where no round has both.
    pub(crate) fn over(&self, zero: Option<&Self>) -> Option<Adds> {
        let own = self.0.iter().filter_map(|(round, nanos)| match zero {
            Some(zero) => Some(nanos - zero.0.get(round)?),
            None => Some(*nanos),
        });
        let mut own: Vec<f64> = own.collect();
        own.sort_by(f64::total_cmp);
        (!own.is_empty()).then_some(Adds(own))
    }
}

/// What a call adds to the one without it, in each round; never empty, and in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adds(Vec<f64>);

impl Adds {
    /// Their median.
    pub(crate) fn middle(&self) -> f64 {
        let half = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.0[half - 1], self.0[half])
        } else {
            self.0[half]
        }
    }

    /// Whether some round of one is on the other side of some round of the other: which of them is faster is not known then.
    pub(crate) fn reaches_into(&self, other: &Self) -> bool {
        let ends = |adds: &Self| (adds.0[0], adds.0[adds.0.len() - 1]);
        let ((low, high), (others_low, others_high)) = (ends(self), ends(other));
        low <= others_high && others_low <= high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rounds: &[f64]) -> Times {
        Times(rounds.iter().copied().enumerate().collect())
    }

    #[test]
    fn what_is_added_is_taken_round_by_round() {
        let (ours, bare) = (times(&[30.0, 90.0, 41.0]), times(&[10.0, 70.0, 20.0]));
        let adds = ours.over(Some(&bare)).unwrap();
        assert_eq!(adds.middle(), 20.0, "and not 30 - 10, or 41 - 20");
        assert_eq!(ours.best(), Some(30.0));
        assert_eq!(times(&[1.0, 3.0]).over(None).unwrap().middle(), 2.0);
        assert_eq!(ours.over(Some(&Times::default())), None);
    }

    #[test]
    fn who_was_slower_in_one_round_and_faster_in_another_is_neither() {
        let adds = |rounds: &[f64]| times(rounds).over(None).unwrap();
        assert!(adds(&[1.0, 5.0]).reaches_into(&adds(&[2.0, 3.0])));
        assert!(adds(&[2.0, 3.0]).reaches_into(&adds(&[1.0, 5.0])));
        assert!(!adds(&[1.0, 2.0]).reaches_into(&adds(&[3.0, 5.0])));
        assert!(!adds(&[3.0, 5.0]).reaches_into(&adds(&[1.0, 2.0])));
    }
}
