//! The slots by which a value goes.

use crate::clock::Slot;

/// A small set of slots, in place as long as there are few: a look-up then reads one thing less.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    few: [Slot; FEW],
    len: u8,
    /// All of them, once there are more than a few.
    more: Vec<Slot>,
}

/// A key, its view and four tags.
const FEW: usize = 6;

/// As many as one value may have. A value with more is not stored, since it could not be told when it goes.
const MAX: usize = 1024;

impl Slots {
    /// Whether there is room for it, or it is there already.
    #[must_use]
    pub(crate) fn push(&mut self, slot: Slot) -> bool {
        if self.as_slice().contains(&slot) {
            return true;
        }
        let len = usize::from(self.len);
        match self.few.get_mut(len) {
            Some(free) if self.more.is_empty() => {
                *free = slot;
                self.len += 1;
            }
            _ if self.more.len() >= MAX => return false,
            _ => {
                if self.more.is_empty() {
                    self.more.extend_from_slice(&self.few);
                }
                self.more.push(slot);
            }
        }
        true
    }

    pub(crate) fn as_slice(&self) -> &[Slot] {
        if self.more.is_empty() {
            &self.few[..usize::from(self.len)]
        } else {
            &self.more
        }
    }

    /// What they take beside themselves.
    pub(crate) fn weight(&self) -> usize {
        self.more.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once_in_order() {
        for len in [0, 1, FEW, FEW + 1, 100, MAX] {
            let mut slots = Slots::default();
            let wanted: Vec<_> = (0..len as Slot).collect();
            let twice = wanted.iter().chain(&wanted);
            assert!(twice.copied().all(|slot| slots.push(slot)));
            assert_eq!(slots.as_slice(), wanted);
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut slots = Slots::default();
        assert!((0..MAX as Slot).all(|slot| slots.push(slot)));
        assert!(slots.push(7), "it is there");
        assert!(!slots.push(MAX as Slot));
        assert_eq!(slots.as_slice().len(), MAX);
    }
}
