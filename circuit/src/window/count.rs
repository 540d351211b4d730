//! The last calls, one bit each.

use super::Tally;
use crate::stamped::{Stamp, Stamped};

/// Each cell holds the bits of 32 calls, and with its stamp costs two bits per call.
const CALLS_PER_CELL: u32 = 32;
/// Set in the head once the window has been filled.
const FULL: u64 = 1 << 32;

/// A ring of bits. The head hands out places; who overwrites a bit learns what it was, and so the number of hits is always
/// that of the bits. Truly sliding: the call that enters pushes out the one that entered `calls` before.
#[derive(Debug)]
pub(crate) struct CountWindow {
    calls: u32,
    /// The place of the next call, and [`FULL`].
    head: Stamped,
    /// The number of bits that are set: 32 bits with a sign, as the bit of a call that was overtaken may be taken out before it is
    /// counted in.
    hits: Stamped,
    bits: Box<[Stamped]>,
}

impl CountWindow {
    pub(crate) fn new(calls: u32) -> Self {
        let cells = calls.div_ceil(CALLS_PER_CELL);
        Self {
            calls,
            head: Stamped::new(),
            hits: Stamped::new(),
            bits: (0..cells).map(|_| Stamped::new()).collect(),
        }
    }

    pub(crate) fn record(&self, generation: u32, hit: bool) -> Option<Tally> {
        let stamp = Stamp::new(generation.into());
        let head = self.head.update(stamp, |head| Some(self.advance(head)))?;
        let was = self.set(stamp, head.before as u32, hit)?;
        if was != hit {
            let one = if hit { 1 } else { -1_i32 };
            self.hits
                .update(stamp, |hits| Some(add(hits as u32, one)))?;
        }
        let tally = self.tally(generation);
        (tally.hits > 0).then_some(tally)
    }

    /// The hits are read first: they belong to calls whose place the head has already counted.
    pub(crate) fn tally(&self, generation: u32) -> Tally {
        let stamp = Stamp::new(generation.into());
        let hits = (self.hits.read(stamp) as u32).cast_signed().max(0);
        let total = self.total(self.head.read(stamp));
        Tally {
            hits: hits.cast_unsigned(),
            total,
        }
    }

    fn advance(&self, head: u64) -> u64 {
        let next = head as u32 + 1;
        if next == self.calls {
            FULL
        } else {
            head & FULL | u64::from(next)
        }
    }

    fn total(&self, head: u64) -> u32 {
        if head & FULL == 0 {
            head as u32
        } else {
            self.calls
        }
    }

    /// Writes the bit of a place and tells what it was.
    fn set(&self, stamp: Stamp, place: u32, hit: bool) -> Option<bool> {
        let bit = 1 << (place % CALLS_PER_CELL);
        let cell = &self.bits[(place / CALLS_PER_CELL) as usize];
        let change = cell.update(stamp, |bits| {
            Some(if hit { bits | bit } else { bits & !bit })
        })?;
        Some(change.before & bit != 0)
    }
}

fn add(hits: u32, delta: i32) -> u64 {
    hits.wrapping_add_signed(delta).into()
}

#[cfg(all(test, not(buttress_loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn slides_by_one_call_at_a_time() {
        for calls in [1, 2, 31, 32, 33, 64, 100] {
            let window = CountWindow::new(calls);
            let mut naive = VecDeque::new();
            for call in 0..500_u32 {
                let hit = call.wrapping_mul(2_654_435_761) >> 30 == 0;
                window.record(1, hit);
                naive.push_back(hit);
                if naive.len() > calls as usize {
                    naive.pop_front();
                }
                let hits = naive.iter().filter(|&&hit| hit).count() as u32;
                let total = naive.len() as u32;
                assert_eq!(window.tally(1), Tally { hits, total }, "{calls} {call}");
            }
        }
    }

    #[test]
    fn another_generation_starts_empty() {
        let window = CountWindow::new(3);
        for _ in 0..5 {
            window.record(1, true);
        }
        assert_eq!(window.tally(2), Tally::default());
        window.record(2, true);
        window.record(1, true);
        assert_eq!(window.tally(2), Tally { hits: 1, total: 1 });
    }

    #[test]
    fn costs_two_bits_per_call() {
        assert_eq!(
            size_of_val(&*CountWindow::new(1 << 20).bits) * 8,
            2 * (1 << 20)
        );
    }
}
