//! Each store under 1, 16 and 64 clients, over real servers on this machine: a first request (`begin` and `complete`), and a repetition.
//!
//! Criterion's estimate is the time per call over all clients, that is the throughput; beside it stand the latencies that one client sees.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::print_stdout,
    reason = "latencies belong beside what criterion prints"
)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buttress_idempotency::{
    Begin, BeginRequest, Fingerprint, MemoryStore, Origin, PostgresStore, Record, RecordKey,
    Recovery, RedisStore, SqliteStore, Store, Token,
};
use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};

const CLIENTS: [usize; 3] = [1, 16, 64];
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
    {
        let server = testkit::server::Postgres::start().unwrap();
        let store = runtime.block_on(async {
            let store = PostgresStore::connect(&server.url()).unwrap();
            store.migrate().await.map(|()| store)
        });
        bench(&mut criterion, &runtime, "postgres", &store.unwrap());
    }
    {
        // It syncs each write.
        let server = testkit::server::Redis::start().unwrap();
        let store = runtime.block_on(async { RedisStore::open(&server.url()).unwrap() });
        bench(&mut criterion, &runtime, "redis", &store);
    }
    criterion.final_summary();
}

fn bench<St: Store + Clone>(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: &St) {
    let done = key();
    runtime.block_on(first(store, done, LONG));
    for clients in CLIENTS {
        let id = format!("idempotency/first/{name}/{clients}");
        one(
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
        one(
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

fn one<St, F, Fut>(
    criterion: &mut Criterion,
    runtime: &Runtime,
    id: &str,
    clients: usize,
    store: &St,
    call: F,
) where
    St: Store + Clone,
    F: Fn(St) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    criterion.bench_function(id, |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let started = now();
                let clients: Vec<_> = (0..clients as u64)
                    .map(|n| {
                        let times = times / clients as u64 + u64::from(n < times % clients as u64);
                        tokio::spawn(client(times, store.clone(), call, Arc::clone(&seen)))
                    })
                    .collect();
                for client in clients {
                    client.await.unwrap();
                }
                started.elapsed()
            })
        });
    });
    let mut seen = seen.lock().unwrap();
    seen.sort_unstable();
    if let Some(last) = seen.len().checked_sub(1) {
        let at = |percent: usize| seen[last * percent / 100];
        println!("{id:<40} p50 {:?}, p99 {:?}\n", at(50), at(99));
    }
}

async fn client<St, F, Fut>(times: u64, store: St, call: F, seen: Arc<Mutex<Vec<Duration>>>)
where
    St: Clone,
    F: Fn(St) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut mine = Vec::new();
    for _ in 0..times {
        let began = now();
        call(store.clone()).await;
        mine.push(began.elapsed());
    }
    seen.lock().unwrap().extend(mine);
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
