//! What could not be told to the other nodes yet.

use std::collections::BTreeSet;

use crate::clock::{Depth, InvalidationClock, Slot};
use crate::told::Told;

/// Bounded: what is one slot is one entry, and if there are too many, it is everything.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Everything is to be invalidated: the rest says nothing any more.
    all: bool,
    slots: BTreeSet<(Depth, Slot)>,
}

/// More than that is everything.
pub(super) const MAX_WAITING: usize = 1 << 14;
/// So many slots go in one step: Redis does nothing else meanwhile.
pub(super) const MAX_STEP: usize = 1 << 10;

impl Outbox {
    pub(super) fn push(&mut self, told: Told) {
        match told {
            Told::All => self.all = true,
            Told::Slots(depth, slots) if !self.all => {
                self.slots
                    .extend(slots.into_iter().map(|slot| (depth, slot)));
                self.all = self.slots.len() > MAX_WAITING;
            }
            Told::Slots(..) => {}
        }
        if self.all {
            self.slots.clear();
        }
    }

    /// What is to be told next. It stays in the box until it [was told](Self::told).
    pub(super) fn next(&self) -> Option<Told> {
        if self.all {
            return Some(Told::All);
        }
        let (depth, _) = *self.slots.first()?;
        let same = self.slots.iter().take_while(|(of, _)| *of == depth);
        let slots = same.map(|(_, slot)| *slot).take(MAX_STEP).collect();
        Some(Told::Slots(depth, slots))
    }

    /// It was told.
    pub(super) fn told(&mut self, told: &Told) {
        match told {
            Told::All => self.all = false,
            Told::Slots(depth, slots) => slots.iter().for_each(|slot| {
                self.slots.remove(&(*depth, *slot));
            }),
        }
    }

    /// Lets what is in the box hold here once more: this node has learnt of steps that others took, and values that were born at these could be taken for younger. False if all has to
    /// be told.
    pub(super) fn hold(&self, clock: &InvalidationClock) -> bool {
        if self.all {
            clock.clear();
            return true;
        }
        [Depth::Expire, Depth::Remove].into_iter().all(|depth| {
            let same = self.slots.iter().filter(|(of, _)| *of == depth);
            let mut slots = same.map(|(_, slot)| *slot).peekable();
            slots.peek().is_none() || clock.invalidate(slots, depth)
        })
    }

    /// How many slots wait; all of them count as one.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + usize::from(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(outbox: &mut Outbox) -> Option<Told> {
        let told = outbox.next()?;
        outbox.told(&told);
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
