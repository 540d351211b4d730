use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Fingerprint, MemoryStore, RecordKey, Recovery, Store, Token, conformance,
};

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
