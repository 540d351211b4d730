//! Each store under 1, 16 and 64 clients, over real servers on this machine: a first request (`begin` and `complete`), and a repetition.
//!
//! Criterion's estimate is the time per call over all clients, that is the throughput; beside it stand the latencies that one client sees.
#![allow(clippy::unwrap_used)]

#[path = "support/clients.rs"]
mod clients;

use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Fingerprint, MemoryStore, Origin, PostgresStore, Record, RecordKey,
    Recovery, RedisStore, SqliteStore, Store, Token,
};
use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};

const LONG: Duration = Duration::from_secs(3600);
/// How long a first request is remembered: millions of them must not fill the memory.
const MOMENT: Duration = Duration::from_millis(10);

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    bench(&mut criterion, &runtime, "memory", &MemoryStore::new());
    {
        let folder = tempfile::tempdir().unwrap();
        let store = runtime.block_on(async {
            let store = SqliteStore::open(folder.path().join("claims.db"));
            store.migrate().await.map(|()| store)
        });
        bench(&mut criterion, &runtime, "sqlite", &store.unwrap());
    }
    match testkit::server::Postgres::start() {
        Err(missing) => clients::skipped("postgres", &missing),
        Ok(server) => {
            let store = runtime.block_on(async {
                let store = PostgresStore::connect(&server.url()).unwrap();
                store.migrate().await.map(|()| store)
            });
            bench(&mut criterion, &runtime, "postgres", &store.unwrap());
        }
    }
    match testkit::server::Redis::start() {
        Err(missing) => clients::skipped("redis", &missing),
        // It syncs each write.
        Ok(server) => {
            let store = runtime.block_on(async { RedisStore::open(&server.url()).unwrap() });
            bench(&mut criterion, &runtime, "redis", &store);
        }
    }
    criterion.final_summary();
}

fn bench<St: Store + Clone>(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: &St) {
    let done = key();
    runtime.block_on(first(store, done, LONG));
    for clients in clients::COUNTS {
        let id = format!("idempotency/first/{name}/{clients}");
        clients::bench(
            criterion,
            runtime,
            &id,
            clients,
            store,
            |store: St| async move {
                first(&store, key(), MOMENT).await;
            },
        );
        let id = format!("idempotency/replay-store/{name}/{clients}");
        clients::bench(
            criterion,
            runtime,
            &id,
            clients,
            store,
            move |store: St| async move {
                let found = begin(&store, done).await;
                assert!(matches!(found, Begin::Replay(_)), "{found:?}");
            },
        );
    }
}

async fn first<St: Store>(store: &St, key: RecordKey, ttl: Duration) {
    let Begin::Claimed(claim) = begin(store, key).await else {
        panic!("the key is new")
    };
    let recorded = buttress_wire::Recorded::new(
        http::StatusCode::OK,
        http::HeaderMap::new(),
        bytes::Bytes::from_static(&[b'x'; 1024]),
        None,
    );
    let record = Record::Response(recorded, Origin::default());
    store.complete(&claim, record, ttl).await.unwrap();
}

async fn begin<St: Store>(store: &St, key: RecordKey) -> Begin {
    let request = BeginRequest {
        key,
        fingerprint: Fingerprint::from_bytes([0; 32]),
        token: Token::random(),
        lease: LONG,
        ttl: LONG,
        recovery: Recovery::Reexecute,
    };
    store.begin(request).await.unwrap()
}

fn key() -> RecordKey {
    let (high, low) = (
        Token::random().0.to_be_bytes(),
        Token::random().0.to_be_bytes(),
    );
    RecordKey::from_bytes(std::array::from_fn(|n| {
        if n < 16 { high[n] } else { low[n - 16] }
    }))
}
