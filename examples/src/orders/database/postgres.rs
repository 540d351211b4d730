//! Postgres, for many machines.

use buttress_idempotency::{Idempotency, IdempotentBody, PostgresStore};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::{BATCH, Database, Error, Order, Untold, database};

#[derive(Clone)]
pub(crate) struct Postgres {
    store: PostgresStore,
    pool: PgPool,
}

impl Postgres {
    pub(crate) fn connect(url: &str) -> Result<Self, Error> {
        Ok(Self {
            store: PostgresStore::connect(url)?,
            pool: PgPoolOptions::new().max_connections(8).connect_lazy(url)?,
        })
    }
}

// By one process at a time, for `IF NOT EXISTS` alone would race. To look for an index by it waits for all who are writing, and they for it.
const TABLES: &str = "
SELECT pg_advisory_xact_lock(1869767781);
CREATE TABLE IF NOT EXISTS orders (
    id text PRIMARY KEY, item text NOT NULL, cents bigint NOT NULL, payment text NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    number bigserial PRIMARY KEY, event text NOT NULL, told boolean NOT NULL);
DO $$ BEGIN
    IF to_regclass('outbox_untold') IS NULL THEN
        CREATE INDEX outbox_untold ON outbox (number) WHERE NOT told;
    END IF;
END $$";

database!(Postgres, PostgresStore, "BEGIN");
