//! SQLite, for one machine: nothing to install.

use std::time::Duration;

use buttress_idempotency::{Idempotency, IdempotentBody, SqliteStore};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::{BATCH, Database, Error, Order, Untold, database};

#[derive(Clone)]
pub(crate) struct Sqlite {
    store: SqliteStore,
    /// Apart from the store's: an order holds its connection while the layer renews its lease.
    pool: SqlitePool,
}

impl Sqlite {
    pub(crate) fn open(file: &str) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        Self {
            store: SqliteStore::open(file),
            pool: SqlitePool::connect_lazy_with(options),
        }
    }
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY NOT NULL, item TEXT NOT NULL, cents INTEGER NOT NULL, payment TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, told BOOLEAN NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_untold ON outbox (number) WHERE NOT told;";

// One that reads first and then wants to write could not wait for another that writes.
database!(Sqlite, SqliteStore, "BEGIN IMMEDIATE");
