//! A cache as one would write it on paper: one caller at a time, nothing forgotten, nothing clever.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Settings;

/// What can be invalidated.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Name {
    Key(usize),
    Tag(usize),
}

/// Between which invalidations something was: how often all was cleared before, and how many other invalidations and ends of guards there were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    cleared: u64,
    count: u64,
}

impl Moment {
    /// Of two between which nothing was cleared.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.cleared == other.cleared && self.count > other.count
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// `None` for a value that is known not to be.
    pub(crate) value: Option<u64>,
    pub(crate) names: BTreeSet<Name>,
    pub(crate) born: Moment,
    pub(crate) stored: u64,
    ttl: u64,
    grace: u64,
    /// Until when the source is left in peace, and since when.
    pub(crate) quiet: Option<(u64, Moment)>,
    /// Somebody reads it anew.
    pub(crate) refreshing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    Fresh,
    Stale,
    Not,
}

#[derive(Debug)]
pub(crate) struct Naive {
    settings: Settings,
    /// Seconds.
    pub(crate) now: u64,
    pub(crate) moment: Moment,
    expired: BTreeMap<Name, u64>,
    removed: BTreeMap<Name, u64>,
    guards: Vec<BTreeSet<Name>>,
    guarded: BTreeMap<Name, u64>,
    pub(crate) stored: BTreeMap<usize, Stored>,
}

impl Naive {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: 0,
            moment: Moment {
                cleared: 0,
                count: 0,
            },
            expired: BTreeMap::new(),
            removed: BTreeMap::new(),
            guards: Vec::new(),
            guarded: BTreeMap::new(),
            stored: BTreeMap::new(),
        }
    }

    pub(crate) fn invalidate(&mut self, names: impl IntoIterator<Item = Name>, remove: bool) {
        self.moment.count += 1;
        for name in names {
            let log = if remove {
                &mut self.removed
            } else {
                &mut self.expired
            };
            log.insert(name, self.moment.count);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.moment.cleared += 1;
        self.stored.clear();
    }

    pub(crate) fn guard(&mut self, names: BTreeSet<Name>) {
        self.guards.push(names);
    }

    pub(crate) fn unguard(&mut self, which: usize) {
        self.moment.count += 1;
        for name in self.guards.remove(which) {
            self.guarded.insert(name, self.moment.count);
        }
    }

    pub(crate) fn guards(&self) -> usize {
        self.guards.len()
    }

    fn is_guarded(&self, born: Moment, names: &BTreeSet<Name>) -> bool {
        let now = self.guards.iter().any(|guard| !guard.is_disjoint(names));
        let since = |name| self.guarded.get(name).is_some_and(|at| *at > born.count);
        now || names.iter().any(since)
    }

    fn is_removed(&self, born: Moment, names: &BTreeSet<Name>) -> bool {
        let since = |name| self.removed.get(name).is_some_and(|at| *at > born.count);
        born.cleared != self.moment.cleared || names.iter().any(since)
    }

    fn is_expired(&self, born: Moment, names: &BTreeSet<Name>) -> bool {
        let since = |name| self.expired.get(name).is_some_and(|at| *at > born.count);
        names.iter().any(since)
    }

    pub(crate) fn is_valid(&self, born: Moment, names: &BTreeSet<Name>) -> bool {
        !self.is_removed(born, names) && !self.is_expired(born, names)
    }

    pub(crate) fn usable(&self, of: &Stored) -> Use {
        let age = self.now - of.stored;
        let expired = self.is_expired(of.born, &of.names);
        if self.is_removed(of.born, &of.names) || age >= of.ttl + of.grace {
            Use::Not
        } else if age < of.ttl && !expired {
            Use::Fresh
        } else if expired && of.grace == 0 {
            Use::Not
        } else {
            Use::Stale
        }
    }

    /// What is there and may be used in some way.
    pub(crate) fn look_up(&self, key: usize) -> Option<(Use, &Stored)> {
        let stored = self.stored.get(&key)?;
        let usable = self.usable(stored);
        (usable != Use::Not).then_some((usable, stored))
    }

    pub(crate) fn fresh(&self, key: usize) -> Option<u64> {
        match self.look_up(key)? {
            (Use::Fresh, stored) => stored.value,
            _ => None,
        }
    }

    /// Whether the source is left in peace by those who come for `key` now.
    pub(crate) fn is_calm(&self, of: &Stored) -> bool {
        let lasts = |(until, since)| self.now < until && self.is_valid(since, &of.names);
        of.quiet.is_some_and(lasts)
    }

    /// A value was read for `key`, or that there is none. Tells whether it may be given to anyone but those who waited.
    pub(crate) fn store(
        &mut self,
        key: usize,
        value: Option<u64>,
        mut names: BTreeSet<Name>,
        born: Moment,
        outrun: bool,
    ) -> bool {
        names.insert(Name::Key(key));
        if outrun || self.is_guarded(born, &names) {
            return false;
        }
        let (ttl, grace) = match (value, self.settings.negative_ttl) {
            (Some(_), _) => (self.settings.ttl, self.settings.grace),
            (None, Some(ttl)) => (ttl, 0),
            (None, None) => {
                self.stored.remove(&key);
                return true;
            }
        };
        let useless =
            self.is_removed(born, &names) || (grace == 0 && self.is_expired(born, &names));
        if !useless {
            let stored = Stored {
                value,
                names,
                born,
                stored: self.now,
                ttl,
                grace,
                quiet: None,
                refreshing: false,
            };
            self.stored.insert(key, stored);
        }
        true
    }

    /// By what a value that depends on `key` goes too, and whether it may have been read from an older one if it was read at `born`.
    pub(crate) fn dependency(&self, key: usize, born: Moment) -> (BTreeSet<Name>, bool) {
        match self.stored.get(&key) {
            None => ([Name::Key(key)].into(), false),
            Some(of) => {
                let outrun = of.born.cleared != born.cleared || of.born.count > born.count;
                (of.names.clone(), outrun)
            }
        }
    }
}
