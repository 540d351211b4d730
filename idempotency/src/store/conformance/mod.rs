//! What every store must hold, as checks that can be run on yours.
//!
//! ```
//! use buttress_idempotency::{MemoryStore, conformance};
//!
//! # tokio_test::block_on(async {
//! conformance::check(&MemoryStore::new()).await;
//! # })
//! ```
//!
//! Each check uses keys of its own, so that a store may be shared by several runs; [`Kept`] is for a store that can be restarted. None sleeps: leases are ended by renewing them to zero,
//! which every store must take for "over".

mod history;
mod row;

use std::future::Future;
use std::pin::Pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use buttress_wire::Recorded;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::runtime::Handle;

pub use self::history::histories_have_an_order;
use super::{
    Begin, BeginRequest, Claim, Origin, Record, Recovery, Standing, Store, StoreError, Token,
};
use crate::fingerprint::Fingerprint;
use crate::key::RecordKey;

const LONG: Duration = Duration::from_secs(3600);

/// Runs every check.
///
/// # Panics
///
/// When the store does not hold what [`Store`] asks.
pub async fn check<S: Store>(store: &S) {
    a_key_is_claimed_once(store).await;
    a_record_is_replayed(store).await;
    begin_and_complete_can_be_repeated(store).await;
    another_request_under_the_key_is_a_mismatch(store).await;
    a_lost_claim_changes_nothing(store).await;
    fences_grow_and_attempts_count(store).await;
    an_unknown_outcome_is_not_repeated_unless_asked(store).await;
    an_unknown_outcome_is_remembered_for_a_ttl_after_its_holder_was_heard_of(store).await;
    an_abandoned_key_is_new(store).await;
    purge_spares_what_is_alive(store).await;
    an_orphan_is_taken_over_once(store).await;
    a_claim_can_be_looked_up(store).await;
    a_look_claims_nothing(store).await;
    an_unknown_outcome_is_resolved_by_hand(store).await;
    what_is_over_is_new(store).await;
    durations_have_no_end(store).await;
    histories_have_an_order(store, 20).await;
}

/// What must be as it was after a store outside of the process was restarted: fill it, restart it, and ask.
#[derive(Clone, Debug)]
pub struct Kept {
    running: Claim,
    orphan: Claim,
    done: RecordKey,
}

impl Kept {
    /// Puts a claim, one whose holder is gone, and a record into `store`.
    pub async fn fill<S: Store>(store: &S) -> Self {
        let (running, orphan) = (
            claim(store, random_key()).await,
            claim(store, random_key()).await,
        );
        let renewed = store.renew(&orphan, Duration::ZERO, LONG).await;
        renewed.expect("the claim is held");
        let done = claim(store, random_key()).await;
        let completed = store.complete(&done, response(), LONG).await;
        completed.expect("the claim is held");
        let done = done.key;
        Self {
            running,
            orphan,
            done,
        }
    }

    /// Looks for them.
    ///
    /// # Panics
    ///
    /// When something is not as it was.
    pub async fn check<S: Store>(&self, store: &S) {
        let standing = store.confirm(&self.running).await;
        assert_eq!(standing.expect("the store works"), Standing::Running);
        let found = begin(store, self.running.key, 1).await;
        assert!(matches!(found, Begin::InProgress(_)), "{found:?}");
        let replay = Begin::Replay(response());
        assert_eq!(begin(store, self.done, 1).await, replay);
        assert_eq!(begin(store, self.done, 2).await, Begin::Mismatch);
        let heir = claim(store, self.orphan.key).await;
        assert_eq!(heir.attempt, self.orphan.attempt + 1);
        assert!(heir.fence > self.orphan.fence, "a fence went back");
        is_lost(store.renew(&self.orphan, LONG, LONG).await);
    }
}

/// Of many callers at once, exactly one gets the claim.
pub async fn a_key_is_claimed_once<S: Store>(store: &S) {
    for _ in 0..10 {
        let key = random_key();
        let found = all((0..20).map(|_| begin(store, key, 1))).await;
        assert_eq!(claims(&found).len(), 1, "one of {found:?}");
        for found in &found {
            match found {
                Begin::Claimed(_) => {}
                Begin::InProgress(left) => assert!(*left <= LONG, "a lease of {left:?}"),
                other => panic!("{other:?} for a key that is being worked on"),
            }
        }
    }
}

/// Also when there was a holder before, who is gone.
pub async fn an_orphan_is_taken_over_once<S: Store>(store: &S) {
    for _ in 0..10 {
        let first = claim(store, random_key()).await;
        let renewed = store.renew(&first, Duration::ZERO, LONG).await;
        renewed.expect("the claim is held");
        let found = all((0..20).map(|_| begin(store, first.key, 1))).await;
        let [heir] = claims(&found)[..] else {
            panic!("one heir for {found:?}")
        };
        assert_eq!(heir.attempt, 2);
        assert!(heir.fence > first.fence, "a fence went back");
        assert_ne!(heir.token, first.token);
    }
}

/// [`Store::confirm`] tells how far the holder of a token has come, and nobody else.
pub async fn a_claim_can_be_looked_up<S: Store>(store: &S) {
    let mine = claim(store, random_key()).await;
    let other = Claim {
        token: Token::random(),
        ..mine.clone()
    };
    let standing = async |claim: &Claim| store.confirm(claim).await;
    assert_eq!(standing(&mine).await.ok(), Some(Standing::Running));
    is_lost(standing(&other).await.map(drop));
    for lease in [LONG, Duration::ZERO] {
        let renewed = store.renew(&mine, lease, LONG).await;
        renewed.expect("the claim is held");
        let by_token = Claim {
            fence: 0,
            attempt: 0,
            ..mine.clone()
        };
        let told = store.seize(&by_token, mine.token, LONG).await;
        assert_eq!(told.expect("the claim is held"), mine);
        is_lost(store.seize(&other, other.token, LONG).await.map(drop));
    }
    assert!(listed(store, &mine).await, "its lease is over still");
    assert_eq!(standing(&mine).await.ok(), Some(Standing::Running));
    let completed = store.complete(&mine, response(), LONG).await;
    completed.expect("the claim is held");
    assert_eq!(standing(&mine).await.ok(), Some(Standing::Done));
    is_lost(standing(&other).await.map(drop));
    let gone = claim(store, random_key()).await;
    store.abandon(&gone).await.expect("the claim is held");
    is_lost(standing(&gone).await.map(drop));
}

/// [`Store::look`] finds what `begin` would find, and leaves it as it was.
pub async fn a_look_claims_nothing<S: Store>(store: &S) {
    let key = random_key();
    let cautious = |fingerprint| BeginRequest {
        recovery: Recovery::Reject,
        ..request(key, fingerprint)
    };
    for _ in 0..2 {
        assert_eq!(
            look(store, cautious(1)).await,
            None,
            "nobody has claimed it"
        );
    }
    let held = claim(store, key).await;
    let mine = BeginRequest {
        token: held.token,
        ..request(key, 1)
    };
    for request in [request(key, 1), cautious(1), mine] {
        let found = look(store, request).await;
        assert!(matches!(found, Some(Begin::InProgress(_))), "{found:?}");
    }
    assert_eq!(look(store, request(key, 2)).await, Some(Begin::Mismatch));
    let renewed = store.renew(&held, Duration::ZERO, LONG).await;
    renewed.expect("the claim is held");
    assert_eq!(
        look(store, request(key, 1)).await,
        None,
        "it may be taken over"
    );
    let unknown = Some(Begin::OutcomeUnknown);
    assert_eq!(look(store, cautious(1)).await, unknown);
    let completed = store.complete(&held, response(), LONG).await;
    completed.expect("a look takes nothing over");
    let replay = Some(Begin::Replay(response()));
    assert_eq!(look(store, cautious(1)).await, replay);
    assert_eq!(look(store, request(key, 2)).await, Some(Begin::Mismatch));
}

/// Whoever is listed can be marked done or released, unless somebody was faster.
pub async fn an_unknown_outcome_is_resolved_by_hand<S: Store>(store: &S) {
    let mut orphans = Vec::new();
    for _ in 0..3 {
        let orphan = claim(store, random_key()).await;
        assert!(!listed(store, &orphan).await, "somebody works on it");
        let renewed = store.renew(&orphan, Duration::ZERO, LONG).await;
        renewed.expect("the claim is held");
        assert!(listed(store, &orphan).await, "its holder is gone");
        orphans.push(orphan);
    }
    let [done, released, taken] = &orphans[..] else {
        unreachable!("there are three")
    };
    let seized = seize(store, done).await;
    assert_eq!(seized.attempt, done.attempt + 1);
    assert!(seized.fence > done.fence, "a fence went back");
    is_lost(store.complete(done, tombstone(), LONG).await);
    is_lost(store.seize(done, Token::random(), LONG).await.map(drop));
    let again = store.seize(done, seized.token, LONG).await;
    assert_eq!(again.expect("it can be repeated"), seized);
    let completed = store.complete(&seized, response(), LONG).await;
    completed.expect("nobody has taken it over");
    assert_eq!(begin(store, done.key, 1).await, Begin::Replay(response()));
    is_lost(store.seize(&seized, Token::random(), LONG).await.map(drop));
    let given_back = store.abandon(&seize(store, released).await).await;
    given_back.expect("nobody has taken it over");
    let new = claim(store, released.key).await;
    assert_eq!(new.attempt, 1);
    is_lost(store.seize(&new, Token::random(), LONG).await.map(drop));
    claim(store, taken.key).await;
    is_lost(store.seize(taken, Token::random(), LONG).await.map(drop));
    for orphan in &orphans {
        assert!(!listed(store, orphan).await, "it is resolved");
    }
    assert_eq!(store.unknown(0).await.expect("the store works"), []);
}

/// What has outlived its ttl is as if it had never been, purged or not, and its zombies are none the stronger for it.
pub async fn what_is_over_is_new<S: Store>(store: &S) {
    let old = claim(store, random_key()).await;
    let completed = store.complete(&old, response(), Duration::ZERO).await;
    completed.expect("the claim is held");
    let Begin::Claimed(new) = begin(store, old.key, 2).await else {
        panic!("it was over")
    };
    assert_eq!(new.attempt, 1);
    assert!(new.fence > old.fence, "a fence went back");
    is_lost(store.complete(&old, tombstone(), LONG).await);
    is_lost(store.abandon(&old).await);
    an_orphan_is_new_after_its_ttl(store).await;
}

/// Also under [`Recovery::Reject`]: nobody is refused for ever.
async fn an_orphan_is_new_after_its_ttl<S: Store>(store: &S) {
    let key = random_key();
    let cautious = || BeginRequest {
        ttl: Duration::ZERO,
        recovery: Recovery::Reject,
        ..request(key, 1)
    };
    let found = store.begin(cautious()).await;
    let Begin::Claimed(orphan) = found.expect("the store works") else {
        panic!("the key is new")
    };
    let renewed = store.renew(&orphan, Duration::ZERO, Duration::ZERO).await;
    renewed.expect("the claim is held");
    assert!(!listed(store, &orphan).await, "it is over");
    let found = store.begin(cautious()).await;
    let Begin::Claimed(new) = found.expect("the store works") else {
        panic!("it was over")
    };
    assert_eq!(new.attempt, 1);
    assert!(new.fence > orphan.fence, "a fence went back");
    is_lost(store.complete(&orphan, tombstone(), LONG).await);
}

/// A lease and a ttl of [`Duration::MAX`] are for ever.
pub async fn durations_have_no_end<S: Store>(store: &S) {
    let for_ever = BeginRequest {
        lease: Duration::MAX,
        ttl: Duration::MAX,
        ..request(random_key(), 1)
    };
    let key = for_ever.key;
    let Begin::Claimed(claim) = store.begin(for_ever).await.expect("the store works") else {
        panic!("the key is new")
    };
    let renewed = store.renew(&claim, Duration::MAX, LONG).await;
    renewed.expect("the claim is held");
    let found = begin(store, key, 1).await;
    assert!(matches!(found, Begin::InProgress(_)), "{found:?}");
    let completed = store.complete(&claim, response(), Duration::MAX).await;
    completed.expect("the claim is held");
    assert_eq!(begin(store, key, 1).await, Begin::Replay(response()));
}

/// What was recorded comes back, to the byte.
pub async fn a_record_is_replayed<S: Store>(store: &S) {
    let sealed = Record::Sealed(Bytes::from_static(b"\x00\xfe"));
    // As large as the layer records by default.
    let body = Bytes::from(vec![0xfe; 1 << 20]);
    let large = Recorded::new(StatusCode::OK, HeaderMap::new(), body, None);
    let large = Record::Response(large, origin());
    for record in [response(), tombstone(), sealed, large] {
        let key = random_key();
        let claim = claim(store, key).await;
        store
            .complete(&claim, record.clone(), LONG)
            .await
            .expect("the claim is held");
        assert_eq!(begin(store, key, 1).await, Begin::Replay(record));
    }
}

/// A lost reply does no harm.
pub async fn begin_and_complete_can_be_repeated<S: Store>(store: &S) {
    let key = random_key();
    let request = request(key, 1);
    let first = store.begin(request.clone()).await.expect("the store works");
    assert_eq!(store.begin(request).await.expect("the store works"), first);
    let Begin::Claimed(claim) = first else {
        panic!("{first:?} for a new key")
    };
    for record in [response(), tombstone()] {
        store
            .complete(&claim, record, LONG)
            .await
            .expect("complete can be repeated");
    }
    let replay = Begin::Replay(response());
    assert_eq!(begin(store, key, 1).await, replay, "what is filed stays");
}

/// Whatever its state, a key stands for one request.
pub async fn another_request_under_the_key_is_a_mismatch<S: Store>(store: &S) {
    let key = random_key();
    let claim = claim(store, key).await;
    assert_eq!(begin(store, key, 2).await, Begin::Mismatch);
    store
        .renew(&claim, Duration::ZERO, LONG)
        .await
        .expect("the claim is held");
    assert_eq!(
        begin(store, key, 2).await,
        Begin::Mismatch,
        "also when its holder is gone"
    );
    store
        .complete(&claim, response(), LONG)
        .await
        .expect("nobody has taken it over");
    assert_eq!(begin(store, key, 2).await, Begin::Mismatch);
}

/// A zombie can neither renew, complete nor abandon.
pub async fn a_lost_claim_changes_nothing<S: Store>(store: &S) {
    let key = random_key();
    let zombie = claim(store, key).await;
    store
        .renew(&zombie, Duration::ZERO, LONG)
        .await
        .expect("the claim is held");
    let heir = claim(store, key).await;
    is_lost(store.renew(&zombie, LONG, LONG).await);
    is_lost(store.abandon(&zombie).await);
    is_lost(store.complete(&zombie, tombstone(), LONG).await);
    store
        .complete(&heir, response(), LONG)
        .await
        .expect("the heir holds it");
    is_lost(store.complete(&zombie, tombstone(), LONG).await);
    is_lost(store.abandon(&heir).await);
    assert_eq!(begin(store, key, 1).await, Begin::Replay(response()));
}

/// Each claim of a key has a higher fence, also after it was given back.
pub async fn fences_grow_and_attempts_count<S: Store>(store: &S) {
    let key = random_key();
    let mut last = claim(store, key).await;
    assert_eq!(last.attempt, 1);
    for attempt in 2..5 {
        store
            .renew(&last, Duration::ZERO, LONG)
            .await
            .expect("the claim is held");
        let next = claim(store, key).await;
        assert_eq!(next.attempt, attempt);
        assert!(
            next.fence > last.fence,
            "{} after {}",
            next.fence,
            last.fence
        );
        last = next;
    }
    store.abandon(&last).await.expect("the claim is held");
    assert!(claim(store, key).await.fence > last.fence);
}

/// Under [`Recovery::Reject`] nobody takes over.
pub async fn an_unknown_outcome_is_not_repeated_unless_asked<S: Store>(store: &S) {
    let key = random_key();
    let claim = claim(store, key).await;
    store
        .renew(&claim, Duration::ZERO, LONG)
        .await
        .expect("the claim is held");
    let cautious = BeginRequest {
        recovery: Recovery::Reject,
        ..request(key, 1)
    };
    let found = store.begin(cautious).await.expect("the store works");
    assert_eq!(found, Begin::OutcomeUnknown);
    assert!(matches!(begin(store, key, 1).await, Begin::Claimed(_)));
}

/// However long the work took: a renewal prolongs what is remembered, and never shortens it.
pub async fn an_unknown_outcome_is_remembered_for_a_ttl_after_its_holder_was_heard_of<S: Store>(
    store: &S,
) {
    for (begun, renewed) in [(Duration::ZERO, LONG), (LONG, Duration::ZERO)] {
        let cautious = BeginRequest {
            ttl: begun,
            recovery: Recovery::Reject,
            ..request(random_key(), 1)
        };
        let found = store.begin(cautious.clone()).await;
        let Begin::Claimed(claim) = found.expect("the store works") else {
            panic!("the key is new")
        };
        for lease in [LONG, Duration::ZERO] {
            let renewed = store.renew(&claim, lease, renewed).await;
            renewed.expect("the claim is held");
        }
        let again = BeginRequest {
            token: Token::random(),
            ..cautious
        };
        let found = store.begin(again).await.expect("the store works");
        assert_eq!(found, Begin::OutcomeUnknown);
        assert!(listed(store, &claim).await, "somebody has to look");
    }
}

/// Giving a claim back leaves nothing.
pub async fn an_abandoned_key_is_new<S: Store>(store: &S) {
    let key = random_key();
    let first = claim(store, key).await;
    store.abandon(&first).await.expect("the claim is held");
    is_lost(store.complete(&first, response(), LONG).await);
    let Begin::Claimed(second) = begin(store, key, 2).await else {
        panic!("the key is not free")
    };
    assert_eq!(second.attempt, 1);
}

/// Only what has outlived its ttl goes, and never a claim whose lease runs, nor one of which nobody knows how it ended.
pub async fn purge_spares_what_is_alive<S: Store>(store: &S) {
    let orphan = claim(store, random_key()).await;
    let renewed = store.renew(&orphan, Duration::ZERO, LONG).await;
    renewed.expect("the claim is held");
    let (running, done, over) = (random_key(), random_key(), random_key());
    let dead_soon = BeginRequest {
        ttl: Duration::ZERO,
        ..request(running, 1)
    };
    let begun = store.begin(dead_soon).await.expect("the store works");
    assert!(matches!(begun, Begin::Claimed(_)));
    let claimed = claim(store, done).await;
    store
        .complete(&claimed, response(), LONG)
        .await
        .expect("the claim is held");
    let claimed = claim(store, over).await;
    store
        .complete(&claimed, response(), Duration::ZERO)
        .await
        .expect("the claim is held");
    store.purge(usize::MAX).await.expect("the store works");
    assert!(matches!(
        begin(store, running, 1).await,
        Begin::InProgress(_)
    ));
    assert_eq!(begin(store, done, 1).await, Begin::Replay(response()));
    assert!(listed(store, &orphan).await, "somebody has to look");
    let cautious = BeginRequest {
        recovery: Recovery::Reject,
        ..request(orphan.key, 1)
    };
    let found = store.begin(cautious).await.expect("the store works");
    assert_eq!(found, Begin::OutcomeUnknown, "it would be done twice");
    assert!(
        matches!(begin(store, over, 2).await, Begin::Claimed(_)),
        "it was forgotten"
    );
}

fn random_key() -> RecordKey {
    RecordKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..)))
}

fn request(key: RecordKey, fingerprint: u8) -> BeginRequest {
    BeginRequest {
        key,
        fingerprint: Fingerprint::from_bytes([fingerprint; 32]),
        token: Token::random(),
        lease: LONG,
        ttl: LONG,
        recovery: Recovery::Reexecute,
    }
}

async fn begin<S: Store>(store: &S, key: RecordKey, fingerprint: u8) -> Begin {
    store
        .begin(request(key, fingerprint))
        .await
        .expect("the store works")
}

async fn look<S: Store>(store: &S, request: BeginRequest) -> Option<Begin> {
    store.look(&request).await.expect("the store works")
}

async fn claim<S: Store>(store: &S, key: RecordKey) -> Claim {
    match begin(store, key, 1).await {
        Begin::Claimed(claim) => claim,
        other => panic!("expected a claim, got {other:?}"),
    }
}

async fn seize<S: Store>(store: &S, claim: &Claim) -> Claim {
    let seized = store.seize(claim, Token::random(), LONG).await;
    seized.expect("its lease is over")
}

fn claims(found: &[Begin]) -> Vec<&Claim> {
    let claims = found.iter().filter_map(|found| match found {
        Begin::Claimed(claim) => Some(claim),
        _ => None,
    });
    claims.collect()
}

async fn listed<S: Store>(store: &S, claim: &Claim) -> bool {
    let unknown = store.unknown(usize::MAX).await.expect("the store works");
    unknown.contains(claim)
}

/// Has all of them under way at once: each begins on a thread of its own, at the same moment, so that also those race which never wait; and those that wait are polled together.
async fn all<F>(calls: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send,
{
    let (mut found, mut calls) = begun(calls.map(Box::pin).collect());
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| match call.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(output) => {
                found.push(output);
                false
            }
        });
        if calls.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    found
}

/// What is ready at once, and what is not.
fn begun<F>(calls: Vec<Pin<Box<F>>>) -> (Vec<F::Output>, Vec<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send,
{
    let (start, runtime) = (Barrier::new(calls.len()), Handle::try_current().ok());
    let begin = |mut call: Pin<Box<F>>| {
        let _entered = runtime.as_ref().map(Handle::enter);
        start.wait();
        // Whoever waits is polled again, and is woken then.
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(call),
        }
    };
    let (mut found, mut waiting) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = calls
            .into_iter()
            .map(|call| scope.spawn(|| begin(call)))
            .collect();
        for thread in threads {
            match thread.join().expect("a store does not panic") {
                Ok(output) => found.push(output),
                Err(call) => waiting.push(call),
            }
        }
    });
    (found, waiting)
}

fn response() -> Record {
    let headers = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/octet-stream"),
    )]);
    let body = Bytes::from_static(b"\x00\xff");
    let recorded = Recorded::new(StatusCode::CREATED, headers.clone(), body, Some(headers));
    Record::Response(recorded, origin())
}

fn tombstone() -> Record {
    Record::Tombstone(origin())
}

fn origin() -> Origin {
    let at = SystemTime::UNIX_EPOCH + LONG;
    Origin::new(at, Some(http::HeaderValue::from_static("request-1")))
}

#[track_caller]
fn is_lost(result: Result<(), StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Lost)),
        "{result:?} for a claim that was lost"
    );
}
