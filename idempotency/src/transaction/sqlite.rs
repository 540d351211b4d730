//! Transactions of sqlx on SQLite.

use std::time::Duration;

use sqlx::{Error, Sqlite, SqliteConnection};

use super::{BoxError, CommitError, Connection, Transaction, depth};
use crate::store::remote::millis;
use crate::store::sqlite::{SqliteStore, sql};
use crate::store::{Claim, Record};

/// Begin it with `pool.begin_with("BEGIN IMMEDIATE")`, on a pool of your own: one that reads first and then wants to write cannot wait for another that
/// writes. It has the file to itself until it ends, and no lease is renewed meanwhile, nor taken over.
impl Transaction for sqlx::Transaction<'_, Sqlite> {
    type Connection = SqliteConnection;

    fn connection(&mut self) -> &mut SqliteConnection {
        self
    }

    fn is_nested(&self) -> bool {
        depth::<Sqlite>(self) > 1
    }

    async fn commit(self) -> Result<(), BoxError> {
        Ok(sqlx::Transaction::commit(self).await?)
    }

    async fn rollback(self) {
        // If it cannot be told, the connection is closed, which ends it too.
        let _ = sqlx::Transaction::rollback(self).await;
    }
}

impl Connection for SqliteConnection {
    type Store = SqliteStore;

    async fn complete(
        &mut self,
        store: &SqliteStore,
        claim: &Claim,
        record: &Record,
        ttl: Duration,
    ) -> Result<(), CommitError> {
        if depth::<Sqlite>(self) == 0 {
            return Err(CommitError::NoTransaction);
        }
        let completed = sqlx::query(sql::COMPLETE_ONCE)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec())
            .bind(&record.encode()[..])
            .bind(millis(ttl))
            .execute(&mut *self)
            .await;
        match completed {
            Ok(completed) if completed.rows_affected() > 0 => Ok(()),
            Ok(_) if !is_of(self, store).await.map_err(failed)? => Err(CommitError::OtherStore),
            Ok(_) if is_done(self, claim).await.map_err(failed)? => Err(CommitError::Settled),
            Ok(_) => Err(CommitError::Lost),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Whether this connection sees the same store. Asked only where a claim was not found.
async fn is_of(connection: &mut SqliteConnection, store: &SqliteStore) -> Result<bool, Error> {
    let here: Vec<u8> = sqlx::query_scalar(sql::STORE).fetch_one(connection).await?;
    let there: Vec<u8> = sqlx::query_scalar(sql::STORE)
        .fetch_one(store.readers())
        .await?;
    Ok(here == there)
}

/// Whether a transaction before this one has completed it, whatever its owner heard of that.
async fn is_done(connection: &mut SqliteConnection, claim: &Claim) -> Result<bool, Error> {
    let done = sqlx::query_scalar(sql::CONFIRM)
        .bind(&claim.key.as_bytes()[..])
        .bind(claim.token.to_bytes().to_vec())
        .fetch_optional(connection);
    Ok(done.await?.unwrap_or(false))
}

/// SQLite has one code for all that is wrong with a statement, and its words are stable.
fn failed(error: Error) -> CommitError {
    let database = error.as_database_error();
    if database.is_some_and(|error| error.message().starts_with("no such table")) {
        CommitError::OtherStore
    } else {
        CommitError::Failed(error.into())
    }
}
