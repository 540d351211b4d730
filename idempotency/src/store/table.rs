//! The plain machine of the memory store: one part of the table. No lock, no clock.
//!
//! ```text
//!             begin              complete             ttl over
//!  (nothing) ──────► Running ───────────────► Done ──────────────► (nothing)
//!                    │  ▲ │                    │ no room for bodies
//!            renew ──┘  │ └ abandon ► (nothing)▼
//!        lease over: begin, Reexecute        Done(Tombstone)
//! ```

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use tokio::time::Instant;

use super::{Begin, BeginRequest, Claim, Record, Recovery, Standing, StoreError, Token};
use crate::fingerprint::Fingerprint;
use crate::key::RecordKey;

#[derive(Debug)]
pub(super) struct Table {
    entries: HashMap<RecordKey, Entry, Fold>,
    /// Done entries, in the order in which they were done: the oldest bodies go first. An entry that was forgotten meanwhile is
    /// skipped by its fence.
    done: VecDeque<(RecordKey, u64)>,
    bytes: usize,
    limits: Limits,
    /// Nothing is over before this: a full table is not searched in vain for each new key.
    nothing_over_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) keys: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    token: Token,
    fence: u64,
    attempt: u32,
    expires: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Done {
        record: Record,
        /// Of the record and its place.
        weight: usize,
    },
    Running {
        lease_until: Instant,
    },
}

/// Hashes what is a hash already: it is folded with a random number, so that nobody can look for keys that share a place.
#[derive(Clone, Copy, Debug)]
struct Fold {
    random: u64,
    folded: u64,
}

impl Fold {
    fn random() -> Self {
        Self {
            random: fastrand::u64(..) | 1,
            folded: 0,
        }
    }
}

impl BuildHasher for Fold {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words
            .iter()
            .for_each(|word| self.write_u64(u64::from_ne_bytes(*word)));
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(word ^ self.folded) * u128::from(self.random);
        self.folded = (product as u64) ^ ((product >> 64) as u64);
    }

    /// All keys are of one length.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.folded
    }
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            entries: HashMap::with_hasher(Fold::random()),
            done: VecDeque::new(),
            bytes: 0,
            limits,
            nothing_over_before: None,
        }
    }

    pub(super) fn begin(
        &mut self,
        request: &BeginRequest,
        fence: u64,
        now: Instant,
    ) -> Result<Begin, StoreError> {
        if self.has_no_room_for(&request.key, now) {
            return Err(StoreError::Full);
        }
        let new = || Entry::new(request, fence, now);
        let entry = match self.entries.entry(request.key) {
            Place::Occupied(place) => {
                let entry = place.into_mut();
                if !entry.is_over(now) {
                    return Ok(entry.begin(request, fence, now));
                }
                // It is as if there had been nothing.
                self.bytes -= std::mem::replace(entry, new()).weight();
                entry
            }
            Place::Vacant(place) => place.insert(new()),
        };
        let (claim, over_at) = (entry.claim(request.key), entry.over_at());
        self.will_be_over(over_at);
        Ok(Begin::Claimed(claim))
    }

    pub(super) fn look(&self, request: &BeginRequest, now: Instant) -> Option<Begin> {
        let entry = self.entries.get(&request.key)?;
        if entry.is_over(now) {
            return None;
        }
        entry.found(request, now)
    }

    pub(super) fn renew(
        &mut self,
        claim: &Claim,
        lease: Duration,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), StoreError> {
        let entry = self.held(claim)?;
        match &mut entry.state {
            State::Running { lease_until } => *lease_until = after(now, lease),
            State::Done { .. } => return Err(StoreError::Lost),
        }
        entry.expires = entry.expires.max(after(now, ttl));
        Ok(())
    }

    pub(super) fn seize(
        &mut self,
        claim: &Claim,
        token: Token,
        lease: Duration,
        fence: u64,
        now: Instant,
    ) -> Result<Claim, StoreError> {
        let entry = self.entries.get_mut(&claim.key).ok_or(StoreError::Lost)?;
        let State::Running { lease_until } = &mut entry.state else {
            return Err(StoreError::Lost);
        };
        if entry.token != token {
            if entry.token != claim.token || *lease_until > now {
                return Err(StoreError::Lost);
            }
            *lease_until = after(now, lease);
            (entry.token, entry.fence) = (token, fence);
            entry.attempt = entry.attempt.saturating_add(1);
        }
        Ok(entry.claim(claim.key))
    }

    /// Gives back what had to make room, to be dropped outside the lock.
    pub(super) fn complete(
        &mut self,
        claim: &Claim,
        mut record: Record,
        ttl: Duration,
        now: Instant,
    ) -> Result<Vec<Record>, StoreError> {
        let mut weight = weight(&record);
        let limit = self.limits.bytes;
        let entry = self.held(claim)?;
        if matches!(entry.state, State::Done { .. }) {
            // The reply to the first call was lost; the record stands.
            return Ok(vec![record]);
        }
        // All others would make room for it, and it would go then.
        let too_large = (weight > limit).then(|| record.bury());
        if too_large.is_some() {
            weight = 0;
        }
        entry.state = State::Done { record, weight };
        entry.expires = after(now, ttl);
        let (fence, expires) = (entry.fence, entry.expires);
        self.will_be_over(expires);
        self.bytes += weight;
        self.done.push_back((claim.key, fence));
        let mut gone = self.make_room();
        gone.extend(too_large);
        Ok(gone)
    }

    pub(super) fn abandon(&mut self, claim: &Claim) -> Result<(), StoreError> {
        if !matches!(self.held(claim)?.state, State::Running { .. }) {
            return Err(StoreError::Lost);
        }
        self.entries.remove(&claim.key);
        Ok(())
    }

    /// Forgets up to `limit` entries that are over.
    pub(super) fn purge(&mut self, limit: usize, now: Instant) -> usize {
        if self.nothing_over_before.is_none_or(|then| now < then) {
            return 0;
        }
        let over = self.entries.iter().filter(|(_, entry)| entry.is_over(now));
        let keys: Vec<_> = over.map(|(key, _)| *key).take(limit).collect();
        keys.iter().for_each(|key| self.forget(key));
        self.nothing_over_before = self.entries.values().map(Entry::over_at).min();
        keys.len()
    }

    pub(super) fn confirm(&mut self, claim: &Claim) -> Result<Standing, StoreError> {
        Ok(match self.held(claim)?.state {
            State::Done { .. } => Standing::Done,
            State::Running { .. } => Standing::Running,
        })
    }

    /// Adds claims whose lease is over until there are `limit`.
    pub(super) fn unknown(&self, limit: usize, now: Instant, into: &mut Vec<Claim>) {
        let room = limit.saturating_sub(into.len());
        let unknown = self.entries.iter().filter(|(_, entry)| {
            matches!(entry.state, State::Running { lease_until } if lease_until <= now)
                && !entry.is_over(now)
        });
        into.extend(unknown.map(|(key, entry)| entry.claim(*key)).take(room));
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Claims that somebody keeps.
    pub(super) fn running(&self, now: Instant) -> usize {
        let runs = |entry: &&Entry| matches!(entry.state, State::Running { lease_until } if lease_until > now);
        self.entries.values().filter(runs).count()
    }

    fn will_be_over(&mut self, at: Instant) {
        self.nothing_over_before = Some(self.nothing_over_before.map_or(at, |then| then.min(at)));
    }

    fn held(&mut self, claim: &Claim) -> Result<&mut Entry, StoreError> {
        let entry = self.entries.get_mut(&claim.key).ok_or(StoreError::Lost)?;
        if entry.token == claim.token {
            Ok(entry)
        } else {
            Err(StoreError::Lost)
        }
    }

    /// Makes some, where there is something to forget.
    fn has_no_room_for(&mut self, key: &RecordKey, now: Instant) -> bool {
        self.entries.len() >= self.limits.keys
            && !self.entries.contains_key(key)
            && self.purge(self.limits.keys, now) == 0
    }

    fn forget(&mut self, key: &RecordKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.weight();
        }
    }

    /// An unexpired key is never forgotten, but its body may be: then a duplicate is told so, and nothing is done twice.
    fn make_room(&mut self) -> Vec<Record> {
        let mut gone = Vec::new();
        while self.bytes > self.limits.bytes {
            let Some((key, fence)) = self.done.pop_front() else {
                break;
            };
            let Some(entry) = self.entries.get_mut(&key).filter(|e| e.fence == fence) else {
                continue;
            };
            if let State::Done { record, weight } = &mut entry.state {
                self.bytes -= std::mem::take(weight);
                gone.push(record.bury());
            }
        }
        self.drop_dead_places();
        gone
    }

    /// Places of entries that were forgotten would otherwise pile up while there is room for bodies.
    fn drop_dead_places(&mut self) {
        if self.done.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            self.done
                .retain(|(key, fence)| entries.get(key).is_some_and(|e| e.fence == *fence));
        }
    }
}

/// A record with the place of its key. Without a record, as a claim or a tombstone, a key counts to the bound of keys alone.
fn weight(record: &Record) -> usize {
    // Tables have room for a half more on average.
    const PLACE: usize = size_of::<(RecordKey, Entry)>() + 1 + size_of::<(RecordKey, u64)>();
    match record {
        Record::Tombstone(_) => 0,
        record => PLACE * 3 / 2 + record.weight(),
    }
}

impl Entry {
    fn new(request: &BeginRequest, fence: u64, now: Instant) -> Self {
        Self {
            fingerprint: request.fingerprint,
            token: request.token,
            fence,
            attempt: 1,
            expires: after(now, request.ttl),
            state: State::Running {
                lease_until: after(now, request.lease),
            },
        }
    }

    /// Of its record, if it has one.
    fn weight(&self) -> usize {
        match self.state {
            State::Done { weight, .. } => weight,
            State::Running { .. } => 0,
        }
    }

    fn begin(&mut self, request: &BeginRequest, fence: u64, now: Instant) -> Begin {
        let is_repeated = matches!(self.state, State::Running { .. })
            && (self.token, self.fingerprint) == (request.token, request.fingerprint);
        if is_repeated {
            return Begin::Claimed(self.claim(request.key));
        }
        self.found(request, now).unwrap_or_else(|| {
            let attempt = self.attempt.saturating_add(1);
            *self = Self {
                attempt,
                ..Self::new(request, fence, now)
            };
            Begin::Claimed(self.claim(request.key))
        })
    }

    /// What another request finds; `None` if it may take over.
    fn found(&self, request: &BeginRequest, now: Instant) -> Option<Begin> {
        if self.fingerprint != request.fingerprint {
            return Some(Begin::Mismatch);
        }
        match (&self.state, request.recovery) {
            (State::Done { record, .. }, _) => Some(Begin::Replay(record.clone())),
            (State::Running { lease_until }, _) if *lease_until > now => {
                Some(Begin::InProgress(*lease_until - now))
            }
            (State::Running { .. }, Recovery::Reject) => Some(Begin::OutcomeUnknown),
            (State::Running { .. }, Recovery::Reexecute) => None,
        }
    }

    fn claim(&self, key: RecordKey) -> Claim {
        Claim {
            key,
            token: self.token,
            fence: self.fence,
            attempt: self.attempt,
        }
    }

    /// Past its ttl, and nobody works on it.
    fn is_over(&self, now: Instant) -> bool {
        self.over_at() <= now
    }

    fn over_at(&self) -> Instant {
        match self.state {
            State::Running { lease_until } => self.expires.max(lease_until),
            State::Done { .. } => self.expires,
        }
    }
}

/// A century from now stands for a moment that the clock cannot tell: `Duration::MAX` means for ever.
fn after(now: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(duration).unwrap_or_else(|| now + CENTURY)
}

#[cfg(test)]
mod tests {
    use buttress_wire::Recorded;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::store::Origin;

    const LIMITS: Limits = Limits {
        keys: 3,
        bytes: 2000,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn request(key: u8) -> BeginRequest {
        BeginRequest {
            key: RecordKey::from_bytes([key; 32]),
            fingerprint: Fingerprint::from_bytes([0; 32]),
            token: Token::random(),
            lease: SECOND,
            ttl: 10 * SECOND,
            recovery: Recovery::Reexecute,
        }
    }

    fn claim(table: &mut Table, key: u8, fence: u64, now: Instant) -> Claim {
        match table.begin(&request(key), fence, now) {
            Ok(Begin::Claimed(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn response(size: usize) -> Record {
        let body = Bytes::from(vec![0; size]);
        let recorded = Recorded::new(StatusCode::OK, HeaderMap::new(), body, None);
        Record::Response(recorded, Origin::default())
    }

    #[test]
    fn a_lease_that_is_over_is_taken_over_and_not_before() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        let first = claim(&mut table, 1, 1, now);
        let early = table.begin(&request(1), 2, now + SECOND / 2).unwrap();
        assert_eq!(early, Begin::InProgress(SECOND / 2));
        table
            .renew(&first, SECOND, SECOND, now + SECOND / 2)
            .unwrap();
        assert!(matches!(
            table.begin(&request(1), 3, now + SECOND),
            Ok(Begin::InProgress(_))
        ));
        let second = claim(&mut table, 1, 4, now + 2 * SECOND);
        assert_eq!((second.attempt, second.fence), (2, 4));
        assert!(matches!(table.abandon(&first), Err(StoreError::Lost)));
    }

    #[test]
    fn at_the_bound_of_keys_new_ones_are_refused_until_some_are_over() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        for key in 0..3 {
            claim(&mut table, key, 1, now);
        }
        assert!(matches!(
            table.begin(&request(9), 2, now),
            Err(StoreError::Full)
        ));
        assert!(matches!(
            table.begin(&request(0), 2, now),
            Ok(Begin::InProgress(_))
        ));
        claim(&mut table, 9, 3, now + 11 * SECOND);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_key_that_is_claimed_anew_leaves_nothing_of_what_was_under_it() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        let held = claim(&mut table, 0, 1, now);
        let kept = table.complete(&held, response(700), SECOND, now);
        kept.unwrap();
        assert!(table.bytes() > 700);
        let again = claim(&mut table, 0, 2, now + SECOND);
        assert_eq!((again.attempt, again.fence), (1, 2));
        assert_eq!((table.bytes(), table.len()), (0, 1));
    }

    #[test]
    fn at_the_bound_of_bytes_the_oldest_bodies_go_and_their_keys_stay() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        for key in 0..3 {
            let held = claim(&mut table, key, 1, now);
            table
                .complete(&held, response(700), 10 * SECOND, now)
                .unwrap();
            assert!(table.bytes() <= LIMITS.bytes);
        }
        let found = |table: &mut Table, key| table.begin(&request(key), 9, now).unwrap();
        assert_eq!(
            found(&mut table, 0),
            Begin::Replay(Record::Tombstone(Origin::default()))
        );
        assert_eq!(found(&mut table, 2), Begin::Replay(response(700)));
    }

    #[test]
    fn a_record_that_is_too_large_by_itself_takes_no_others_with_it() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        for (key, size) in [(0, 300), (1, 2000), (2, 300)] {
            let held = claim(&mut table, key, 1, now);
            let gone = table.complete(&held, response(size), 10 * SECOND, now);
            assert_eq!(gone.unwrap().len(), usize::from(size == 2000));
        }
        let tombstone = Record::Tombstone(Origin::default());
        for (key, kept) in [(0, response(300)), (1, tombstone), (2, response(300))] {
            let found = table.begin(&request(key), 9, now).unwrap();
            assert_eq!(found, Begin::Replay(kept));
        }
        assert!(table.bytes() > 600 && table.bytes() <= LIMITS.bytes);
    }

    #[test]
    fn for_ever_is_a_duration_too() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        let request = BeginRequest {
            lease: Duration::MAX,
            ttl: Duration::MAX,
            ..request(1)
        };
        let Ok(Begin::Claimed(held)) = table.begin(&request, 1, now) else {
            panic!("the key is free")
        };
        table
            .renew(&held, Duration::MAX, Duration::MAX, now)
            .unwrap();
        let found = table.begin(&self::request(1), 2, now + 1000 * SECOND);
        assert!(matches!(found, Ok(Begin::InProgress(_))));
        table
            .complete(&held, response(10), Duration::MAX, now)
            .unwrap();
        assert_eq!(table.purge(9, now + 1000 * SECOND), 0);
    }

    #[test]
    fn a_record_is_over_after_its_ttl() {
        let (mut table, now) = (Table::new(LIMITS), Instant::now());
        let held = claim(&mut table, 1, 1, now);
        table
            .complete(&held, response(10), 10 * SECOND, now)
            .unwrap();
        assert_eq!(table.purge(9, now + 9 * SECOND), 0);
        assert_eq!(table.purge(9, now + 10 * SECOND), 1);
        assert_eq!((table.len(), table.bytes()), (0, 0));
    }

    #[test]
    fn places_of_the_forgotten_do_not_pile_up() {
        let (mut table, mut now) = (Table::new(LIMITS), Instant::now());
        for fence in 0..1000 {
            let held = claim(&mut table, 1, fence, now);
            table.complete(&held, response(10), SECOND, now).unwrap();
            now += 2 * SECOND;
        }
        assert!(table.done.len() < 100, "{}", table.done.len());
    }
}
