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
//! With `n` slots, `r` invalidations of one tag each per second, a lifetime of `t` seconds and entries of `k` tags, which have a slot for their key too, a share of
//! `exp(-x)` of the unaffected entries lives to its end, where `x = r·t·(k + 1) / n`, and at any time `(1 - exp(-x)) / x` of them are valid. For 100 per
//! second, ten minutes, three tags and 2²⁰ slots: 0.80, and 0.89.

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
    marks: Pages<Marks>,
    guards: Pages<Guards>,
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
            marks: Pages::new(slots),
            guards: Pages::new(slots),
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

    /// What its slots take. It grows with how many of them were ever invalidated or guarded, up to all, and never shrinks.
    pub(crate) fn bytes(&self) -> usize {
        self.marks.bytes() + self.guards.bytes()
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
        for slot in slots {
            let marks = self.marks.cell(slot);
            let mark = match depth {
                Depth::Expire => &marks.expired,
                Depth::Remove => &marks.removed,
            };
            mark.fetch_max(seq, Ordering::AcqRel);
        }
    }

    /// From here on nothing is valid.
    pub(crate) fn clear(&self) {
        // Random and not counted up: an epoch of an earlier life of this process must not come back.
        self.epoch.store(fastrand::u64(..), Ordering::Release);
    }

    /// From here on until [`unguard`](Self::unguard) nothing in `slots` can be stored.
    pub(crate) fn guard(&self, slots: &[Slot]) {
        for slot in slots {
            let guards = self.guards.cell(*slot);
            guards.now.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What began before this cannot be stored any more. False as for [`invalidate`](Self::invalidate).
    #[must_use]
    pub(crate) fn unguard(&self, slots: &[Slot]) -> bool {
        let next = self.next();
        if next.is_none() {
            self.clear();
        }
        for slot in slots {
            let guards = self.guards.cell(*slot);
            // In this order: at no time between the two does a fill from before find the slot free.
            if let Some(seq) = next {
                guards.ended.fetch_max(seq, Ordering::AcqRel);
            }
            guards.now.fetch_sub(1, Ordering::AcqRel);
        }
        next.is_some()
    }

    /// Whether this process has counted more than half as far as it can before the next step of a clock that it shares.
    pub(crate) fn is_far_from_the_last_step(&self) -> bool {
        let is_alone = self.own == u64::MAX;
        !is_alone && self.seq.load(Ordering::Acquire) & self.own > self.own / 2
    }

    /// Whether what was read at `stamp` was read, or is about to be stored, while one of `slots` was guarded.
    pub(crate) fn is_guarded(&self, stamp: Stamp, slots: &[Slot]) -> bool {
        let guards = slots.iter().filter_map(|slot| self.guards.get(*slot));
        let mut guards = guards.map(|guards| (&guards.now, &guards.ended));
        guards.any(|(now, ended)| {
            now.load(Ordering::Acquire) > 0 || ended.load(Ordering::Acquire) > stamp.born
        })
    }

    pub(crate) fn check(&self, stamp: Stamp, slots: &[Slot]) -> Validity {
        if self.epoch.load(Ordering::Acquire) != stamp.epoch {
            return Validity::Removed;
        }
        // An invalidation that is done has moved this on. Not where steps are shared: slots are raised at those of others before this clock follows.
        let is_alone = self.own == u64::MAX;
        if is_alone && self.seq.load(Ordering::Acquire) <= stamp.born {
            return Validity::Valid;
        }
        let mut validity = Validity::Valid;
        for marks in slots.iter().filter_map(|slot| self.marks.get(*slot)) {
            if marks.removed.load(Ordering::Acquire) > stamp.born {
                return Validity::Removed;
            }
            if marks.expired.load(Ordering::Acquire) > stamp.born {
                validity = Validity::Expired;
            }
        }
        validity
    }
}

/// When a slot was last invalidated, by `seq`.
#[derive(Debug, Default)]
struct Marks {
    expired: AtomicU64,
    removed: AtomicU64,
}

#[derive(Debug, Default)]
struct Guards {
    /// How many a slot has.
    now: AtomicU64,
    /// When the last of them went, by `seq`.
    ended: AtomicU64,
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
        let both = |(slot, marks): (Slot, &Marks)| {
            let expired = (Depth::Expire, slot, marks.expired.load(Ordering::Acquire));
            let removed = (Depth::Remove, slot, marks.removed.load(Ordering::Acquire));
            [expired, removed]
        };
        let steps = self.marks.written().flat_map(both);
        steps
            .filter(|(_, _, seq)| *seq > 0 && seq & self.own == 0)
            .map(|(depth, slot, seq)| (depth, slot, seq >> OWN_BITS))
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

/// One `T` per slot. Pages come into being when a slot in them is first written, so that a quiet cache costs little.
#[derive(Debug)]
struct Pages<T> {
    pages: Box<[OnceLock<Box<[T]>>]>,
}

/// Small where every order of two threads is told.
const PAGE_BITS: u32 = if cfg!(buttress_loom) { 2 } else { 10 };
const PAGE: usize = 1 << PAGE_BITS;

impl<T: Default> Pages<T> {
    fn new(slots: u32) -> Self {
        let page = |_| {
            let page = OnceLock::new();
            // Loom does not see what `OnceLock` makes happen before what.
            if cfg!(buttress_loom) {
                page.get_or_init(zeroes);
            }
            page
        };
        Self {
            pages: (0..slots as usize / PAGE).map(page).collect(),
        }
    }

    /// `None` where nothing was ever written.
    fn get(&self, slot: Slot) -> Option<&T> {
        let page = self.pages[slot as usize / PAGE].get()?;
        Some(&page[slot as usize % PAGE])
    }

    /// What the pages take that were written to.
    fn bytes(&self) -> usize {
        let written = self.pages.iter().filter(|page| page.get().is_some());
        written.count() * PAGE * size_of::<T>()
    }

    /// Every slot of the pages that were written to.
    #[cfg(feature = "l2")]
    fn written(&self) -> impl Iterator<Item = (Slot, &T)> {
        let pages = self.pages.iter().enumerate();
        pages
            .filter_map(|(at, page)| Some((at * PAGE, page.get()?)))
            .flat_map(|(first, page)| {
                let slots = page.iter().enumerate();
                slots.map(move |(at, cell)| ((first + at) as Slot, cell))
            })
    }

    fn cell(&self, slot: Slot) -> &T {
        let page = self.pages[slot as usize / PAGE].get_or_init(zeroes);
        &page[slot as usize % PAGE]
    }
}

fn zeroes<T: Default>() -> Box<[T]> {
    (0..PAGE).map(|_| T::default()).collect()
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

    #[cfg(feature = "l2")]
    #[test]
    fn a_step_that_is_not_followed_yet_holds_for_what_is_born_at_the_last_one() {
        let clock = InvalidationClock::shared(SlotBits::DEFAULT, 7);
        let slots = [tag(&clock, "a")];
        clock.follow(10);
        let now = clock.stamp();
        assert_eq!(clock.check(now, &slots), Validity::Valid);
        clock.invalidate_at(slots, Depth::Expire, 12);
        assert_eq!(clock.check(now, &slots), Validity::Expired);
        clock.follow(11);
        assert_eq!(clock.check(clock.stamp(), &slots), Validity::Expired);
        clock.follow(12);
        assert_eq!(clock.check(clock.stamp(), &slots), Validity::Valid);
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
    fn what_it_takes_grows_by_pages_and_has_an_end() {
        let clock = clock();
        assert_eq!(clock.bytes(), 0);
        assert!(clock.invalidate([tag(&clock, "a")], Depth::Expire));
        assert!(clock.invalidate([tag(&clock, "a")], Depth::Remove));
        assert_eq!(clock.bytes(), PAGE * size_of::<Marks>());
        clock.guard(&[tag(&clock, "a")]);
        let page = PAGE * (size_of::<Marks>() + size_of::<Guards>());
        assert_eq!(clock.bytes(), page);
        assert!(clock.invalidate(0..clock.slots, Depth::Remove));
        let all = clock.slots as usize * size_of::<Marks>();
        assert_eq!(clock.bytes(), all + PAGE * size_of::<Guards>());
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
