//! The last two minutes, second by second: what the page's plots begin with when it is opened.

use std::collections::VecDeque;

use serde::Serialize;

/// What the plots show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Counts {
    pub(crate) finished: u64,
    pub(crate) hits: u64,
    pub(crate) rejected: u64,
    pub(crate) trips: u64,
    pub(crate) replayed: u64,
}

/// How much there was in each of the last seconds, the newest one last.
#[derive(Debug, Default)]
pub(crate) struct History {
    counted: Counts,
    seconds: VecDeque<Counts>,
}

const SECONDS: usize = 120;

impl History {
    /// A second is over, and so much was counted since the start.
    pub(crate) fn tick(&mut self, counted: Counts) {
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(counted.since(self.counted));
        self.counted = counted;
    }

    pub(crate) fn seconds(&self) -> Vec<Counts> {
        self.seconds.iter().copied().collect()
    }
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            finished: self.finished.saturating_sub(before.finished),
            hits: self.hits.saturating_sub(before.hits),
            rejected: self.rejected.saturating_sub(before.rejected),
            trips: self.trips.saturating_sub(before.trips),
            replayed: self.replayed.saturating_sub(before.replayed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(finished: u64) -> Counts {
        Counts {
            finished,
            ..Counts::default()
        }
    }

    #[test]
    fn each_second_has_what_was_added_in_it_and_two_minutes_are_kept() {
        let mut history = History::default();
        for counted in [3, 3, 10] {
            history.tick(finished(counted));
        }
        assert_eq!(history.seconds(), [3, 0, 7].map(finished));
        (0..SECONDS as u64).for_each(|n| history.tick(finished(11 + n)));
        assert_eq!(history.seconds(), [finished(1); SECONDS]);
    }
}
