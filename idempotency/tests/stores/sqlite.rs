//! What only SQLite can do to a store.

use std::convert::Infallible;

use buttress_idempotency::sqlite::sql;
use buttress_idempotency::{
    Begin, BeginRequest, Claim, Fingerprint, IdempotencyLayer, OnStoreError, Origin, Record,
    RequestBody, SqliteStore, Standing, Store, StoreError, Token,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tower::{Layer, Service, service_fn};

use crate::order;

/// A file that may not grow, with claims in it until there is room for no more.
async fn full(file: &std::path::Path) -> (SqliteStore, Vec<Claim>) {
    SqliteStore::open(file).migrate().await.unwrap();
    let options = SqliteConnectOptions::new().filename(file);
    // Never fewer pages than there are.
    let store = SqliteStore::with(options.pragma("max_page_count", "1"));
    let mut claims = Vec::new();
    loop {
        match store.begin(order()).await {
            Ok(Begin::Claimed(claim)) => claims.push(claim),
            Err(StoreError::Full) => return (store, claims),
            begun => panic!("{begun:?} after {} claims", claims.len()),
        }
    }
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_full_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut claims) = full(&folder.path().join("claims.db")).await;
    let (done, running) = (claims.pop().unwrap(), claims.pop().unwrap());
    let record = Record::Tombstone(Origin::default());
    let hour = std::time::Duration::from_secs(3600);
    store.complete(&done, record, hour).await.unwrap();
    store.renew(&running, hour, hour).await.unwrap();
    assert_eq!(store.confirm(&done).await.unwrap(), Standing::Done);
    assert_eq!(store.confirm(&running).await.unwrap(), Standing::Running);
    // Whoever is gone leaves room.
    for claim in claims {
        store.abandon(&claim).await.unwrap();
    }
    let begun = store.begin(order()).await.unwrap();
    assert!(matches!(begun, Begin::Claimed(_)), "{begun:?}");
}

/// A transaction of a handler may be long: who only has to be told something does not wait for it.
#[tokio::test]
async fn duplicates_are_told_while_somebody_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claims.db");
    let store = SqliteStore::open(&file);
    store.migrate().await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let (running, left) = (order(), order());
    for request in [&running, &left] {
        let begun = store.begin(request.clone()).await.unwrap();
        assert!(matches!(begun, Begin::Claimed(_)), "{begun:?}");
    }
    let begun = store.begin(left.clone()).await.unwrap();
    let Begin::Claimed(claim) = begun else {
        panic!("{begun:?} for who asks again")
    };
    store
        .renew(&claim, std::time::Duration::ZERO, hour)
        .await
        .unwrap();

    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file))
        .await
        .unwrap();
    let writer = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let by_another = |request: &BeginRequest| BeginRequest {
        token: Token::random(),
        ..request.clone()
    };
    let found = store.begin(by_another(&running)).await.unwrap();
    assert!(matches!(found, Begin::InProgress(_)), "{found:?}");
    let found = store.begin(by_another(&left)).await.unwrap();
    assert_eq!(found, Begin::OutcomeUnknown);
    let other = BeginRequest {
        fingerprint: Fingerprint::from_bytes([8; 32]),
        ..by_another(&running)
    };
    assert_eq!(store.begin(other).await.unwrap(), Begin::Mismatch);
    writer.rollback().await.unwrap();
}

async fn never(_: Request<RequestBody<Full<Bytes>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    unreachable!("nothing is claimed for it")
}

/// Or whoever fills it would get past it.
#[tokio::test]
async fn a_full_file_refuses_whatever_is_chosen_for_one_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _claims) = full(&folder.path().join("claims.db")).await;
    for chosen in [OnStoreError::Reject, OnStoreError::Bypass] {
        let layer = IdempotencyLayer::new(store.clone())
            .single_tenant()
            .on_store_error(chosen);
        let mut service = layer.layer(service_fn(never));
        let request = Request::post("/orders").header("idempotency-key", "k");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let refused = service.call(request).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let problem = refused.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        let full = "urn:buttress:problem:idempotency-store-full";
        assert_eq!(problem["type"], full, "{chosen:?}");
    }
}

/// Those that nobody knows of are few among many; and a table of before has its index once it is migrated.
#[tokio::test]
async fn who_asks_for_what_nobody_knows_of_does_not_read_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claims.db");
    let options = SqliteConnectOptions::new().filename(&file);
    let pool = SqlitePool::connect_lazy_with(options.clone().create_if_missing(true));
    let version = "INSERT INTO buttress_idempotency_meta VALUES (1, 'one')";
    for step in [sql::META, sql::MIGRATIONS[0], version] {
        sqlx::raw_sql(step).execute(&pool).await.unwrap();
    }
    let store = SqliteStore::open(&file);
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    // Whoever plans does not look whether there is a new index.
    let pool = SqlitePool::connect_lazy_with(options);
    let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql::UNKNOWN));
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan)
        .bind(100)
        .fetch_all(&pool)
        .await
        .unwrap();
    let [(.., step)] = &plan[..] else {
        panic!("it sorts: {plan:?}")
    };
    let search = "SEARCH buttress_idempotency USING INDEX buttress_idempotency_lease_until";
    assert!(step.starts_with(search), "{step}");
}
