//! What could not be told to the other nodes yet.

use std::collections::BTreeMap;

use crate::clock::{Depth, InvalidationClock, Slot};
use crate::told::Told;

/// Bounded: what is one slot is one entry, and if there are too many, it is everything.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Everything is to be invalidated: the rest says nothing any more.
    all: Option<Pushed>,
    slots: BTreeMap<(Depth, Slot), Pushed>,
    last: Pushed,
}

/// Counts what was put into the box: what is put there once more while it is being told has to be told once more.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Pushed(u64);

/// More than that is everything.
pub(super) const MAX_WAITING: usize = 1 << 14;
/// So many slots go in one step: Redis does nothing else meanwhile.
pub(super) const MAX_STEP: usize = 1 << 10;

impl Outbox {
    pub(super) fn push(&mut self, told: Told) {
        self.last.0 += 1;
        let now = self.last;
        match told {
            Told::All => self.all = Some(now),
            Told::Slots(depth, slots) => {
                let slots = slots.into_iter().map(|slot| ((depth, slot), now));
                self.slots.extend(slots);
                if self.all.is_some() || self.slots.len() > MAX_WAITING {
                    self.all = Some(now);
                }
            }
        }
        if self.all.is_some() {
            self.slots.clear();
        }
    }

    /// What is to be told next, up to what was put there last. It stays in the box until it [was told](Self::told).
    pub(super) fn next(&self) -> Option<(Told, Pushed)> {
        if self.all.is_some() {
            return Some((Told::All, self.last));
        }
        let ((depth, _), _) = self.slots.first_key_value()?;
        let same = self.slots.keys().take_while(|(of, _)| of == depth);
        let slots = same.map(|(_, slot)| *slot).take(MAX_STEP).collect();
        Some((Told::Slots(*depth, slots), self.last))
    }

    /// It was told; but not what was put there since.
    pub(super) fn told(&mut self, told: &Told, until: Pushed) {
        let is_told = |pushed: &Pushed| *pushed <= until;
        match told {
            Told::All => self.all = self.all.filter(|pushed| !is_told(pushed)),
            Told::Slots(depth, slots) => {
                for slot in slots {
                    if self.slots.get(&(*depth, *slot)).is_some_and(is_told) {
                        self.slots.remove(&(*depth, *slot));
                    }
                }
            }
        }
    }

    /// Lets what is in the box hold here once more: this node has learnt of steps that others took, and values that were born at these could be taken for younger. False if all has to
    /// be told.
    pub(super) fn hold(&self, clock: &InvalidationClock) -> bool {
        if self.all.is_some() {
            clock.clear();
            return true;
        }
        [Depth::Expire, Depth::Remove].into_iter().all(|depth| {
            let same = self.slots.keys().filter(|(of, _)| *of == depth);
            let mut slots = same.map(|(_, slot)| *slot).peekable();
            slots.peek().is_none() || clock.invalidate(slots, depth)
        })
    }

    /// How many slots wait; all of them count as one.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + usize::from(self.all.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(outbox: &mut Outbox) -> Option<Told> {
        let (told, until) = outbox.next()?;
        outbox.told(&told, until);
        Some(told)
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        let mut outbox = Outbox::default();
        outbox.push(Told::Slots(Depth::Expire, vec![1, 2]));
        outbox.push(Told::Slots(Depth::Expire, vec![2, 3]));
        outbox.push(Told::Slots(Depth::Remove, vec![2]));
        assert_eq!(
            take(&mut outbox),
            Some(Told::Slots(Depth::Expire, vec![1, 2, 3]))
        );
        assert_eq!(take(&mut outbox), Some(Told::Slots(Depth::Remove, vec![2])));
        assert_eq!(take(&mut outbox), None);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn what_is_put_there_while_it_is_told_is_told_once_more() {
        let mut outbox = Outbox::default();
        for again in [Told::Slots(Depth::Expire, vec![1]), Told::All] {
            outbox.push(Told::Slots(Depth::Expire, vec![1, 2]));
            let (told, until) = outbox.next().unwrap();
            outbox.push(again);
            outbox.told(&told, until);
            assert_eq!(outbox.len(), 1);
            take(&mut outbox);
        }
    }

    #[test]
    fn too_much_is_everything() {
        let mut outbox = Outbox::default();
        let all: Vec<_> = (0..=MAX_WAITING as u32).collect();
        outbox.push(Told::Slots(Depth::Expire, all));
        outbox.push(Told::Slots(Depth::Remove, vec![7]));
        assert_eq!(outbox.len(), 1);
        assert_eq!(take(&mut outbox), Some(Told::All));
        assert_eq!(take(&mut outbox), None);
    }

    #[test]
    fn a_step_is_bounded() {
        let mut outbox = Outbox::default();
        outbox.push(Told::Slots(
            Depth::Expire,
            (0..MAX_STEP as u32 + 1).collect(),
        ));
        let lengths: Vec<_> = std::iter::from_fn(|| take(&mut outbox))
            .map(|told| match told {
                Told::Slots(_, slots) => slots.len(),
                Told::All => 0,
            })
            .collect();
        assert_eq!(lengths, [MAX_STEP, 1]);
    }
}
