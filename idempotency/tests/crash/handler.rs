//! Handlers with an effect.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;

use buttress_idempotency::{BodyError, Idempotency, NoEffect, Recovery};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::plan::{Plan, Work};
use crate::worker::answer;

type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

pub(crate) trait Handler: Clone + Send + Sync + 'static {
    fn handle(
        &self,
        claim: Idempotency,
        key: String,
    ) -> impl Future<Output = Response<Body>> + Send;
}

pub(crate) fn recovery(plan: Plan) -> Recovery {
    match plan {
        Plan::RedisReject => Recovery::Reject,
        _ => Recovery::Reexecute,
    }
}

fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
{
    response.map(BodyExt::boxed_unsync)
}

fn plain(response: Response<Full<Bytes>>) -> Response<Body> {
    boxed(response.map(|body| body.map_err(|never| match never {})))
}

fn nothing_happened() -> Response<Body> {
    let mut response = Response::new(Full::<Bytes>::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.extensions_mut().insert(NoEffect);
    plain(response)
}

/// Its effect is a line in a file.
#[derive(Clone)]
pub(crate) struct InAFile {
    file: PathBuf,
}

impl InAFile {
    pub(crate) fn new(work: &Work) -> Self {
        let file = work.effects.clone();
        Self { file }
    }
}

impl Handler for InAFile {
    async fn handle(&self, _: Idempotency, key: String) -> Response<Body> {
        tokio::task::yield_now().await;
        let mut file = OpenOptions::new().append(true).open(&self.file).unwrap();
        file.write_all(format!("{key}\n").as_bytes()).unwrap();
        tokio::task::yield_now().await;
        plain(answer())
    }
}

mod on_postgres {
    use buttress_idempotency::PostgresStore;
    use sqlx::PgPool;
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    #[derive(Clone)]
    pub(crate) struct OnPostgres {
        store: PostgresStore,
        pool: PgPool,
    }

    impl OnPostgres {
        pub(crate) fn new(work: &Work) -> Self {
            let pool = PgPoolOptions::new().max_connections(4);
            Self {
                store: PostgresStore::connect(&work.url).unwrap(),
                pool: pool.connect_lazy(&work.url).unwrap(),
            }
        }

        pub(crate) fn store(&self) -> PostgresStore {
            self.store.clone()
        }

        async fn order(&self, claim: &Idempotency, key: &str) -> Result<Response<Body>, Error> {
            let mut tx = self.pool.begin().await?;
            let effect = sqlx::query("INSERT INTO effects VALUES ($1)").bind(key);
            effect.execute(&mut *tx).await?;
            Ok(boxed(claim.commit_with(tx, answer()).await?))
        }
    }

    impl Handler for OnPostgres {
        async fn handle(&self, claim: Idempotency, key: String) -> Response<Body> {
            let ordered = self.order(&claim, &key).await;
            ordered.unwrap_or_else(|_| nothing_happened())
        }
    }

    pub(super) async fn prepare(url: &str) {
        let store = PostgresStore::connect(url).unwrap();
        store.migrate().await.unwrap();
        let table = sqlx::query("CREATE TABLE effects (name text)");
        table.execute(store.pool()).await.unwrap();
    }

    pub(super) async fn effects(url: &str) -> Vec<String> {
        let pool = PgPool::connect(url).await.unwrap();
        let names = sqlx::query_scalar("SELECT name FROM effects");
        names.fetch_all(&pool).await.unwrap()
    }
}

mod on_sqlite {
    use std::time::Duration;

    use buttress_idempotency::{
        Begin, BeginRequest, Claim, Record, SqliteStore, Standing, Store, StoreError, Token,
    };
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
    use sqlx::{Sqlite, SqlitePool, Transaction};

    use super::*;
    use crate::plan::Bug;
    use crate::worker::LEASE;

    #[derive(Clone)]
    pub(crate) struct OnSqlite {
        store: SqliteStore,
        pool: SqlitePool,
    }

    impl OnSqlite {
        pub(crate) fn new(work: &Work) -> Self {
            Self {
                store: SqliteStore::open(&work.url),
                pool: open(&work.url),
            }
        }

        pub(crate) fn store(&self) -> SqliteStore {
            self.store.clone()
        }

        async fn effect(&self, key: &str) -> Result<Transaction<'static, Sqlite>, Error> {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let effect = sqlx::query("INSERT INTO effects VALUES (?1)").bind(key);
            effect.execute(&mut *tx).await?;
            Ok(tx)
        }

        async fn order(&self, claim: &Idempotency, key: &str) -> Result<Response<Body>, Error> {
            let tx = self.effect(key).await?;
            Ok(boxed(claim.commit_with(tx, answer()).await?))
        }
    }

    impl Handler for OnSqlite {
        async fn handle(&self, claim: Idempotency, key: String) -> Response<Body> {
            let ordered = self.order(&claim, &key).await;
            ordered.unwrap_or_else(|_| nothing_happened())
        }
    }

    /// The same with a bug.
    #[derive(Clone)]
    pub(crate) struct Planted {
        inner: OnSqlite,
        bug: Bug,
    }

    impl Planted {
        pub(crate) fn new(work: &Work, bug: Bug) -> Self {
            let inner = OnSqlite::new(work);
            Self { inner, bug }
        }

        pub(crate) fn store(&self) -> NeverRenews {
            NeverRenews(self.inner.store())
        }

        async fn order(&self, claim: &Idempotency, key: &str) -> Result<Response<Body>, Error> {
            let inner = &self.inner;
            match self.bug {
                Bug::NoFence => {
                    tokio::time::sleep(LEASE.mul_f64(1.5 * fastrand::f64())).await;
                    inner.effect(key).await?.commit().await?;
                    Ok(plain(answer()))
                }
                Bug::CommitBeforeEffect => {
                    let tx = inner.pool.begin_with("BEGIN IMMEDIATE").await?;
                    let response = claim.commit_with(tx, answer()).await?;
                    tokio::time::sleep(LEASE / 10).await;
                    inner.effect(key).await?.commit().await?;
                    Ok(boxed(response))
                }
                Bug::AbandonAfterEffect => {
                    let tx = inner.effect(key).await?;
                    if fastrand::u8(..10) > 0 {
                        return Ok(boxed(claim.commit_with(tx, answer()).await?));
                    }
                    tx.commit().await?;
                    Ok(nothing_happened())
                }
            }
        }
    }

    impl Handler for Planted {
        async fn handle(&self, claim: Idempotency, key: String) -> Response<Body> {
            let ordered = self.order(&claim, &key).await;
            ordered.unwrap_or_else(|_| nothing_happened())
        }
    }

    /// A store that loses its claims, as if its heartbeats were late.
    #[derive(Clone)]
    pub(crate) struct NeverRenews(SqliteStore);

    impl Store for NeverRenews {
        async fn seize(
            &self,
            claim: &Claim,
            token: Token,
            lease: Duration,
        ) -> Result<Claim, StoreError> {
            self.0.seize(claim, token, lease).await
        }

        async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
            self.0.look(request).await
        }

        async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
            self.0.begin(request).await
        }

        async fn renew(&self, _: &Claim, _: Duration, _: Duration) -> Result<(), StoreError> {
            Ok(())
        }

        async fn complete(
            &self,
            claim: &Claim,
            record: Record,
            ttl: Duration,
        ) -> Result<(), StoreError> {
            self.0.complete(claim, record, ttl).await
        }

        async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
            self.0.abandon(claim).await
        }

        async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
            self.0.purge(limit).await
        }

        async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
            self.0.confirm(claim).await
        }

        async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
            self.0.unknown(limit).await
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self.0.as_any()
        }
    }

    fn open(file: &str) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(4);
        pool.connect_lazy_with(options)
    }

    pub(super) async fn prepare(file: &str) {
        SqliteStore::open(file).migrate().await.unwrap();
        let table = sqlx::query("CREATE TABLE effects (name TEXT)");
        table.execute(&open(file)).await.unwrap();
    }

    pub(super) async fn effects(file: &str) -> Vec<String> {
        let names = sqlx::query_scalar("SELECT name FROM effects");
        names.fetch_all(&open(file)).await.unwrap()
    }
}

pub(crate) use on_postgres::OnPostgres;
pub(crate) use on_sqlite::{OnSqlite, Planted};

/// Makes the tables.
pub(crate) fn prepare(plan: Plan, url: &str) {
    now(async {
        match plan {
            Plan::Postgres => on_postgres::prepare(url).await,
            Plan::Sqlite | Plan::Planted(_) => on_sqlite::prepare(url).await,
            _ => {}
        }
    });
}

/// The key of each effect in the database.
pub(crate) fn effects(plan: Plan, url: &str) -> Vec<String> {
    now(async {
        match plan {
            Plan::Postgres => on_postgres::effects(url).await,
            Plan::Sqlite | Plan::Planted(_) => on_sqlite::effects(url).await,
            plan => panic!("{plan:?} has its effects elsewhere"),
        }
    })
}

fn now<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}
