//! The last calls, one bit each.

use super::Tally;
use crate::kept::Contents;
use crate::stamped::{Change, Stamp, Stamped};

/// Each cell holds the bits of 32 calls, and with its stamp costs two bits per call.
const CALLS_PER_CELL: u32 = 32;
const PLACE_BITS: u32 = 17;
const HITS_BITS: u32 = PLACE_BITS + 1;
const HITS: u64 = (1 << HITS_BITS) - 1;
const PLACE: u64 = ((1 << PLACE_BITS) - 1) << HITS_BITS;
const FULL: u64 = 1 << (HITS_BITS + PLACE_BITS);
/// One less than the hits could be, were they as many as there are places: they have a sign.
pub(super) const MAX_CALLS: u32 = (1 << PLACE_BITS) - 1;

/// A ring of bits. The head hands out places; who overwrites a bit learns what it was, and so the number of hits is always
/// that of the bits. Truly sliding: the call that enters pushes out the one that entered `calls` before.
#[derive(Debug)]
pub(crate) struct CountWindow {
    calls: u32,
    /// A [`Head`]. One cell for all of it: of two calls that race, the later to touch it knows both, and no trip is missed.
    head: Stamped,
    bits: Box<[Stamped]>,
}

#[derive(Clone, Copy)]
struct Head {
    /// Whether every place has been taken once.
    full: bool,
    /// The place of the next call.
    place: u32,
    /// How many bits are set. Less than zero for a moment, when the bit of a call that was overtaken is taken out before it was
    /// counted in.
    hits: i32,
}

impl Head {
    fn unpack(payload: u64) -> Self {
        let hits = (payload as u32) << (32 - HITS_BITS);
        Self {
            full: payload >> (HITS_BITS + PLACE_BITS) != 0,
            place: (payload >> HITS_BITS) as u32 & MAX_CALLS,
            hits: hits.cast_signed() >> (32 - HITS_BITS),
        }
    }

    fn pack(self) -> u64 {
        let hits = u64::from(self.hits.cast_unsigned()) & ((1 << HITS_BITS) - 1);
        u64::from(self.full) << (HITS_BITS + PLACE_BITS) | u64::from(self.place) << HITS_BITS | hits
    }

    fn tally(self, calls: u32) -> Tally {
        Tally {
            hits: self.hits.max(0).cast_unsigned(),
            total: if self.full { calls } else { self.place },
        }
    }
}

impl CountWindow {
    pub(crate) fn new(calls: u32) -> Self {
        let cells = calls.div_ceil(CALLS_PER_CELL);
        Self {
            calls,
            head: Stamped::new(),
            bits: (0..cells).map(|_| Stamped::new()).collect(),
        }
    }

    #[inline]
    pub(crate) fn record(&self, generation: u32, hit: bool) -> Option<Tally> {
        if !hit && self.is_full_of_successes(generation) {
            return None;
        }
        self.push(Stamp::new(generation.into()), hit)
    }

    /// Whether another success would leave it as it is: then it is not even counted, and threads only read what they share.
    #[inline]
    pub(crate) fn is_full_of_successes(&self, generation: u32) -> bool {
        self.head.read(Stamp::new(generation.into())) & !PLACE == FULL
    }

    #[inline(never)]
    fn push(&self, stamp: Stamp, hit: bool) -> Option<Tally> {
        let mut head = self.head.update(stamp, |head| Some(self.advance(head)))?;
        let was = self.set(stamp, Head::unpack(head.before).place, hit);
        if was != hit {
            let one = if hit { 1 } else { -1 };
            let count = |head: Head| Head {
                hits: head.hits + one,
                ..head
            };
            head = self.change(stamp, count)?;
        }
        if head.after & HITS == 0 {
            return None;
        }
        let tally = Head::unpack(head.after).tally(self.calls);
        (tally.hits > 0).then_some(tally)
    }

    pub(crate) fn tally(&self, generation: u32) -> Tally {
        let head = self.head.read(Stamp::new(generation.into()));
        Head::unpack(head).tally(self.calls)
    }

    /// The bits of the calls, the oldest first.
    pub(crate) fn keep(&self, generation: u32) -> Contents {
        let stamp = Stamp::new(generation.into());
        let head = Head::unpack(self.head.read(stamp));
        let total = head.tally(self.calls).total;
        let first = if head.full { head.place } else { 0 };
        let mut bits = vec![0; total.div_ceil(64) as usize];
        for call in 0..total {
            if self.is_hit(stamp, (first + call) % self.calls) {
                bits[(call / 64) as usize] |= 1_u64 << (call % 64);
            }
        }
        Contents::Calls { total, bits }
    }

    /// The latest of `total` calls, as many as there is room for.
    pub(crate) fn remember(&self, generation: u32, total: u32, bits: &[u64]) {
        let total = total.min(u32::try_from(bits.len() * 64).unwrap_or(u32::MAX));
        for call in total.saturating_sub(self.calls)..total {
            let hit = bits[(call / 64) as usize] >> (call % 64) & 1 == 1;
            self.record(generation, hit);
        }
    }

    fn is_hit(&self, stamp: Stamp, place: u32) -> bool {
        let cell = &self.bits[(place / CALLS_PER_CELL) as usize];
        cell.read(stamp) >> (place % CALLS_PER_CELL) & 1 == 1
    }

    /// The packed head, one place further: an addition, but for the last place. On the path of every call.
    #[inline]
    fn advance(&self, head: u64) -> u64 {
        let next = head + (1 << HITS_BITS);
        let place = (next >> HITS_BITS) as u32 & MAX_CALLS;
        if place == self.calls {
            FULL | next & HITS
        } else {
            next
        }
    }

    fn change(&self, stamp: Stamp, change: impl Fn(Head) -> Head) -> Option<Change> {
        self.head
            .update(stamp, |head| Some(change(Head::unpack(head)).pack()))
    }

    /// Writes the bit of a place and tells what it was. One that stays as it is, as most do, is only read.
    #[inline]
    fn set(&self, stamp: Stamp, place: u32, hit: bool) -> bool {
        let bit = 1 << (place % CALLS_PER_CELL);
        let cell = &self.bits[(place / CALLS_PER_CELL) as usize];
        let flip = |bits| ((bits & bit != 0) != hit).then_some(bits ^ bit);
        match cell.update(stamp, flip) {
            Some(_) => !hit,
            None => hit,
        }
    }

    #[cfg(all(test, buttress_loom))]
    pub(crate) fn bits_set(&self, generation: u32) -> u32 {
        let stamp = Stamp::new(generation.into());
        let ones = |cell: &Stamped| cell.read(stamp).count_ones();
        self.bits.iter().map(ones).sum()
    }
}

#[cfg(test)]
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
    fn a_head_gives_back_what_was_put_in() {
        for hits in [-1, 0, 1, MAX_CALLS.cast_signed(), -MAX_CALLS.cast_signed()] {
            for (place, full) in [(0, false), (0, true), (MAX_CALLS - 1, false), (7, true)] {
                let head = Head { full, place, hits };
                let back = Head::unpack(head.pack());
                assert_eq!((back.full, back.place, back.hits), (full, place, hits));
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
        let window = CountWindow::new(1 << 16);
        assert_eq!(size_of_val(&*window.bits) * 8, 2 * (1 << 16));
    }
}
