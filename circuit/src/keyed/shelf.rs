//! A map that knows in which order its entries were used: plain data.

use hashbrown::HashTable;

/// Entries by key and by use. Positions are dense: the last entry takes the place of one that is removed.
#[derive(Debug)]
pub(crate) struct Shelf<K, V> {
    index: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    newest: u32,
    oldest: u32,
    /// Where the next search for something to remove goes on, if it does not begin with the oldest.
    hand: u32,
}

#[derive(Debug)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
    newer: u32,
    older: u32,
}

/// The position of nothing.
const NONE: u32 = u32::MAX;

/// What is to become of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Stay,
    /// It may go if nothing better is found.
    May,
    Go,
}

impl<K, V> Shelf<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }

    /// The entry of `hash` whose key `is_it`, which is now the newest.
    pub(crate) fn touch(&mut self, hash: u64, is_it: impl Fn(&K) -> bool) -> Option<&mut V> {
        let entries = &self.entries;
        let found = self
            .index
            .find(hash, |&at| is_it(&entries[at as usize].key));
        let at = *found?;
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
        Some(&mut self.entries[at as usize].value)
    }

    /// Adds an entry, the newest, whose key is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, key: K, value: V) {
        let at = self.entries.len() as u32;
        self.entries.push(Entry {
            hash,
            key,
            value,
            newer: NONE,
            older: NONE,
        });
        self.link_newest(at);
        let entries = &self.entries;
        self.index
            .insert_unique(hash, at, |&at| entries[at as usize].hash);
    }

    /// Looks at the `most` least recently used entries and removes the first that may go. What was looked at in vain is not looked at
    /// again before all others were.
    pub(crate) fn evict(&mut self, most: usize, fate: impl Fn(&V) -> Fate) -> Option<(K, V)> {
        let goes_on = self.hand != NONE;
        let mut at = if goes_on { self.hand } else { self.oldest };
        let mut second = NONE;
        for _ in 0..most.min(self.len()) {
            match fate(&self.entries[at as usize].value) {
                Fate::Go => {
                    self.hand = if goes_on { at } else { NONE };
                    return Some(self.remove(at));
                }
                Fate::May if second == NONE => second = at,
                Fate::May | Fate::Stay => {}
            }
            at = match self.entries[at as usize].newer {
                NONE => self.oldest,
                newer => newer,
            };
        }
        self.hand = if most < self.len() { at } else { NONE };
        (second != NONE).then(|| self.remove(second))
    }

    /// Removes the least recently used entry, if it is to go.
    pub(crate) fn pop_oldest(&mut self, goes: impl Fn(&V) -> bool) -> Option<(K, V)> {
        let oldest = self.entries.get(self.oldest as usize)?;
        goes(&oldest.value).then(|| self.remove(self.oldest))
    }

    fn remove(&mut self, at: u32) -> (K, V) {
        self.unlink(at);
        self.forget(at, |&position| position == at);
        let entry = self.entries.swap_remove(at as usize);
        let moved = self.entries.len() as u32;
        if at != moved {
            self.rename(moved, at);
        }
        (entry.key, entry.value)
    }

    fn forget(&mut self, at: u32, is_it: impl Fn(&u32) -> bool) {
        let hash = self.entries[at as usize].hash;
        if let Ok(found) = self.index.find_entry(hash, is_it) {
            found.remove();
        }
    }

    /// The entry that was at `from` is at `to`.
    fn rename(&mut self, from: u32, to: u32) {
        let Entry {
            hash, newer, older, ..
        } = self.entries[to as usize];
        if let Some(position) = self.index.find_mut(hash, |&at| at == from) {
            *position = to;
        }
        *self.older_of(newer) = to;
        *self.newer_of(older) = to;
        if self.hand == from {
            self.hand = to;
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        let entry = &mut self.entries[at as usize];
        (entry.newer, entry.older) = (NONE, older);
        *self.newer_of(older) = at;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        if self.hand == at {
            self.hand = newer;
        }
        *self.older_of(newer) = older;
        *self.newer_of(older) = newer;
    }

    /// What `at` knows as the next older entry; of nothing, which is what is newer than the newest, that is the newest.
    fn older_of(&mut self, at: u32) -> &mut u32 {
        match self.entries.get_mut(at as usize) {
            Some(entry) => &mut entry.older,
            None => &mut self.newest,
        }
    }

    fn newer_of(&mut self, at: u32) -> &mut u32 {
        match self.entries.get_mut(at as usize) {
            Some(entry) => &mut entry.newer,
            None => &mut self.oldest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of every key is the same, so that they are told apart by their keys.
    fn shelf(keys: &[u32]) -> Shelf<u32, u32> {
        let mut shelf = Shelf::new();
        keys.iter().for_each(|&key| shelf.insert(7, key, key * 10));
        shelf
    }

    fn order(shelf: &mut Shelf<u32, u32>) -> Vec<u32> {
        std::iter::from_fn(|| shelf.pop_oldest(|_| true))
            .map(|(key, value)| {
                assert_eq!(value, key * 10);
                key
            })
            .collect()
    }

    #[test]
    fn entries_leave_in_the_order_of_their_use() {
        let mut shelf = shelf(&[1, 2, 3, 4]);
        assert_eq!(shelf.touch(7, |&key| key == 2), Some(&mut 20));
        assert_eq!(shelf.touch(7, |&key| key == 4), Some(&mut 40));
        assert_eq!(shelf.touch(7, |&key| key == 9), None);
        assert_eq!(order(&mut shelf), [1, 3, 2, 4]);
        assert_eq!(shelf.len(), 0);
    }

    #[test]
    fn the_rest_stays_whole_whichever_entry_is_removed() {
        for removed in 1..=4 {
            let mut shelf = shelf(&[1, 2, 3, 4]);
            let fate = |value: &u32| {
                if *value == removed * 10 {
                    Fate::Go
                } else {
                    Fate::Stay
                }
            };
            assert_eq!(shelf.evict(9, fate), Some((removed, removed * 10)));
            for key in 1..=4 {
                let found = shelf.touch(7, |&k| k == key).is_some();
                assert_eq!(found, key != removed);
            }
            shelf.insert(7, 5, 50);
            let rest: Vec<_> = (1..=5).filter(|&key| key != removed).collect();
            assert_eq!(order(&mut shelf), rest);
        }
    }

    #[test]
    fn what_may_go_waits_for_what_should() {
        let mut shelf = shelf(&[1, 2, 3]);
        let fate = |value: &u32| match value {
            10 => Fate::May,
            30 => Fate::Go,
            _ => Fate::Stay,
        };
        assert_eq!(shelf.evict(9, fate), Some((3, 30)));
        assert_eq!(shelf.evict(9, fate), Some((1, 10)));
        assert_eq!(shelf.evict(9, fate), None);
    }

    #[test]
    fn a_search_goes_on_where_the_last_one_stopped() {
        let mut shelf = shelf(&[1, 2, 3, 4, 5]);
        let fate = |value: &u32| if *value == 50 { Fate::Go } else { Fate::Stay };
        assert_eq!(shelf.evict(2, fate), None);
        assert_eq!(shelf.evict(2, fate), None);
        assert_eq!(shelf.evict(2, fate), Some((5, 50)));
        assert_eq!(shelf.hand, NONE);
    }

    #[test]
    fn a_search_goes_on_also_after_it_found_something() {
        let mut shelf = shelf(&[1, 2, 3, 4, 5]);
        let fate = |value: &u32| if *value >= 40 { Fate::Go } else { Fate::Stay };
        assert_eq!(shelf.evict(3, fate), None);
        assert_eq!(shelf.evict(3, fate), Some((4, 40)));
        assert_eq!(shelf.evict(3, fate), Some((5, 50)));
        assert_eq!(shelf.evict(3, fate), None);
    }

    #[test]
    fn the_hand_follows_its_entry_and_leaves_what_is_used() {
        let mut shelf = shelf(&[1, 2, 3, 4, 5]);
        assert_eq!(shelf.evict(4, |_| Fate::Stay), None);
        assert_eq!(shelf.pop_oldest(|_| true), Some((1, 10)));
        assert_eq!(shelf.evict(1, |_| Fate::Go), Some((5, 50)), "has moved");
        assert_eq!(shelf.evict(1, |_| Fate::Stay), None);
        shelf.touch(7, |&key| key == 3);
        assert_eq!(shelf.evict(1, |_| Fate::Go), Some((4, 40)), "3 is in use");
        assert_eq!(order(&mut shelf), [2, 3]);
    }
}
