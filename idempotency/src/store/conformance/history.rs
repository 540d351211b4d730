//! Concurrent histories of one key, checked for an order in which a plain table would have given the same answers (linearizability: Herlihy and Wing, 1990).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::row::{Row, Step, response};
use super::{LONG, all, random_key, request};
use crate::fingerprint::Fingerprint;
use crate::key::RecordKey;
use crate::store::{Begin, BeginRequest, Claim, Recovery, Standing, Store, StoreError, Token};

const CLIENTS: usize = 4;
/// Of each client. All of them together are few enough for the order to be sought in a word of bits.
const STEPS: usize = 6;

/// Lets four clients loose on one key, so many times over, each of six steps of all kinds: claims, also repeated ones and those of others' requests, looks, renewals, purges, endings, also by those who have lost
/// their claim meanwhile, and take-overs by hand. What they are told must be what a plain table would have told them in some order that keeps to the times of their calls.
///
/// [`check`](super::check) does it twenty times; a store that is new, or was changed, deserves more.
///
/// # Panics
///
/// When there is no such order: it tells the steps, by the time at which they began.
pub async fn histories_have_an_order<S: Store>(store: &S, histories: usize) {
    for _ in 0..histories {
        let events = history(store).await;
        assert!(has_an_order(&events), "no order explains {events:#?}");
    }
}

/// A step between two moments.
#[derive(Clone, Debug)]
struct Event {
    from: u64,
    to: u64,
    step: Step,
}

async fn history<S: Store>(store: &S) -> Vec<Event> {
    let shared = Shared {
        store,
        key: random_key(),
        clock: AtomicU64::new(0),
        claims: Mutex::default(),
    };
    let all = all((0..CLIENTS).map(|_| Client::new(&shared).run())).await;
    let mut events: Vec<_> = all.into_iter().flatten().collect();
    events.sort_by_key(|event| event.from);
    events
}

/// Whether the events have an order that keeps to their times and is right step by step.
fn has_an_order(events: &[Event]) -> bool {
    const { assert!(CLIENTS * STEPS <= 64, "a bit for each") };
    let (mut seen, mut open) = (HashSet::new(), vec![(0_u64, Row::new())]);
    while let Some((done, row)) = open.pop() {
        let left = || (0..events.len()).filter(|n| done & (1 << n) == 0);
        // What began after another had ended cannot come before it.
        let Some(first_end) = left().map(|n| events[n].to).min() else {
            return true;
        };
        for n in left().filter(|n| events[*n].from < first_end) {
            if let Some(after) = row.after(&events[n].step) {
                let next = (done | (1 << n), after);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    false
}

/// What the clients of one history have in common.
struct Shared<'a, S> {
    store: &'a S,
    key: RecordKey,
    clock: AtomicU64,
    /// Those that anybody has got so far.
    claims: Mutex<Vec<Claim>>,
}

struct Client<'a, S> {
    shared: &'a Shared<'a, S>,
    /// Held, or held once: what it comes to as a zombie is of interest too.
    claim: Option<Claim>,
    asked: Option<BeginRequest>,
}

impl<'a, S: Store> Client<'a, S> {
    fn new(shared: &'a Shared<'a, S>) -> Self {
        Self {
            shared,
            claim: None,
            asked: None,
        }
    }

    async fn run(mut self) -> Vec<Event> {
        let now = || self.shared.clock.fetch_add(1, Ordering::SeqCst);
        let mut events = Vec::new();
        for _ in 0..STEPS {
            // A store that never waits lets nobody between.
            std::thread::yield_now();
            let from = now();
            let step = self.step().await;
            let to = now();
            events.push(Event { from, to, step });
        }
        events
    }

    async fn step(&mut self) -> Step {
        match (self.claim.clone(), fastrand::u8(..9)) {
            (_, 0) => self.look().await,
            (_, 8) => self.purge().await,
            (None, 1 | 2) => self.seize().await,
            (None, _) => self.begin(random_request(self.shared.key)).await,
            (Some(_), 1) if self.asked.is_some() => {
                let again = self.asked.clone().expect("it was looked at");
                self.begin(again).await
            }
            (Some(claim), 2) => self.renew(claim, LONG).await,
            (Some(claim), 1 | 3 | 4) => self.renew(claim, Duration::ZERO).await,
            (Some(claim), 5) => self.complete(claim).await,
            (Some(claim), 6) => self.abandon(claim).await,
            (Some(claim), _) => self.confirm(claim).await,
        }
    }

    async fn begin(&mut self, request: BeginRequest) -> Step {
        let found = self.shared.store.begin(request.clone()).await;
        let found = found.expect("the store works");
        if let Begin::Claimed(claim) = &found {
            self.has(claim, Some(request.clone()));
        }
        Step::Begin(request, found)
    }

    async fn look(&self) -> Step {
        let request = random_request(self.shared.key);
        let found = self.shared.store.look(&request).await;
        Step::Look(request, found.expect("the store works"))
    }

    /// Some claim of this key, whoever has it and whether it is held or not.
    async fn seize(&mut self) -> Step {
        let one = fastrand::choice(lock(&self.shared.claims).iter()).cloned();
        let Some(one) = one else {
            return self.begin(random_request(self.shared.key)).await;
        };
        let by = Token::random();
        let seized = held(self.shared.store.seize(&one, by, LONG).await);
        if let Some(claim) = &seized {
            self.has(claim, None);
        }
        Step::Seize(one.token, by, seized)
    }

    async fn purge(&self) -> Step {
        let purged = self.shared.store.purge(usize::MAX).await;
        purged.expect("the store works");
        Step::Purge
    }

    fn has(&mut self, claim: &Claim, asked: Option<BeginRequest>) {
        lock(&self.shared.claims).push(claim.clone());
        (self.claim, self.asked) = (Some(claim.clone()), asked);
    }

    async fn renew(&self, claim: Claim, lease: Duration) -> Step {
        let renewed = self.shared.store.renew(&claim, lease, LONG).await;
        Step::Renew(claim.token, lease, held(renewed).is_some())
    }

    async fn complete(&mut self, claim: Claim) -> Step {
        let record = fastrand::u8(..);
        let done = self.shared.store.complete(&claim, response(record), LONG);
        let done = held(done.await).is_some();
        self.may_leave();
        Step::Complete(claim.token, record, done)
    }

    async fn abandon(&mut self, claim: Claim) -> Step {
        let abandoned = held(self.shared.store.abandon(&claim).await).is_some();
        self.may_leave();
        Step::Abandon(claim.token, abandoned)
    }

    async fn confirm(&mut self, claim: Claim) -> Step {
        let standing: Option<Standing> = held(self.shared.store.confirm(&claim).await);
        if standing.is_none() {
            self.claim = None;
        }
        Step::Confirm(claim.token, standing)
    }

    fn may_leave(&mut self) {
        self.claim = self.claim.take().filter(|_| fastrand::bool());
    }
}

fn random_request(key: RecordKey) -> BeginRequest {
    let sometimes = |n| fastrand::u8(..n) == 0;
    BeginRequest {
        fingerprint: Fingerprint::from_bytes([u8::from(sometimes(6)); 32]),
        recovery: if sometimes(6) {
            Recovery::Reject
        } else {
            Recovery::Reexecute
        },
        ..request(key, 0)
    }
}

fn held<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Err(StoreError::Lost) => None,
        result => Some(result.expect("the store works")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
