//! What the cases need of a database.

use std::future::Future;
use std::ops::DerefMut;
use std::sync::Arc;

use buttress_idempotency::Store;
use buttress_idempotency::transaction::Transaction;

pub(crate) trait Database: Clone + Send + Sync + 'static {
    type Store: Store + Clone;
    type Tx: Transaction;
    type Bare: DerefMut<Target = <Self::Tx as Transaction>::Connection> + Send;

    fn store(&self) -> Self::Store;
    /// A transaction with an effect in it, which is not committed.
    fn effect(&self, name: String) -> impl Future<Output = Self::Tx> + Send;
    /// A connection that is in no transaction.
    fn bare(&self) -> impl Future<Output = Self::Bare> + Send;
    /// How many effects there are.
    fn effects(&self, name: &str) -> impl Future<Output = i64> + Send;
    /// Ends all leases.
    fn end_leases(&self) -> impl Future<Output = ()> + Send;
    /// Which of two transactions, the second inside the first, say that they are inside of one.
    fn nested(&self) -> impl Future<Output = [bool; 2]> + Send;
    /// A transaction on a database without tables, and one on a database with them.
    fn elsewhere(&self) -> impl Future<Output = [Self::Tx; 2]> + Send;
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use buttress_idempotency::PostgresStore;
    use sqlx::{PgPool, Postgres};

    use super::*;

    #[derive(Clone)]
    pub(crate) struct OnPostgres {
        server: Arc<testkit::server::Postgres>,
        store: PostgresStore,
        pool: PgPool,
    }

    impl OnPostgres {
        pub(crate) async fn start() -> Self {
            let server = testkit::server::Postgres::start().unwrap();
            let store = crate::patient::postgres(&server.url());
            store.migrate().await.unwrap();
            server.ask("CREATE TABLE effects (name text)").unwrap();
            let pool = PgPool::connect(&server.url()).await.unwrap();
            Self {
                server: Arc::new(server),
                store,
                pool,
            }
        }

        /// Made when it is first asked for.
        async fn database(&self, name: &str) -> String {
            let is_there = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
            if self.server.ask(&is_there).unwrap() == "0" {
                self.server.ask(&format!("CREATE DATABASE {name}")).unwrap();
            }
            let url = self.server.url();
            format!("{}/{name}", url.trim_end_matches("/postgres"))
        }
    }

    impl Database for OnPostgres {
        type Store = PostgresStore;
        type Tx = sqlx::Transaction<'static, Postgres>;
        type Bare = sqlx::pool::PoolConnection<Postgres>;

        async fn bare(&self) -> Self::Bare {
            self.pool.acquire().await.unwrap()
        }

        fn store(&self) -> PostgresStore {
            self.store.clone()
        }

        async fn effect(&self, name: String) -> Self::Tx {
            let mut tx = self.pool.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO effects VALUES ($1)").bind(name);
            insert.execute(&mut *tx).await.unwrap();
            tx
        }

        async fn effects(&self, name: &str) -> i64 {
            sqlx::query_scalar("SELECT count(*) FROM effects WHERE name = $1")
                .bind(name)
                .fetch_one(&self.pool)
                .await
                .unwrap()
        }

        async fn end_leases(&self) {
            sqlx::query("UPDATE buttress_idempotency SET lease_until = '-infinity' WHERE NOT done")
                .execute(&self.pool)
                .await
                .unwrap();
        }

        async fn nested(&self) -> [bool; 2] {
            let mut outer = self.effect("nested".into()).await;
            let outer_is = outer.is_nested();
            let inner = sqlx::Connection::begin(&mut *outer).await.unwrap();
            [outer_is, inner.is_nested()]
        }

        async fn elsewhere(&self) -> [Self::Tx; 2] {
            let (empty, other) = (self.database("empty").await, self.database("other").await);
            PostgresStore::connect(&other)
                .unwrap()
                .migrate()
                .await
                .unwrap();
            let begin = async |url: String| {
                let pool = PgPool::connect(&url).await;
                pool.unwrap().begin().await.unwrap()
            };
            [begin(empty).await, begin(other).await]
        }
    }
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use buttress_idempotency::SqliteStore;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{Sqlite, SqlitePool};
    use tempfile::TempDir;

    use super::*;

    #[derive(Clone)]
    pub(crate) struct OnSqlite {
        folder: Arc<TempDir>,
        store: SqliteStore,
        pool: SqlitePool,
    }

    impl OnSqlite {
        pub(crate) async fn start() -> Self {
            let folder = Arc::new(tempfile::tempdir().unwrap());
            let file = folder.path().join("shop.db");
            let store = SqliteStore::open(&file);
            store.migrate().await.unwrap();
            let options = SqliteConnectOptions::new().filename(&file);
            let pool = SqlitePool::connect_with(options).await.unwrap();
            let create = sqlx::query("CREATE TABLE effects (name TEXT)");
            create.execute(&pool).await.unwrap();
            Self {
                folder,
                store,
                pool,
            }
        }
    }

    impl Database for OnSqlite {
        type Store = SqliteStore;
        type Tx = sqlx::Transaction<'static, Sqlite>;
        type Bare = sqlx::pool::PoolConnection<Sqlite>;

        async fn bare(&self) -> Self::Bare {
            self.pool.acquire().await.unwrap()
        }

        fn store(&self) -> SqliteStore {
            self.store.clone()
        }

        async fn effect(&self, name: String) -> Self::Tx {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let insert = sqlx::query("INSERT INTO effects VALUES (?1)").bind(name);
            insert.execute(&mut *tx).await.unwrap();
            tx
        }

        async fn effects(&self, name: &str) -> i64 {
            sqlx::query_scalar("SELECT count(*) FROM effects WHERE name = ?1")
                .bind(name)
                .fetch_one(&self.pool)
                .await
                .unwrap()
        }

        async fn end_leases(&self) {
            sqlx::query("UPDATE buttress_idempotency SET lease_until = 0 WHERE NOT done")
                .execute(&self.pool)
                .await
                .unwrap();
        }

        async fn nested(&self) -> [bool; 2] {
            let mut outer = self.effect("nested".into()).await;
            let outer_is = outer.is_nested();
            let inner = sqlx::Connection::begin(&mut *outer).await.unwrap();
            [outer_is, inner.is_nested()]
        }

        async fn elsewhere(&self) -> [Self::Tx; 2] {
            let begin = async |file: &str, migrated: bool| {
                let file = self.folder.path().join(file);
                if migrated {
                    SqliteStore::open(&file).migrate().await.unwrap();
                }
                let options = SqliteConnectOptions::new().filename(file);
                let pool = SqlitePool::connect_with(options.create_if_missing(true)).await;
                pool.unwrap().begin_with("BEGIN IMMEDIATE").await.unwrap()
            };
            [
                begin("empty.db", false).await,
                begin("other.db", true).await,
            ]
        }
    }
}

#[cfg(feature = "postgres")]
pub(crate) use on_postgres::OnPostgres;
#[cfg(feature = "sqlite")]
pub(crate) use on_sqlite::OnSqlite;
