//! What only Postgres can do to a store.

use std::time::Duration;

use buttress_idempotency::postgres::sql;
use buttress_idempotency::{Begin, BeginRequest, PostgresStore, Store, StoreError, Token};
use sqlx::postgres::PgPoolOptions;
use testkit::server::Postgres;

use crate::order;

/// One that waits for a lock, for as long as the server lets it, is as silent as one whose machine is gone.
#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    let server = Postgres::start().unwrap();
    let one = PgPoolOptions::new().max_connections(1);
    let store = PostgresStore::new(one.connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    let silent = store.clone().timeout(Duration::from_millis(50));

    let other = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let mut locked = other.begin().await.unwrap();
    let lock = "LOCK TABLE buttress_idempotency IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *locked).await.unwrap();
    let order = order();
    let begun = silent.begin(order.clone()).await;
    assert!(
        matches!(begun, Err(StoreError::Unavailable(_))),
        "{begun:?}"
    );
    // Nobody waits for an answer any more, and the place in the pool is free: also where a caller has gone away.
    let gone = tokio::time::timeout(Duration::from_millis(50), store.begin(order.clone()));
    assert!(gone.await.is_err());
    sqlx::query("SELECT 1").execute(store.pool()).await.unwrap();
    locked.commit().await.unwrap();

    // The only connection is another one now, on which no late answer comes; and the token finds what the server has done meanwhile.
    let begun = store.begin(order.clone()).await.unwrap();
    assert!(
        matches!(&begun, Begin::Claimed(claim) if claim.token == order.token),
        "{begun:?}"
    );
    let again = store
        .begin(BeginRequest {
            token: Token::random(),
            ..order
        })
        .await
        .unwrap();
    assert!(matches!(again, Begin::InProgress(_)), "{again:?}");
}

/// As it says when its disk is.
#[tokio::test]
async fn a_server_without_room_is_full() {
    let server = Postgres::start().unwrap();
    let store = PostgresStore::connect(&server.url()).unwrap();
    store.migrate().await.unwrap();
    let says = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$";
    server.ask(says).unwrap();
    let each =
        "CREATE TRIGGER no_room BEFORE INSERT ON buttress_idempotency EXECUTE FUNCTION no_room()";
    server.ask(each).unwrap();
    let begun = store.begin(order()).await;
    assert!(matches!(begun, Err(StoreError::Full)), "{begun:?}");
    server
        .ask("DROP TRIGGER no_room ON buttress_idempotency")
        .unwrap();
    let begun = store.begin(order()).await.unwrap();
    assert!(matches!(begun, Begin::Claimed(_)), "{begun:?}");
}

/// Another process may take its time to make them.
#[tokio::test]
async fn whoever_else_makes_the_tables_is_waited_for() {
    let server = Postgres::start().unwrap();
    let other = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let mut migrating = other.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(x'6275747472657373'::bigint)";
    sqlx::query(lock).execute(&mut *migrating).await.unwrap();

    let impatient = format!("{}?options[lock_timeout]=1ms", server.url());
    let one = PgPoolOptions::new().max_connections(1);
    let store = PostgresStore::new(one.connect(&impatient).await.unwrap());
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.migrate().await }
    });
    let has_waited = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory' \
                      AND clock_timestamp() - query_start > interval '20 ms')";
    let has_waited = async || -> bool {
        let has_waited = sqlx::query_scalar(has_waited).fetch_one(&other).await;
        has_waited.unwrap()
    };
    while !has_waited().await && !waiting.is_finished() {}
    migrating.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    let timeout = sqlx::query_scalar::<_, String>("SHOW lock_timeout");
    assert_eq!(timeout.fetch_one(store.pool()).await.unwrap(), "1ms");
}

/// Those that nobody knows of are few among many; and a table of before has its index once it is migrated.
#[tokio::test]
async fn who_asks_for_what_nobody_knows_of_does_not_read_all_that_is_known() {
    let server = Postgres::start().unwrap();
    let store = PostgresStore::connect(&server.url()).unwrap();
    for step in [sql::META, sql::MIGRATIONS[0]] {
        sqlx::raw_sql(step).execute(store.pool()).await.unwrap();
    }
    let rows = "INSERT INTO buttress_idempotency_meta VALUES (1, 'one');
        INSERT INTO buttress_idempotency SELECT int8send(n), '', '', n, 1, n % 100 > 0, now(), now() + interval '1 day'
            FROM generate_series(1, 20000) AS n";
    sqlx::raw_sql(rows).execute(store.pool()).await.unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let analyze = sqlx::raw_sql("ANALYZE buttress_idempotency");
    analyze.execute(store.pool()).await.unwrap();
    let plan = sqlx::AssertSqlSafe(format!("EXPLAIN {}", sql::UNKNOWN));
    let plan: Vec<String> = sqlx::query_scalar(plan)
        .bind(100_i64)
        .fetch_all(store.pool())
        .await
        .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("buttress_idempotency_lease_until"), "{plan}");
    assert!(
        plan.contains("Index Cond") && !plan.contains("Seq Scan"),
        "{plan}"
    );
}
