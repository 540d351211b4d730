//! How a node keeps its clock in step with the one that all share.
//!
//! ```text
//!  shared:   … ── step 41, tip a ── step 42, tip b ── step 43, tip c
//!  heard:         a → b: raise its slots, then stand at 42
//!                                   b → c: the same, 43
//!                       ? → c, and we stand at a: something was missed; compare heads, and read the clock if they differ
//! ```
//!
//! What comes late, twice or never can only be noticed, and costs a comparison. A node that stands behind takes values for older than they are, and errs towards a
//! miss. That it stands in step is known from a head that was asked for, never from silence.

use super::{Head, Moved, SLOT_BYTES, Slots, TIPS};
use crate::clock::{Depth, InvalidationClock};

/// Where this node stands. `now` is nobody's business here.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// The step up to which everything is raised here.
    known: Option<Head>,
    /// The last step that is known to have happened, whether those before are known or not: the shared clock may not stand before it.
    seen: u64,
    /// A step of this node began another epoch, which is not known here yet: nothing of this one is valid.
    left: bool,
    /// How often this node began another epoch.
    turns: u64,
}

/// What a node knew when it asked. What it learns meanwhile may not be in the answer yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    known: Option<Head>,
    seen: u64,
    turns: u64,
}

/// What to make of a head that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Compared {
    /// It is ours: nothing was missed before it was asked for.
    InStep,
    /// Read the whole clock.
    Behind,
    /// There is no clock, or one that has lost steps that were seen: begin a new epoch.
    Lost,
}

/// What to make of news.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// The next step: it is raised here.
    Followed,
    /// One that is known already.
    Known,
    /// Something was missed, or it comes from another history.
    Gap,
}

/// What to make of a clock that was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Adopted {
    /// We stand where it stands.
    InStep,
    /// The same, in another epoch: nothing of before is valid.
    OtherEpoch,
    /// It has lost steps that were seen here: begin a new epoch.
    Lost,
    /// This node began another epoch since it asked: ask once more.
    Outrun,
}

impl Mirror {
    /// What is to be passed to [`compare`](Self::compare) and [`adopt`](Self::adopt): taken before the question is asked.
    pub(super) fn asked(&self) -> Asked {
        let Self {
            known, seen, turns, ..
        } = *self;
        Asked { known, seen, turns }
    }

    /// What a clock begins with that comes after this one, and after all that is known here.
    pub(super) fn after(&self, head: Option<Head>) -> Head {
        let known = [self.known, head].into_iter().flatten();
        let (age, seq) = known.fold((0, self.seen), |(age, seq), known| {
            (age.max(known.age()), seq.max(known.seq))
        });
        Head {
            epoch: (age + 1) << 32 | u64::from(fastrand::u32(..)),
            seq: seq + 1,
            tip: fastrand::u64(..),
        }
    }

    /// Whether this clock has gone back: it has lost steps, or a whole epoch, that were seen here.
    fn has_gone_back(&self, head: Head, seen: u64) -> bool {
        // Whatever epoch it is: steps are counted on from one to the next, or slots that were raised in the one before would be later than
        // anything that is born.
        let older = |known: Head| head.epoch != known.epoch && head.age() <= known.age();
        head.seq < seen || self.known.is_some_and(older)
    }

    /// Whether where we stand is on the way to `head`: two histories can have as many steps, and raise the same slots. True if that is too long ago to be known.
    fn is_before(&self, head: Head, slots: &Slots) -> bool {
        let Some(known) = self.known else { return true };
        // What was heard since the question was asked.
        let ahead = known.seq > head.seq;
        let forgotten = known.seq + TIPS as u64 <= head.seq;
        ahead || forgotten || slots.tip(known.seq) == Some(known.tip)
    }

    fn is_of(&self, epoch: u64) -> bool {
        self.known.is_some_and(|known| known.epoch == epoch)
    }

    pub(super) fn compare(&self, head: Option<Head>, asked: Asked) -> Compared {
        match head {
            // Whatever it says, it may be of before.
            _ if asked.turns != self.turns => Compared::Behind,
            None => Compared::Lost,
            Some(head) if self.has_gone_back(head, asked.seen) => Compared::Lost,
            // It was left, and is there again.
            Some(head) if self.left && self.is_of(head.epoch) => Compared::Lost,
            // By now, or when it was asked for: what was heard since may have happened after the answer.
            Some(head) if [self.known, asked.known].contains(&Some(head)) => Compared::InStep,
            Some(_) => Compared::Behind,
        }
    }

    /// News. The slots first, and then the step: who takes a stamp in between takes it for the step before.
    pub(super) fn hear(&mut self, moved: &Moved, clock: &InvalidationClock) -> Heard {
        if self.known == Some(moved.head) {
            return Heard::Known;
        }
        // In any case, and of whatever epoch: it may be the next one here, by what was read of it before this step.
        clock.invalidate_at(moved.slots.iter().copied(), moved.depth, moved.head.seq);
        let is_next = |known: Head| {
            moved.previous == known.tip
                && moved.head.seq == known.seq + 1
                && moved.head.epoch == known.epoch
        };
        if !self.known.is_some_and(is_next) {
            return Heard::Gap;
        }
        clock.follow(moved.head.seq);
        self.known = Some(moved.head);
        self.seen = self.seen.max(moved.head.seq);
        Heard::Followed
    }

    /// A step that this node asked for, and that was taken. It is raised here in any case; false if others came in between that are not known yet.
    pub(super) fn taken(&mut self, moved: &Moved, clock: &InvalidationClock) -> bool {
        let heard = self.hear(moved, clock);
        // The server said so itself: it may not forget it.
        self.seen = self.seen.max(moved.head.seq);
        if self.known.is_some() && !self.is_of(moved.head.epoch) {
            // Steps of the epoch before may have higher numbers, and still be on their way to us: by these, what was born then would be younger than this step.
            self.leave(clock);
        }
        heard != Heard::Gap
    }

    /// This node has let the clock begin at `head`, for nothing of before to be valid.
    pub(super) fn begun(&mut self, head: Head, clock: &InvalidationClock) {
        self.seen = self.seen.max(head.seq);
        // Unless that is known already. Whatever comes after it has a higher age.
        if self.known.is_none_or(|known| known.age() < head.age()) {
            self.leave(clock);
        }
    }

    /// Nothing is valid until the next epoch is known here; and what was asked before does not tell of it.
    fn leave(&mut self, clock: &InvalidationClock) {
        self.left = true;
        self.turns += 1;
        clock.clear();
    }

    /// The whole clock.
    pub(super) fn adopt(
        &mut self,
        head: Head,
        slots: &Slots,
        asked: Asked,
        clock: &InvalidationClock,
    ) -> Adopted {
        if asked.turns != self.turns {
            return Adopted::Outrun;
        }
        let seen = asked.seen;
        let same_epoch = self.is_of(head.epoch);
        let strayed = || !self.is_before(head, slots) || has_lost(slots, seen, clock);
        if self.has_gone_back(head, seen) || (same_epoch && (self.left || strayed())) {
            return Adopted::Lost;
        }
        for (depth, slot, seq) in slots.raised(clock.slots()) {
            clock.invalidate_at([slot], depth, seq);
        }
        clock.follow(head.seq);
        self.seen = self.seen.max(head.seq);
        // What was heard or asked for meanwhile may stand further already.
        let further = same_epoch && self.known.is_some_and(|known| known.seq > head.seq);
        if !further {
            self.known = Some(head);
        }
        if same_epoch {
            return Adopted::InStep;
        }
        clock.adopt(head.epoch);
        self.left = false;
        Adopted::OtherEpoch
    }
}

/// Whether a slot was raised here by a step, up to `seen`, that the shared clock knows nothing of.
fn has_lost(slots: &Slots, seen: u64, clock: &InvalidationClock) -> bool {
    clock
        .steps()
        .any(|(depth, slot, seq)| seq <= seen && slots.at(clock.slots(), depth, slot) < seq)
}

impl Slots {
    fn tip(&self, seq: u64) -> Option<u64> {
        let (tips, _) = self.tips.as_chunks::<8>();
        let tip = tips.get(usize::try_from(seq).ok()? % TIPS)?;
        Some(u64::from_be_bytes(*tip))
    }

    fn at(&self, slots: u32, depth: Depth, slot: u32) -> u64 {
        let plane = match depth {
            Depth::Expire => 0,
            Depth::Remove => slots as usize,
        };
        let at = (plane + slot as usize) * SLOT_BYTES;
        let bytes = self.steps.get(at..at + SLOT_BYTES);
        bytes.map_or(0, number)
    }

    fn raised(&self, slots: u32) -> impl Iterator<Item = (Depth, u32, u64)> {
        let slots = slots as usize;
        let (numbers, _) = self.steps.as_chunks::<SLOT_BYTES>();
        let numbers = numbers.iter().enumerate().take(2 * slots);
        numbers
            .map(|(at, bytes)| (at, number(bytes)))
            .filter(|(_, seq)| *seq > 0)
            .map(move |(at, seq)| match at.checked_sub(slots) {
                None => (Depth::Expire, at as u32, seq),
                Some(at) => (Depth::Remove, at as u32, seq),
            })
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Name, SlotBits, Validity};
    use crate::l2::Written;

    fn head(epoch: u64, seq: u64, tip: u64) -> Head {
        let epoch = epoch << 32;
        Head { epoch, seq, tip }
    }

    fn moved(head: Head, previous: u64, slots: &[u32]) -> Moved {
        Moved {
            head,
            previous,
            slots: slots.to_vec(),
            depth: Depth::Expire,
        }
    }

    #[test]
    fn late_steps_of_an_epoch_that_was_left_make_nothing_of_it_valid() {
        let clock = InvalidationClock::shared(SlotBits::at_least(1024), 1);
        let mut mirror = Mirror::default();
        mirror.adopt(head(1, 5, 50), &Slots::default(), mirror.asked(), &clock);
        let slot = clock.slot(Name::Key(b"k"));
        // The clock was lost at a step that this node does not know of, and begins anew with what it does.
        assert!(!mirror.taken(&moved(head(2, 6, 60), 0, &[slot]), &clock));
        for (seq, previous) in [(6, 50), (7, 51)] {
            let step = moved(head(1, seq, previous + 1), previous, &[]);
            assert_eq!(mirror.hear(&step, &clock), Heard::Followed);
        }
        let written = Written {
            epoch: 1 << 32,
            born: 7,
        };
        let judged = clock.check(clock.stamp_of(written), &[slot]);
        assert_eq!(judged, Validity::Removed);
        // There is no way back to it.
        let asked = mirror.asked();
        assert_eq!(mirror.compare(Some(head(1, 7, 52)), asked), Compared::Lost);
        assert_eq!(
            mirror.compare(Some(head(2, 8, 61)), asked),
            Compared::Behind
        );
    }

    #[test]
    fn who_began_an_epoch_believes_nothing_that_was_asked_before() {
        let clock = InvalidationClock::shared(SlotBits::at_least(1024), 1);
        let mut mirror = Mirror::default();
        mirror.adopt(head(1, 5, 50), &Slots::default(), mirror.asked(), &clock);
        let before = mirror.asked();
        // Another one began the second epoch, and this node the third.
        mirror.begun(head(3, 7, 70), &clock);
        for head in [head(1, 5, 50), head(2, 6, 60)] {
            assert_eq!(mirror.compare(Some(head), before), Compared::Behind);
            let adopted = mirror.adopt(head, &Slots::default(), before, &clock);
            assert_eq!(adopted, Adopted::Outrun);
            let Head { epoch, seq, .. } = head;
            let stamp = clock.stamp_of(Written { epoch, born: seq });
            assert_eq!(clock.check(stamp, &[]), Validity::Removed);
            // A server that holds that now has lost what this node began.
            let lost = mirror.compare(Some(head), mirror.asked());
            assert_eq!(lost, Compared::Lost);
        }
        let asked = mirror.asked();
        let third = head(3, 7, 70);
        assert_eq!(mirror.compare(Some(third), asked), Compared::Behind);
        let adopted = mirror.adopt(third, &Slots::default(), asked, &clock);
        assert_eq!(adopted, Adopted::OtherEpoch);
        // To be told late that one began it is no reason to leave it.
        mirror.begun(third, &clock);
        assert_eq!(mirror.compare(Some(third), asked), Compared::InStep);
    }

    #[test]
    fn a_clock_that_lost_a_step_long_ago_is_known_by_its_slots() {
        let clock = InvalidationClock::shared(SlotBits::at_least(1024), 1);
        let far = 5 + 2 * TIPS as u64;
        for (there, adopted) in [(5, Adopted::InStep), (4, Adopted::Lost)] {
            let mut mirror = Mirror::default();
            mirror.adopt(head(1, 4, 40), &Slots::default(), mirror.asked(), &clock);
            mirror.hear(&moved(head(1, 5, 50), 40, &[0]), &clock);
            let steps = u64::to_be_bytes(there)[2..].to_vec().into();
            let slots = Slots {
                steps,
                ..Slots::default()
            };
            let now = mirror.adopt(head(1, far, 9), &slots, mirror.asked(), &clock);
            assert_eq!(now, adopted, "its tip is forgotten");
        }
    }

    #[test]
    fn a_step_that_is_heard_while_the_head_is_asked_for_is_no_reason_to_read_the_clock() {
        let clock = InvalidationClock::shared(SlotBits::at_least(1024), 1);
        let mut mirror = Mirror::default();
        mirror.adopt(head(1, 5, 50), &Slots::default(), mirror.asked(), &clock);
        let asked = mirror.asked();
        let step = moved(head(1, 6, 60), 50, &[0]);
        assert_eq!(mirror.hear(&step, &clock), Heard::Followed);
        for (seq, compared) in [
            (5, Compared::InStep),
            (6, Compared::InStep),
            (7, Compared::Behind),
        ] {
            let head = head(1, seq, seq * 10);
            assert_eq!(mirror.compare(Some(head), asked), compared);
        }
    }

    #[test]
    fn a_server_may_not_forget_what_it_told_this_node_itself() {
        let clock = InvalidationClock::shared(SlotBits::at_least(1024), 1);
        let mut mirror = Mirror::default();
        mirror.adopt(head(1, 5, 50), &Slots::default(), mirror.asked(), &clock);
        let step = moved(head(1, 8, 80), 70, &[0]);
        assert!(!mirror.taken(&step, &clock), "two before it are not known");
        for (seq, compared) in [(7, Compared::Lost), (8, Compared::Behind)] {
            let head = head(1, seq, seq * 10);
            assert_eq!(mirror.compare(Some(head), mirror.asked()), compared);
        }
    }
}
