//! A number that belongs to a stamp: what a breaker counts in, so that nothing late reaches another generation.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::sync::AtomicU64;

const PAYLOAD_BITS: u32 = 36;
const STAMP_BITS: u32 = 64 - PAYLOAD_BITS;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
/// The largest number a cell holds.
pub(crate) const PAYLOAD_MAX: u64 = (1 << PAYLOAD_BITS) - 1;
/// How far ahead of a writer a cell may be and still be newer than it. What is further away is left over from before a stamp
/// wrapped around, and old.
const AHEAD: u32 = 1 << 20;

/// Says whose numbers a cell holds: those of a generation, or of a lap of the bucket ring. Wraps around.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) fn new(value: u64) -> Self {
        Self((value & STAMP_MASK) as u32)
    }

    fn is_older_than(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0) & STAMP_MASK as u32;
        ahead != 0 && ahead < AHEAD
    }
}

/// An atomic number of 36 bits that counts only for the stamp that it was written under: to a newer stamp it reads as zero, and a
/// writer with an older stamp changes nothing. That is how an outcome can never reach the counters of another generation,
/// however late it comes, and why nobody has to clear them.
#[derive(Debug)]
pub(crate) struct Stamped(AtomicU64);

/// What an update did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Stamped {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn read(&self, stamp: Stamp) -> u64 {
        let (held, payload) = unpack(self.0.load(Acquire));
        if held == stamp { payload } else { 0 }
    }

    /// Replaces the number by what `change` makes of it. `None`, and nothing changed, where `change` says so or where the cell has
    /// moved on to a newer stamp.
    #[inline(always)]
    pub(crate) fn update(
        &self,
        stamp: Stamp,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Option<Change> {
        let mut word = self.0.load(Acquire);
        loop {
            let before = number_for(word, stamp)?;
            let after = change(before)?;
            debug_assert!(after <= PAYLOAD_MAX);
            let next = pack(stamp, after);
            match self.0.compare_exchange_weak(word, next, AcqRel, Acquire) {
                Ok(_) => return Some(Change { before, after }),
                Err(current) => word = current,
            }
        }
    }
}

/// What `word` means to a writer with `stamp`.
#[inline]
fn number_for(word: u64, stamp: Stamp) -> Option<u64> {
    let (held, payload) = unpack(word);
    if held == stamp {
        return Some(payload);
    }
    (!stamp.is_older_than(held)).then_some(0)
}

#[inline]
fn pack(stamp: Stamp, payload: u64) -> u64 {
    u64::from(stamp.0) << PAYLOAD_BITS | payload
}

#[inline]
fn unpack(word: u64) -> (Stamp, u64) {
    (Stamp((word >> PAYLOAD_BITS) as u32), word & PAYLOAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_one(cell: &Stamped, stamp: u64) -> Option<u64> {
        let change = cell.update(Stamp::new(stamp), |n| Some(n + 1))?;
        Some(change.after)
    }

    #[test]
    fn a_number_belongs_to_its_stamp() {
        let cell = Stamped::new();
        assert_eq!(add_one(&cell, 3), Some(1));
        assert_eq!(add_one(&cell, 3), Some(2));
        assert_eq!(cell.read(Stamp::new(3)), 2);
        assert_eq!(cell.read(Stamp::new(4)), 0);
        assert_eq!(add_one(&cell, 4), Some(1));
        assert_eq!(add_one(&cell, 3), None, "an old writer changes nothing");
        assert_eq!(cell.read(Stamp::new(4)), 1);
    }

    #[test]
    fn a_change_can_be_declined() {
        let cell = Stamped::new();
        assert_eq!(cell.update(Stamp::new(1), |_| None), None);
        assert_eq!(cell.read(Stamp::new(1)), 0);
    }

    #[test]
    fn stamps_wrap_around() {
        let last = (1 << STAMP_BITS) - 1;
        let cell = Stamped::new();
        assert_eq!(add_one(&cell, last / 2), Some(1));
        assert_eq!(add_one(&cell, last), Some(1));
        assert_eq!(add_one(&cell, last + 1), Some(1));
        assert_eq!(add_one(&cell, last), None);
        // A generation has 21 bits, and so falls back by 2^21.
        assert_eq!(add_one(&cell, (1 << 21) - 1), Some(1));
        assert_eq!(add_one(&cell, 0), Some(1));
    }
}
