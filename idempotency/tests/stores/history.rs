//! Concurrent histories of one key, checked for an order in which a plain table would have given the same answers.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, Fingerprint, MemoryStore, Origin, Record, RecordKey, Recovery,
    Standing, Store, StoreError, Token, conformance,
};
use buttress_wire::Recorded;
use futures_util::FutureExt;

const LONG: Duration = Duration::from_secs(3600);

/// What was asked, and what came of it.
#[derive(Clone, Debug)]
enum Step {
    Begin(BeginRequest, Begin),
    /// A renewal, by so long; and whether it was held. So below.
    Renew(Token, Duration, bool),
    Complete(Token, u8, bool),
    Abandon(Token, bool),
    Confirm(Token, Option<Standing>),
}

/// A step between two moments.
#[derive(Clone, Debug)]
struct Event {
    from: u64,
    to: u64,
    step: Step,
}

/// The plain table: one key of it, and the highest fence so far.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Row {
    fence: u64,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    Free,
    Running {
        token: Token,
        fingerprint: [u8; 32],
        attempt: u32,
        over: bool,
    },
    Done {
        token: Token,
        fingerprint: [u8; 32],
        record: u8,
    },
}

impl Row {
    /// The row after the step, or `None` if it would have gone otherwise.
    fn after(&self, step: &Step) -> Option<Self> {
        match step {
            Step::Begin(request, found) => self.begin(request, found),
            Step::Renew(token, lease, held) => self.renew(*token, *lease, *held),
            Step::Complete(token, record, held) => self.complete(*token, *record, *held),
            Step::Abandon(token, held) => self.abandon(*token, *held),
            Step::Confirm(token, standing) => {
                let known = match &self.state {
                    State::Running { token: t, .. } if t == token => Some(Standing::Running),
                    State::Done { token: t, .. } if t == token => Some(Standing::Done),
                    _ => None,
                };
                (known == *standing).then(|| self.clone())
            }
        }
    }

    fn begin(&self, request: &BeginRequest, found: &Begin) -> Option<Self> {
        let mine = *request.fingerprint.as_bytes();
        let attempt = match &self.state {
            State::Free => 1,
            State::Running { fingerprint, .. } | State::Done { fingerprint, .. }
                if *fingerprint != mine =>
            {
                return (*found == Begin::Mismatch).then(|| self.clone());
            }
            State::Done { record, .. } => {
                return (*found == Begin::Replay(response(*record))).then(|| self.clone());
            }
            State::Running { over: false, .. } => {
                return matches!(found, Begin::InProgress(_)).then(|| self.clone());
            }
            State::Running { .. } if request.recovery == Recovery::Reject => {
                return (*found == Begin::OutcomeUnknown).then(|| self.clone());
            }
            State::Running { attempt, .. } => attempt + 1,
        };
        let Begin::Claimed(claim) = found else {
            return None;
        };
        let right =
            claim.token == request.token && claim.attempt == attempt && claim.fence > self.fence;
        right.then_some(Self {
            fence: claim.fence,
            state: State::Running {
                token: claim.token,
                fingerprint: mine,
                attempt,
                over: false,
            },
        })
    }

    fn renew(&self, by: Token, lease: Duration, held: bool) -> Option<Self> {
        let mut after = self.clone();
        let holds = match &mut after.state {
            State::Running { token, over, .. } if *token == by => {
                *over = lease.is_zero();
                true
            }
            _ => false,
        };
        (holds == held).then_some(after)
    }

    fn complete(&self, by: Token, filed: u8, held: bool) -> Option<Self> {
        let mut after = self.clone();
        let holds = match self.state {
            State::Running {
                token, fingerprint, ..
            } if token == by => {
                after.state = State::Done {
                    token,
                    fingerprint,
                    record: filed,
                };
                true
            }
            State::Done { token, .. } => token == by,
            _ => false,
        };
        (holds == held).then_some(after)
    }

    fn abandon(&self, by: Token, held: bool) -> Option<Self> {
        let holds = matches!(self.state, State::Running { token, .. } if token == by);
        let mut after = self.clone();
        if holds {
            after.state = State::Free;
        }
        (holds == held).then_some(after)
    }
}

/// Whether the events have an order that keeps to their times and is right step by step.
fn has_an_order(events: &[Event]) -> bool {
    assert!(events.len() <= 64, "too long to check");
    let new = Row {
        fence: 0,
        state: State::Free,
    };
    let (mut seen, mut open) = (HashSet::new(), vec![(0_u64, new)]);
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

/// Lets several clients loose on one key.
async fn history<S: Store + Clone>(store: &S) -> Vec<Event> {
    let key = RecordKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..)));
    let clock = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client(store.clone(), key, Arc::clone(&clock))))
        .collect();
    let mut events = Vec::new();
    for client in clients {
        events.extend(client.await.unwrap());
    }
    events
}

async fn client<S: Store>(store: S, key: RecordKey, clock: Arc<AtomicU64>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut claim = None;
    for _ in 0..6 {
        let from = clock.fetch_add(1, Ordering::SeqCst);
        let step = step(&store, key, &mut claim).await;
        let to = clock.fetch_add(1, Ordering::SeqCst);
        events.push(Event { from, to, step });
    }
    events
}

async fn step<S: Store>(store: &S, key: RecordKey, mine: &mut Option<Claim>) -> Step {
    let Some(claim) = mine.clone() else {
        let request = request(key);
        let found = store.begin(request.clone()).await.unwrap();
        if let Begin::Claimed(claim) = &found {
            *mine = Some(claim.clone());
        }
        return Step::Begin(request, found);
    };
    let token = claim.token;
    match fastrand::u8(..6) {
        0 => Step::Renew(token, LONG, held(store.renew(&claim, LONG, LONG).await)),
        1 | 2 => {
            // What it comes to as a zombie is of interest too.
            let lease = Duration::ZERO;
            Step::Renew(token, lease, held(store.renew(&claim, lease, LONG).await))
        }
        3 => {
            let record = fastrand::u8(..);
            let done = store.complete(&claim, response(record), LONG).await;
            *mine = mine.take().filter(|_| fastrand::bool());
            Step::Complete(token, record, held(done))
        }
        4 => {
            let abandoned = store.abandon(&claim).await;
            *mine = mine.take().filter(|_| fastrand::bool());
            Step::Abandon(token, held(abandoned))
        }
        _ => {
            let standing = store.confirm(&claim).await;
            let standing = match standing {
                Err(StoreError::Lost) => None,
                standing => Some(standing.unwrap()),
            };
            *mine = mine.take().filter(|_| standing.is_some());
            Step::Confirm(token, standing)
        }
    }
}

fn request(key: RecordKey) -> BeginRequest {
    let sometimes = |n| fastrand::u8(..n) == 0;
    BeginRequest {
        key,
        fingerprint: Fingerprint::from_bytes([u8::from(sometimes(6)); 32]),
        token: Token::random(),
        lease: LONG,
        ttl: LONG,
        recovery: if sometimes(6) {
            Recovery::Reject
        } else {
            Recovery::Reexecute
        },
    }
}

fn held(result: Result<(), StoreError>) -> bool {
    match result {
        Err(StoreError::Lost) => false,
        result => {
            result.unwrap();
            true
        }
    }
}

fn response(record: u8) -> Record {
    let body = bytes::Bytes::from(vec![record]);
    let recorded = Recorded::new(http::StatusCode::OK, http::HeaderMap::new(), body, None);
    Record::Response(recorded, Origin::default())
}

/// Many histories on one store.
pub(crate) async fn check<S: Store + Clone>(store: &S, histories: usize) {
    for _ in 0..histories {
        let events = history(store).await;
        assert!(has_an_order(&events), "no order explains {events:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_of_the_memory_store_have_an_order() {
    check(&MemoryStore::new(), 500).await;
}

/// A store with a bug.
#[derive(Clone)]
struct Planted {
    store: MemoryStore,
    bug: Bug,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    /// A zombie's record is taken.
    NoToken,
    /// A fence is given twice.
    NoFence,
    /// Of those who come together, more than one may get the claim.
    LookThenClaim,
    /// The same, without ever waiting: only those who come from several threads come together.
    LookThenClaimAtOnce,
    /// Everything is remembered but who abandons.
    AbandonsForOthers,
}

impl Store for Planted {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        if self.bug == Bug::LookThenClaimAtOnce {
            return self.look_then_claim(request).await;
        }
        let found = self.store.begin(request.clone()).await?;
        Ok(match found {
            Begin::InProgress(_) if self.bug == Bug::LookThenClaim && fastrand::bool() => {
                Begin::Claimed(Claim {
                    key: request.key,
                    token: request.token,
                    fence: u64::MAX,
                    attempt: 1,
                })
            }
            Begin::Claimed(claim) if self.bug == Bug::NoFence => {
                Begin::Claimed(Claim { fence: 1, ..claim })
            }
            found => found,
        })
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        self.store.seize(claim, token, lease).await
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        self.store.look(request).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        self.store.renew(claim, lease, ttl).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        match self.store.complete(claim, record, ttl).await {
            Err(StoreError::Lost) if self.bug == Bug::NoToken => Ok(()),
            result => result,
        }
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        match self.store.abandon(claim).await {
            Err(StoreError::Lost) if self.bug == Bug::AbandonsForOthers => Ok(()),
            result => result,
        }
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.purge(limit).await
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        self.store.confirm(claim).await
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.store.unknown(limit).await
    }
}

impl Planted {
    async fn look_then_claim(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        if let Some(found) = self.store.look(&request).await? {
            return Ok(found);
        }
        std::thread::yield_now();
        let begun = self.store.begin(request.clone()).await?;
        let claim = Claim {
            key: request.key,
            token: request.token,
            fence: u64::MAX,
            attempt: 1,
        };
        Ok(match begun {
            Begin::InProgress(_) => Begin::Claimed(claim),
            begun => begun,
        })
    }
}

/// Threads meet as they like: often enough, in so many rounds of ten.
#[tokio::test]
async fn the_suite_finds_who_looks_and_then_claims_without_waiting() {
    let planted = Planted {
        store: MemoryStore::new(),
        bug: Bug::LookThenClaimAtOnce,
    };
    for _ in 0..1000 {
        let checked = AssertUnwindSafe(conformance::a_key_is_claimed_once(&planted));
        if checked.catch_unwind().await.is_err() {
            return;
        }
    }
    panic!("it was not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_checker_finds_what_is_planted() {
    for bug in [
        Bug::NoToken,
        Bug::NoFence,
        Bug::LookThenClaim,
        Bug::AbandonsForOthers,
    ] {
        let planted = Planted {
            store: MemoryStore::new(),
            bug,
        };
        let mut found = false;
        for _ in 0..500 {
            found = found || !has_an_order(&history(&planted).await);
        }
        assert!(found, "{bug:?} was not found");
    }
}
