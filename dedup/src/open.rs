//! The flights of one part of the table that can be joined: one for a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashTable;
use tokio::time::Instant;

use crate::builder::Limits;
use crate::line::Line;
use crate::table::{Part, Place};

/// The first of them in its place, beside the lock, and no more than that is written to by a flight that is alone in its part; the others in a table, that grows.
#[repr(C)]
pub(crate) struct Open<K, V> {
    first: Option<Flight<K, V>>,
    more: HashTable<Flight<K, V>>,
}

pub(crate) struct Flight<K, V> {
    pub(crate) place: Place,
    /// Made when the first follower comes.
    pub(crate) line: Option<Arc<Line<K, V>>>,
    /// What newcomers get at once; see [`Leader::land`](crate::Leader::land).
    pub(crate) landed: Option<Arc<Landed<V>>>,
    pub(crate) joinable: Joinable,
    pub(crate) key: K,
}

/// Until when a flight takes newcomers: a word, in nanoseconds of the [table's time](Limits::age).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Joinable(u64);

impl Joinable {
    const ALWAYS: Self = Self(u64::MAX);
    /// It should be closed, and there was no room.
    pub(crate) const NEVER: Self = Self(0);

    // Not generic, and of each flight's path: without it a linker decides whether it is a call.
    #[inline]
    fn for_at_most(limits: &Limits) -> Self {
        let until = |age| Self(limits.age().saturating_add(age));
        limits.max_age_nanos().map_or(Self::ALWAYS, until)
    }

    #[inline]
    fn is_over(self, limits: &Limits) -> bool {
        self != Self::ALWAYS && (self == Self::NEVER || self.0 <= limits.age())
    }
}

pub(crate) struct Landed<V> {
    pub(crate) value: V,
    /// `None` is for ever.
    until: Option<Instant>,
    /// How many more may have it. Changed under the lock of the part alone.
    room: AtomicUsize,
}

/// What becomes of one who finds a flight of his key.
pub(crate) enum Boarded<K, V> {
    Follows(Arc<Line<K, V>>, u64),
    Full,
    Landed(Arc<Landed<V>>),
}

impl<K, V> Open<K, V> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flight<K, V>> {
        self.first.iter().chain(&self.more)
    }

    pub(crate) fn at(&self, place: Place) -> Option<&Flight<K, V>> {
        match &self.first {
            Some(first) if first.place == place => Some(first),
            _ if self.more.is_empty() => None,
            _ => self.more.find(place.hash, |flight| flight.place == place),
        }
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut Flight<K, V>> {
        match &mut self.first {
            Some(first) if first.place == place => Some(first),
            _ => self
                .more
                .find_mut(place.hash, |flight| flight.place == place),
        }
    }

    pub(crate) fn find(
        &mut self,
        hash: u64,
        is_it: impl Fn(&K) -> bool,
    ) -> Option<&mut Flight<K, V>> {
        match &mut self.first {
            Some(first) if first.place.hash == hash && is_it(&first.key) => Some(first),
            _ if self.more.is_empty() => None,
            _ => self.more.find_mut(hash, |flight| is_it(&flight.key)),
        }
    }

    /// One that is not here.
    pub(crate) fn insert(&mut self, flight: Flight<K, V>) {
        if self.first.is_none() {
            self.first = Some(flight);
        } else {
            let hash = |flight: &Flight<K, V>| flight.place.hash;
            self.more.insert_unique(flight.place.hash, flight, hash);
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Flight<K, V>> {
        if self
            .first
            .as_ref()
            .is_some_and(|first| first.place == place)
        {
            return self.first.take();
        }
        let found = self
            .more
            .find_entry(place.hash, |flight| flight.place == place);
        Some(found.ok()?.remove().0)
    }
}

impl<K, V> Default for Open<K, V> {
    fn default() -> Self {
        Self {
            first: None,
            more: HashTable::new(),
        }
    }
}

impl<K, V> Flight<K, V> {
    pub(crate) fn new(key: K, place: Place, limits: &Limits) -> Self {
        Self {
            place,
            line: None,
            landed: None,
            joinable: Joinable::for_at_most(limits),
            key,
        }
    }

    /// `None` when it takes no newcomers any more.
    pub(crate) fn board(&mut self, part: &Arc<Part<K, V>>) -> Option<Boarded<K, V>> {
        if self.joinable.is_over(part.limits()) {
            return None;
        }
        if let Some(landed) = &self.landed {
            return Some(Boarded::Landed(landed.take()?));
        }
        let place = self.place;
        let line = self
            .line
            .get_or_insert_with(|| Arc::new(Line::new(Arc::clone(part), place)));
        Some(match line.enter(part.limits()) {
            Some(ticket) => Boarded::Follows(Arc::clone(line), ticket),
            None => Boarded::Full,
        })
    }
}

impl<V> Landed<V> {
    pub(crate) fn new(value: V, until: Option<Instant>, room: usize) -> Arc<Self> {
        let room = AtomicUsize::new(room);
        Arc::new(Self { value, until, room })
    }

    /// For one more newcomer. `None` when it is too old, or when too many have it.
    fn take(self: &Arc<Self>) -> Option<Arc<Self>> {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return None;
        }
        let room = self.room.load(Relaxed).checked_sub(1)?;
        self.room.store(room, Relaxed);
        Some(Arc::clone(self))
    }
}

#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Flights;

    /// Keys of four hashes, of which all but the first stand in the table as soon as another is open.
    fn hash_of(key: u8) -> u64 {
        u64::from(key % 4)
    }

    proptest! {
        #[test]
        fn each_is_found_by_its_key_and_at_its_place_until_it_is_removed(
            steps in prop::collection::vec(0_u8..12, 0..64)
        ) {
            let limits = Flights::builder().limits();
            let mut open = Open::<u8, ()>::default();
            let mut model = Vec::<(u8, Place)>::new();
            for (number, key) in steps.into_iter().enumerate() {
                let known = model.iter().position(|(known, _)| *known == key);
                let found = open.find(hash_of(key), |known| *known == key);
                prop_assert_eq!(
                    found.map(|flight| flight.place),
                    known.map(|known| model[known].1)
                );
                if let Some(known) = known {
                    let (_, place) = model.swap_remove(known);
                    prop_assert_eq!(open.remove(place).map(|flight| flight.key), Some(key));
                    prop_assert!(open.remove(place).is_none());
                } else {
                    let place = Place::new(hash_of(key), number as u64, false);
                    open.insert(Flight::new(key, place, &limits));
                    model.push((key, place));
                }
                prop_assert_eq!(open.len(), model.len());
                prop_assert_eq!(open.iter().count(), model.len());
                for (key, place) in &model {
                    prop_assert_eq!(open.at(*place).map(|flight| flight.key), Some(*key));
                    prop_assert_eq!(open.at_mut(*place).map(|flight| flight.key), Some(*key));
                }
            }
        }
    }
}
