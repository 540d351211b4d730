//! Each store passes the suite, keeps what it has over a restart, and orders what happens at once.

#[cfg(any(feature = "postgres", feature = "redis"))]
use buttress_idempotency::Store;
use buttress_idempotency::conformance;

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite() {
    use buttress_idempotency::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claims.db");
    let store = SqliteStore::open(&file);
    let all = [store.migrate(), store.migrate(), store.migrate()];
    for migrated in all {
        migrated.await.unwrap();
    }
    conformance::check(&store).await;
    conformance::histories_have_an_order(&store, 40).await;
    begin_by_itself_leaves_what_is_done(&file).await;
    let kept = conformance::Kept::fill(&store).await;
    drop(store);
    let other = SqliteStore::open(&file);
    other.migrate().await.unwrap();
    kept.check(&other).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    let mut server = testkit::server::Postgres::start().unwrap();
    let store = crate::patient::postgres(&server.url());
    // As processes do that start together.
    let (one, other) = tokio::join!(store.migrate(), store.migrate());
    one.and(other).unwrap();
    store.migrate().await.unwrap();
    conformance::check(&store).await;
    conformance::histories_have_an_order(&store, 40).await;
    let kept = conformance::Kept::fill(&store).await;
    server.restart().unwrap();
    // No connection of the pool is good any more, and nobody is told.
    kept.check(&store).await;
    purge_takes_what_has_been_over_for_a_minute(&store, &server).await;
}

#[cfg(feature = "postgres")]
async fn purge_takes_what_has_been_over_for_a_minute(
    store: &buttress_idempotency::PostgresStore,
    server: &testkit::server::Postgres,
) {
    let count = || {
        server
            .ask("SELECT count(*) FROM buttress_idempotency")
            .unwrap()
    };
    purge_spares_a_claim_that_is_worked_on(store, server).await;
    let before: usize = count().parse().unwrap();
    assert!(before > 3, "the suite left {before} rows");
    let age = "UPDATE buttress_idempotency SET expires_at = expires_at - interval '100 years', \
        lease_until = lease_until - interval '200 years' WHERE NOT done OR expires_at < now() + interval '1 year'";
    server.ask(age).unwrap();
    assert_eq!(store.purge(2).await.unwrap(), 2);
    assert_eq!(count(), (before - 2).to_string());
    store.purge(usize::MAX).await.unwrap();
    // What is kept for ever is kept.
    assert_eq!(count(), "1");
}

/// Also one that is worked on for longer than its ttl and a minute.
#[cfg(feature = "postgres")]
async fn purge_spares_a_claim_that_is_worked_on(
    store: &buttress_idempotency::PostgresStore,
    server: &testkit::server::Postgres,
) {
    use buttress_idempotency::{Begin, Claim, Standing};

    let claim = async || match store.begin(crate::order()).await.unwrap() {
        Begin::Claimed(claim) => claim,
        found => panic!("{found:?} for a new key"),
    };
    let (running, over) = (claim().await, claim().await);
    let past = "now() - interval '2 minutes'";
    let age = |claim: &Claim, what: &str| {
        let set = format!("UPDATE buttress_idempotency SET expires_at = {past}{what}");
        let aged = server.ask(&format!("{set} WHERE key = '\\x{}'", claim.key));
        aged.unwrap();
    };
    age(&running, "");
    age(&over, &format!(", lease_until = {past}"));
    store.purge(usize::MAX).await.unwrap();
    assert_eq!(store.confirm(&running).await.unwrap(), Standing::Running);
    let gone = store.confirm(&over).await;
    assert!(gone.is_err(), "{gone:?}: it was aged enough");
    store.abandon(&running).await.unwrap();
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis() {
    let mut server = testkit::server::Redis::start().unwrap();
    let store = crate::patient::redis(&server.url());
    conformance::check(&store).await;
    conformance::histories_have_an_order(&store, 40).await;
    let kept = conformance::Kept::fill(&store).await;
    server.restart().unwrap();
    while store.unknown(0).await.is_err() {
        // Its manager is connecting; each of these waits for it.
    }
    kept.check(&store).await;
}

/// The store looks first whether a key is done, and so never asks this of its statement but in a race.
#[cfg(feature = "sqlite")]
async fn begin_by_itself_leaves_what_is_done(file: &std::path::Path) {
    use buttress_idempotency::sqlite::sql;

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let begin = async |token: &[u8]| -> Option<(i64, i64)> {
        sqlx::query_as(sql::BEGIN)
            .bind(&[1; 32][..])
            .bind(&[2; 32][..])
            .bind(token.to_vec())
            .bind(0)
            .bind(3_600_000)
            .bind(true)
            .fetch_optional(&pool)
            .await
            .unwrap()
    };
    assert!(begin(&[3; 16]).await.is_some(), "the key is new");
    assert!(begin(&[4; 16]).await.is_some(), "its lease is over");
    let complete = sqlx::query(sql::COMPLETE)
        .bind(&[1; 32][..])
        .bind(&[4; 16][..])
        .bind(&[0][..])
        .bind(3_600_000);
    let done = complete.execute(&pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    assert_eq!(begin(&[4; 16]).await, None, "it is done");
    assert_eq!(begin(&[5; 16]).await, None, "it is done");
}
