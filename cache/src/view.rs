//! Parts of a cache that do not meet: partitions and namespaces.

use crate::clock::{InvalidationClock, Name, Slot};
use crate::slots::Slots;

/// A part of a cache. Its keys are written behind a prefix of its own, which no other key can be made to begin with:
///
/// ```text
///  a key of no part       key                          unless it begins with FF: then FF FF key
///  a key of a part        FF (kind length name)* 00 key
/// ```
#[derive(Debug)]
pub(crate) struct View {
    prefix: Box<[u8]>,
    /// How much of the prefix keeps tags apart.
    space: usize,
    /// Its own, and those of all parts that it is in: by these it is cleared.
    slots: Slots,
    own: Slot,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Keys of its own, the tags of the part that it is in.
    Partition = 1,
    /// Keys and tags of its own.
    Namespace = 2,
}

/// No UTF-8 begins with it.
const MARK: u8 = 0xff;
const END: u8 = 0;

impl View {
    pub(crate) fn new(
        parent: Option<&Self>,
        kind: Kind,
        name: &[u8],
        clock: &InvalidationClock,
    ) -> Self {
        let mut prefix = parent.map_or(vec![MARK], |parent| parent.stem().to_vec());
        prefix.push(kind as u8);
        prefix.extend_from_slice(&(name.len() as u64).to_be_bytes());
        prefix.extend_from_slice(name);
        let own = clock.slot(Name::View(&prefix));
        let space = match kind {
            Kind::Namespace => prefix.len(),
            Kind::Partition => parent.map_or(0, |parent| parent.space),
        };
        let mut slots = parent.map_or_else(Slots::default, |parent| parent.slots.clone());
        // Parts within parts beyond the bound are cleared with those around them.
        let _ = slots.push(own);
        prefix.push(END);
        Self {
            prefix: prefix.into(),
            space,
            slots,
            own,
        }
    }

    /// What keeps its tags apart.
    pub(crate) fn space(&self) -> &[u8] {
        &self.prefix[..self.space]
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        self.slots.as_slice()
    }

    /// What takes everything in it away.
    pub(crate) fn own_slot(&self) -> Slot {
        self.own
    }

    fn stem(&self) -> &[u8] {
        &self.prefix[..self.prefix.len() - 1]
    }
}

/// Runs `f` with the full key: what is stored, and what has a slot.
pub(crate) fn with_full<T>(view: Option<&View>, key: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    match prefix(view, key) {
        [] => f(key),
        prefix => with_joined(prefix, key, f),
    }
}

/// The key as its user knows it.
pub(crate) fn own<'a>(view: Option<&View>, full: &'a [u8]) -> &'a [u8] {
    let prefix = match view {
        Some(view) => view.prefix.len(),
        None if full.starts_with(&[MARK, MARK]) => 1,
        None => 0,
    };
    &full[prefix..]
}

fn prefix<'a>(view: Option<&'a View>, key: &[u8]) -> &'a [u8] {
    match view {
        Some(view) => &view.prefix,
        None if key.first() == Some(&MARK) => &[MARK],
        None => &[],
    }
}

/// Most keys are short, and joined without allocating.
fn with_joined<T>(prefix: &[u8], key: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    let mut buffer = [0; 256];
    let len = prefix.len() + key.len();
    match buffer.get_mut(..len) {
        Some(joined) => {
            let (front, back) = joined.split_at_mut(prefix.len());
            front.copy_from_slice(prefix);
            back.copy_from_slice(key);
            f(joined)
        }
        None => f(&[prefix, key].concat()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::clock::SlotBits;

    #[test]
    fn no_two_keys_of_different_parts_are_one() {
        let clock = InvalidationClock::new(SlotBits::DEFAULT);
        let view = |parent, kind, name: &[u8]| View::new(parent, kind, name, &clock);
        let alice = view(None, Kind::Partition, b"alice");
        let within = view(Some(&alice), Kind::Partition, b"b");
        let views = [
            view(None, Kind::Namespace, b"alice"),
            view(None, Kind::Partition, b""),
            view(None, Kind::Partition, b"alice\0"),
            view(None, Kind::Partition, b"aliceb"),
            within,
            alice,
        ];
        let full = |view: Option<&View>, key: &[u8]| with_full(view, key, <[u8]>::to_vec);
        let mut seen = HashSet::new();
        for view in &views {
            for key in [&b""[..], b"k", b"\0k", &[9; 300]] {
                let stored = full(Some(view), key);
                assert_eq!(own(Some(view), &stored), key);
                // A key of no part that reads as if it were of one.
                let forged = full(None, &stored);
                assert_eq!(own(None, &forged), stored);
                assert!(seen.insert(stored) && seen.insert(forged));
            }
        }
    }

    #[test]
    fn an_ordinary_key_is_stored_as_it_is() {
        with_full(None, b"product:42", |full| assert_eq!(full, b"product:42"));
    }
}
