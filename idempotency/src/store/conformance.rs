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
//! Each check uses keys of its own, so that a store may be shared by several runs. None sleeps: leases are ended by renewing them to zero,
//! which every store must take for "over".

use std::time::Duration;

use buttress_wire::Recorded;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Begin, BeginRequest, Claim, Record, Recovery, Store, StoreError, Token};
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
    an_abandoned_key_is_new(store).await;
    purge_spares_what_is_alive(store).await;
}

/// Of many callers at once, exactly one gets the claim.
pub async fn a_key_is_claimed_once<S: Store>(store: &S) {
    let key = random_key();
    let mut claimed = 0;
    for _ in 0..20 {
        match begin(store, key, 1).await {
            Begin::Claimed(_) => claimed += 1,
            Begin::InProgress(left) => assert!(left <= LONG, "a lease of {left:?}"),
            other => panic!("{other:?} for a key that is being worked on"),
        }
    }
    assert_eq!(claimed, 1, "claims of one key");
}

/// What was recorded comes back, to the byte.
pub async fn a_record_is_replayed<S: Store>(store: &S) {
    for record in [response(), Record::Tombstone] {
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
    for _ in 0..2 {
        store
            .complete(&claim, response(), LONG)
            .await
            .expect("complete can be repeated");
    }
}

/// Whatever its state, a key stands for one request.
pub async fn another_request_under_the_key_is_a_mismatch<S: Store>(store: &S) {
    let key = random_key();
    let claim = claim(store, key).await;
    assert_eq!(begin(store, key, 2).await, Begin::Mismatch);
    store
        .renew(&claim, Duration::ZERO)
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
        .renew(&zombie, Duration::ZERO)
        .await
        .expect("the claim is held");
    let heir = claim(store, key).await;
    is_lost(store.renew(&zombie, LONG).await);
    is_lost(store.abandon(&zombie).await);
    is_lost(store.complete(&zombie, Record::Tombstone, LONG).await);
    store
        .complete(&heir, response(), LONG)
        .await
        .expect("the heir holds it");
    is_lost(store.complete(&zombie, Record::Tombstone, LONG).await);
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
            .renew(&last, Duration::ZERO)
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
        .renew(&claim, Duration::ZERO)
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

/// Only what has outlived its ttl goes, and never a claim whose lease runs.
pub async fn purge_spares_what_is_alive<S: Store>(store: &S) {
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

async fn claim<S: Store>(store: &S, key: RecordKey) -> Claim {
    match begin(store, key, 1).await {
        Begin::Claimed(claim) => claim,
        other => panic!("expected a claim, got {other:?}"),
    }
}

fn response() -> Record {
    let headers = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/octet-stream"),
    )]);
    let body = Bytes::from_static(b"\x00\xff");
    Record::Response(Recorded::new(
        StatusCode::CREATED,
        headers.clone(),
        body,
        Some(headers),
    ))
}

#[track_caller]
fn is_lost(result: Result<(), StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Lost)),
        "{result:?} for a claim that was lost"
    );
}
