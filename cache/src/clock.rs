//! The invalidation clock: what decides whether a stored value may still be served.
//!
//! Time is a counter, `seq`, that every invalidation moves on. Each tag, and each key, falls into one of a fixed number of *slots*;
//! a slot remembers the `seq` of its last invalidation. An entry remembers `born`, the `seq` that was known before its fill
//! began, and its slots. It is valid as long as none of them is later than `born`.
//!
//! ```text
//!  fill:        born = seq ───── reads the source ───── store (born, slots)
//!  invalidate:                seq += 1, slot = seq
//!  read:                                                         slot > born: not valid
//! ```
//!
//! So a fill that was under way while its tag was invalidated can be stored as late as it likes: whoever reads it sees that it was born too
//! early. Two tags in one slot cost a miss now and then, and never a stale value. There is no index of tags to keep, to leak or to
//! lock.
//!
//! With `n` slots, `r` invalidations of one tag each per second, a lifetime of `t` seconds and `k` tags per entry, a share of
//! `exp(-r·t·k / n)` of the unaffected entries outlives its time: 0.84 for 100 per second, ten minutes, three tags and 2²⁰ slots.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::sync::AtomicU64;

/// What is known of the clock at one moment: take it before reading the source, and store the value [at](crate::Set::at) it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Stamp {
    pub(crate) epoch: u64,
    pub(crate) born: u64,
}

/// How much an invalidation takes away.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Depth {
    /// The value is stale: to be refreshed, but still there for when the source fails (if grace is configured).
    #[default]
    Expire,
    /// The value is gone.
    Remove,
}

/// A slot's number.
pub(crate) type Slot = u32;

/// What the clock says of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Validity {
    Expired,
    Removed,
    Valid,
}

#[derive(Debug)]
pub(crate) struct InvalidationClock {
    epoch: AtomicU64,
    seq: AtomicU64,
    expired: Plane,
    removed: Plane,
    /// How many guards a slot has now.
    guards: Plane,
    /// When the last of them went.
    guarded: Plane,
    /// Makes the slots of this clock its own: nobody can choose names that share one.
    seed: u64,
    slots: u32,
    /// The bits of `seq` in which this process counts by itself: all, or those below the steps of a clock that it shares with others.
    own: u64,
}

impl InvalidationClock {
    /// A clock of `2^bits` slots.
    pub(crate) fn new(bits: SlotBits) -> Self {
        Self::seeded(bits, fastrand::u64(..), u64::MAX)
    }

    /// One whose slots are those of all processes that have the seed, and whose steps they share.
    #[cfg(feature = "l2")]
    pub(crate) fn shared(bits: SlotBits, seed: u64) -> Self {
        Self::seeded(bits, seed, (1 << OWN_BITS) - 1)
    }

    fn seeded(bits: SlotBits, seed: u64, own: u64) -> Self {
        let slots = 1 << bits.0;
        Self {
            epoch: AtomicU64::new(fastrand::u64(..)),
            seq: AtomicU64::new(0),
            expired: Plane::new(slots),
            removed: Plane::new(slots),
            guards: Plane::new(slots),
            guarded: Plane::new(slots),
            seed,
            slots,
            own,
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let epoch = self.epoch.load(Ordering::Acquire);
        Stamp {
            epoch,
            born: self.seq.load(Ordering::Acquire),
        }
    }

    /// The slot of a name; a key and a tag never meet on purpose.
    pub(crate) fn slot(&self, name: Name<'_>) -> Slot {
        let hash = match name {
            Name::Key(key) => mix(mix(self.seed, b"k"), key),
            Name::Tag { space, tag } => mix(mix(mix(self.seed, b"t"), space), tag.as_bytes()),
            Name::View(view) => mix(mix(self.seed, b"v"), view),
        };
        (hash >> 32) as Slot & (self.slots - 1)
    }

    /// From here on nothing in `slots` that was born before is valid. False if this process has counted as far as it can before the next step of a clock that it
    /// shares: then nothing at all is valid any more, and is not to be for the others.
    #[must_use]
    pub(crate) fn invalidate(&self, slots: impl IntoIterator<Item = Slot>, depth: Depth) -> bool {
        let next = self.next();
        match next {
            Some(seq) => self.raise(slots, depth, seq),
            None => self.clear(),
        }
        next.is_some()
    }

    fn next(&self) -> Option<u64> {
        let next = |seq: u64| (seq & self.own != self.own).then_some(seq + 1);
        let before = self
            .seq
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        before.ok().map(|seq| seq + 1)
    }

    fn raise(&self, slots: impl IntoIterator<Item = Slot>, depth: Depth, seq: u64) {
        let plane = match depth {
            Depth::Expire => &self.expired,
            Depth::Remove => &self.removed,
        };
        slots.into_iter().for_each(|slot| plane.raise(slot, seq));
    }

    /// From here on nothing is valid.
    pub(crate) fn clear(&self) {
        // Random and not counted up: an epoch of an earlier life of this process must not come back.
        self.epoch.store(fastrand::u64(..), Ordering::Release);
    }

    /// From here on until [`unguard`](Self::unguard) nothing in `slots` can be stored.
    pub(crate) fn guard(&self, slots: &[Slot]) {
        slots.iter().for_each(|slot| self.guards.add(*slot, 1));
    }

    /// What began before this cannot be stored any more. False as for [`invalidate`](Self::invalidate).
    #[must_use]
    pub(crate) fn unguard(&self, slots: &[Slot]) -> bool {
        let next = self.next();
        // In this order: at no time between the two does a fill from before find the slot free.
        match next {
            Some(seq) => slots.iter().for_each(|slot| self.guarded.raise(*slot, seq)),
            None => self.clear(),
        }
        slots
            .iter()
            .for_each(|slot| self.guards.add(*slot, u64::MAX));
        next.is_some()
    }

    /// Whether what was read at `stamp` was read, or is about to be stored, while one of `slots` was guarded.
    pub(crate) fn is_guarded(&self, stamp: Stamp, slots: &[Slot]) -> bool {
        let guarded =
            |slot: &Slot| self.guards.at(*slot) > 0 || self.guarded.at(*slot) > stamp.born;
        slots.iter().any(guarded)
    }

    pub(crate) fn check(&self, stamp: Stamp, slots: &[Slot]) -> Validity {
        if self.epoch.load(Ordering::Acquire) != stamp.epoch
            || slots.iter().any(|slot| self.removed.at(*slot) > stamp.born)
        {
            return Validity::Removed;
        }
        if slots.iter().any(|slot| self.expired.at(*slot) > stamp.born) {
            return Validity::Expired;
        }
        Validity::Valid
    }
}

/// What a slot stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'a> {
    Key(&'a [u8]),
    Tag { space: &'a [u8], tag: &'a str },
    View(&'a [u8]),
}

/// What follows a clock that is shared: its steps are counted above [`OWN_BITS`]; below them a process counts what it could not tell the others yet.
#[cfg(feature = "l2")]
impl InvalidationClock {
    /// What others did at the step `seq`. Of that step only, and not of those before: the clock here does not [follow](Self::follow) yet.
    pub(crate) fn invalidate_at(
        &self,
        slots: impl IntoIterator<Item = Slot>,
        depth: Depth,
        seq: u64,
    ) {
        // It comes from elsewhere.
        let slots = slots.into_iter().filter(|slot| *slot < self.slots);
        self.raise(slots, depth, seq << OWN_BITS);
    }

    /// Everything up to the step `seq` has been raised here.
    pub(crate) fn follow(&self, seq: u64) {
        self.seq.fetch_max(seq << OWN_BITS, Ordering::AcqRel);
    }

    /// The epoch is another one.
    pub(crate) fn adopt(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Each slot that a step raised last, and that step; what was raised by this process alone since then is left out.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Depth, Slot, u64)> {
        let planes = [
            (Depth::Expire, &self.expired),
            (Depth::Remove, &self.removed),
        ];
        planes.into_iter().flat_map(|(depth, plane)| {
            plane
                .raised()
                .filter(|(_, seq)| seq & self.own == 0)
                .map(move |(slot, seq)| (depth, slot, seq >> OWN_BITS))
        })
    }

    /// When something was born that another process wrote: as far as this one can judge. It may stand behind that one, and may have counted by itself what that one does not
    /// know of; so nothing is younger than the last step that is known here.
    pub(crate) fn stamp_of(&self, written: crate::l2::Written) -> Stamp {
        let known = self.seq.load(Ordering::Acquire) & !self.own;
        Stamp {
            epoch: written.epoch,
            born: (written.born << OWN_BITS).min(known),
        }
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }
}

#[cfg(feature = "l2")]
const OWN_BITS: u32 = 16;

#[cfg(feature = "l2")]
impl Stamp {
    /// As the others know it: what this process counted by itself errs towards a miss for them.
    pub(crate) fn written(self) -> crate::l2::Written {
        crate::l2::Written {
            epoch: self.epoch,
            born: self.born >> OWN_BITS,
        }
    }
}

/// Mixes `bytes` into `hash`, eight at a time. The same everywhere: who has the seed, also in another process, finds the same slot.
fn mix(hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut hash = words.by_ref().fold(hash, |hash, word| {
        fold(hash ^ u64::from_le_bytes(word.try_into().expect("eight bytes")))
    });
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    hash = fold(hash ^ u64::from_le_bytes(last));
    fold(hash ^ bytes.len() as u64)
}

/// A multiplication to twice the width, folded: each bit depends on each.
fn fold(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xda94_2042_e4dd_58b5;
    (product as u64) ^ (product >> 64) as u64
}

/// How many slots a clock has, as a power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotBits(u32);

impl SlotBits {
    pub(crate) const DEFAULT: Self = Self(20);
    #[cfg(all(test, buttress_loom))]
    pub(crate) const FEW: Self = Self(2);

    #[cfg(feature = "redis")]
    pub(crate) fn get(self) -> u8 {
        self.0 as u8
    }

    /// At least `slots`, from 2¹⁰ to 2²⁸.
    pub(crate) fn at_least(slots: u32) -> Self {
        Self(
            slots
                .clamp(1 << PAGE_BITS, 1 << 28)
                .next_power_of_two()
                .trailing_zeros(),
        )
    }
}

/// One `seq` per slot. Pages come into being when a slot in them is first raised, so that a quiet cache costs little.
#[derive(Debug)]
struct Plane {
    pages: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

/// Small where every order of two threads is told.
const PAGE_BITS: u32 = if cfg!(buttress_loom) { 2 } else { 10 };
const PAGE: usize = 1 << PAGE_BITS;

impl Plane {
    fn new(slots: u32) -> Self {
        let page = || {
            let page = OnceLock::new();
            // Loom does not see what `OnceLock` makes happen before what.
            if cfg!(buttress_loom) {
                page.get_or_init(zeroes);
            }
            page
        };
        Self {
            pages: (0..slots as usize / PAGE).map(|_| page()).collect(),
        }
    }

    fn at(&self, slot: Slot) -> u64 {
        let page = self.pages[slot as usize / PAGE].get();
        page.map_or(0, |page| page[slot as usize % PAGE].load(Ordering::Acquire))
    }

    /// Every slot that is not zero.
    #[cfg(feature = "l2")]
    fn raised(&self) -> impl Iterator<Item = (Slot, u64)> {
        let pages = self.pages.iter().enumerate();
        pages
            .filter_map(|(at, page)| Some((at * PAGE, page.get()?)))
            .flat_map(|(first, page)| {
                let slots = page.iter().enumerate();
                slots.map(move |(at, seq)| ((first + at) as Slot, seq.load(Ordering::Acquire)))
            })
            .filter(|(_, seq)| *seq > 0)
    }

    fn raise(&self, slot: Slot, seq: u64) {
        self.cell(slot).fetch_max(seq, Ordering::AcqRel);
    }

    /// Wraps around.
    fn add(&self, slot: Slot, count: u64) {
        self.cell(slot).fetch_add(count, Ordering::AcqRel);
    }

    fn cell(&self, slot: Slot) -> &AtomicU64 {
        let page = self.pages[slot as usize / PAGE].get_or_init(zeroes);
        &page[slot as usize % PAGE]
    }
}

fn zeroes() -> Box<[AtomicU64]> {
    (0..PAGE).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> InvalidationClock {
        InvalidationClock::new(SlotBits::DEFAULT)
    }

    fn tag(clock: &InvalidationClock, tag: &str) -> Slot {
        clock.slot(Name::Tag { space: b"", tag })
    }

    #[test]
    fn what_was_born_before_is_invalid_and_what_is_born_after_is_valid() {
        let clock = clock();
        let slots = [tag(&clock, "a"), tag(&clock, "b")];
        let before = clock.stamp();
        assert_eq!(clock.check(before, &slots), Validity::Valid);
        assert!(clock.invalidate([slots[1]], Depth::Expire));
        assert_eq!(clock.check(before, &slots), Validity::Expired);
        assert_eq!(clock.check(before, &slots[..1]), Validity::Valid);
        assert_eq!(clock.check(clock.stamp(), &slots), Validity::Valid);
        assert!(clock.invalidate([slots[0]], Depth::Remove));
        assert_eq!(clock.check(before, &slots), Validity::Removed);
    }

    #[test]
    fn a_removal_outweighs_an_expiry() {
        let clock = clock();
        let slots = [tag(&clock, "a")];
        let before = clock.stamp();
        assert!(clock.invalidate(slots, Depth::Remove));
        assert!(clock.invalidate(slots, Depth::Expire));
        assert_eq!(clock.check(before, &slots), Validity::Removed);
    }

    #[test]
    fn clear_takes_everything_that_was_there() {
        let clock = clock();
        let before = clock.stamp();
        clock.clear();
        assert_eq!(clock.check(before, &[]), Validity::Removed);
        assert_eq!(clock.check(clock.stamp(), &[]), Validity::Valid);
    }

    #[test]
    fn a_tag_is_not_the_key_of_the_same_name() {
        let clock = clock();
        let differ = (0..10).any(|n| {
            let name = format!("name {n}");
            tag(&clock, &name) != clock.slot(Name::Key(name.as_bytes()))
        });
        assert!(differ);
    }

    #[test]
    fn what_began_or_ends_under_a_guard_is_guarded_and_what_is_born_after_is_not() {
        let clock = clock();
        let slots = [tag(&clock, "a")];
        let before = clock.stamp();
        assert!(!clock.is_guarded(before, &slots));
        clock.guard(&slots);
        clock.guard(&slots);
        assert!(clock.is_guarded(clock.stamp(), &slots));
        assert!(clock.unguard(&slots));
        assert!(clock.is_guarded(clock.stamp(), &slots), "one is left");
        assert!(clock.unguard(&slots));
        assert!(clock.is_guarded(before, &slots));
        assert!(!clock.is_guarded(clock.stamp(), &slots));
        assert_eq!(clock.check(before, &slots), Validity::Valid);
    }

    #[test]
    fn names_fall_evenly_into_slots_and_differently_in_each_clock() {
        let clocks = [clock(), clock()];
        let mut filled = vec![0_u32; 1 << 10];
        let mut same = 0;
        for n in 0..100_000 {
            let name = format!("product:{n}");
            let slots = clocks.each_ref().map(|clock| tag(clock, &name));
            filled[(slots[0] >> 10) as usize] += 1;
            same += u32::from(slots[0] == slots[1]);
        }
        // About 98 in each; seven standard deviations are 69.
        assert!(filled.iter().all(|count| (29..=167).contains(count)));
        assert!(same < 20, "{same}");
    }

    #[test]
    fn the_number_of_slots_is_a_power_of_two_within_bounds() {
        assert_eq!(SlotBits::at_least(0).0, 10);
        assert_eq!(SlotBits::at_least(1025).0, 11);
        assert_eq!(SlotBits::at_least(u32::MAX).0, 28);
    }
}
