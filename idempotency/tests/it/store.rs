use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Event, Fingerprint, IdempotencyLayer, MemoryStore, OnStoreError, Purge,
    RecordKey, Recovery, Store, Token, conformance,
};
use tower::{Layer, Service, service_fn};

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance::check(&MemoryStore::new()).await;
}

#[test]
fn of_many_threads_one_gets_the_claim() {
    let store = MemoryStore::new();
    let begin = |round: u8, token: u128| {
        let request = BeginRequest {
            key: RecordKey::from_bytes([round; 32]),
            fingerprint: Fingerprint::from_bytes([0; 32]),
            token: Token(token),
            lease: Duration::from_secs(60),
            ttl: Duration::from_secs(60),
            recovery: Recovery::Reexecute,
        };
        tokio_test::block_on(store.begin(request)).unwrap()
    };
    for round in 0..50 {
        let found: Vec<Begin> = std::thread::scope(|scope| {
            let begin = &begin;
            let threads: Vec<_> = (0..4)
                .map(|token| scope.spawn(move || begin(round, token)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let claimed = found
            .iter()
            .filter(|begin| matches!(begin, Begin::Claimed(_)))
            .count();
        assert_eq!(claimed, 1, "{found:?}");
    }
}

#[tokio::test]
async fn nothing_is_done_unprotected_where_there_is_no_room_for_its_key() {
    let store = MemoryStore::builder().max_keys(std::num::NonZeroUsize::MIN);
    let layer = IdempotencyLayer::new(store.build())
        .single_tenant()
        .on_store_error(OnStoreError::Bypass);
    let mut service = layer.layer(service_fn(crate::faults::done));
    let mut refused = 0;
    for key in 0..100 {
        let response = service.call(crate::kit::order(&key.to_string(), ""));
        refused += usize::from(response.await.unwrap().status() == 503);
    }
    let seen = layer.snapshot();
    assert_eq!((seen.bypassed, seen.claimed + refused as u64), (0, 100));
    assert!(refused >= 84, "of sixteen tables each has one place");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_purged_in_the_background_some_at_a_time() {
    let store = MemoryStore::new();
    for key in 0..10 {
        let request = BeginRequest {
            key: RecordKey::from_bytes([key; 32]),
            fingerprint: Fingerprint::from_bytes([0; 32]),
            token: Token::random(),
            lease: Duration::ZERO,
            ttl: Duration::from_secs(if key == 0 { 3600 } else { 30 }),
            recovery: Recovery::Reexecute,
        };
        store.begin(request).await.unwrap();
    }
    let two = std::num::NonZeroUsize::new(2).unwrap();
    let purge = Purge::new(store.clone())
        .limit(two)
        .observer(|event: &Event<'_>| panic!("{event:?}"));
    let purging = purge.every(Duration::from_secs(60)).run();
    // The first run is within a minute, and each that finds as many as it may is followed by another soon.
    let purged = tokio::time::timeout(Duration::from_secs(300), purging).await;
    assert!(purged.is_err(), "it goes on for ever");
    assert_eq!(store.snapshot().keys, 1, "what is not over is kept");
}

#[tokio::test]
async fn whoever_waits_for_a_key_hears_that_it_has_changed() {
    let store = MemoryStore::new();
    let request = BeginRequest {
        key: RecordKey::from_bytes([7; 32]),
        fingerprint: Fingerprint::from_bytes([0; 32]),
        token: Token::random(),
        lease: Duration::from_secs(60),
        ttl: Duration::from_secs(60),
        recovery: Recovery::Reexecute,
    };
    let Begin::Claimed(claim) = store.begin(request).await.unwrap() else {
        panic!("the key is new")
    };
    // Also what happens before it is first polled.
    let mut changed = tokio_test::task::spawn(store.changed(&claim.key));
    store.abandon(&claim).await.unwrap();
    assert!(changed.poll().is_ready());
    let mut unchanged = tokio_test::task::spawn(store.changed(&claim.key));
    assert!(unchanged.poll().is_pending());
}
