//! What could not be told to the other nodes yet.

use std::collections::BTreeSet;

use crate::clock::{Depth, Slot};
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

    /// What is to be told next. It is out of the box: whoever cannot tell it puts it back.
    pub(super) fn take(&mut self) -> Option<Told> {
        if std::mem::take(&mut self.all) {
            return Some(Told::All);
        }
        let (depth, _) = *self.slots.first()?;
        let same = self.slots.iter().take_while(|(of, _)| *of == depth);
        let slots: Vec<_> = same.map(|(_, slot)| *slot).take(MAX_STEP).collect();
        slots.iter().for_each(|slot| {
            self.slots.remove(&(depth, *slot));
        });
        Some(Told::Slots(depth, slots))
    }

    /// How many slots wait; all of them count as one.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + usize::from(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_told_once() {
        let mut outbox = Outbox::default();
        outbox.push(Told::Slots(Depth::Expire, vec![1, 2]));
        outbox.push(Told::Slots(Depth::Expire, vec![2, 3]));
        outbox.push(Told::Slots(Depth::Remove, vec![2]));
        assert_eq!(
            outbox.take(),
            Some(Told::Slots(Depth::Expire, vec![1, 2, 3]))
        );
        assert_eq!(outbox.take(), Some(Told::Slots(Depth::Remove, vec![2])));
        assert_eq!(outbox.take(), None);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn too_much_is_everything() {
        let mut outbox = Outbox::default();
        let all: Vec<_> = (0..=MAX_WAITING as u32).collect();
        outbox.push(Told::Slots(Depth::Expire, all));
        outbox.push(Told::Slots(Depth::Remove, vec![7]));
        assert_eq!((outbox.len(), outbox.take()), (1, Some(Told::All)));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn a_step_is_bounded() {
        let mut outbox = Outbox::default();
        outbox.push(Told::Slots(
            Depth::Expire,
            (0..MAX_STEP as u32 + 1).collect(),
        ));
        let lengths: Vec<_> = std::iter::from_fn(|| outbox.take())
            .map(|told| match told {
                Told::Slots(_, slots) => slots.len(),
                Told::All => 0,
            })
            .collect();
        assert_eq!(lengths, [MAX_STEP, 1]);
    }
}
