//! Transactions of sqlx on Postgres.

use std::time::Duration;

use sqlx::{Error, PgConnection, Postgres};

use super::{BoxError, CommitError, Connection, Transaction, depth};
use crate::store::postgres::{NO_TABLE, PostgresStore, has_code, sql};
use crate::store::remote::millis;
use crate::store::{Claim, Record};

impl Transaction for sqlx::Transaction<'_, Postgres> {
    type Connection = PgConnection;

    fn connection(&mut self) -> &mut PgConnection {
        self
    }

    fn is_nested(&self) -> bool {
        depth::<Postgres>(self) > 1
    }

    async fn commit(self) -> Result<(), BoxError> {
        Ok(sqlx::Transaction::commit(self).await?)
    }

    async fn rollback(self) {
        // If it cannot be told, the connection is closed, which ends it too.
        let _ = sqlx::Transaction::rollback(self).await;
    }
}

impl Connection for PgConnection {
    type Store = PostgresStore;

    async fn complete(
        &mut self,
        store: &PostgresStore,
        claim: &Claim,
        record: &Record,
        ttl: Duration,
    ) -> Result<(), CommitError> {
        if depth::<Postgres>(self) == 0 {
            return Err(CommitError::NoTransaction);
        }
        let completed = sqlx::query(sql::COMPLETE_ONCE)
            .bind(*claim.key.as_bytes())
            .bind(claim.token.to_bytes())
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
async fn is_of(connection: &mut PgConnection, store: &PostgresStore) -> Result<bool, Error> {
    let here: Vec<u8> = sqlx::query_scalar(sql::STORE).fetch_one(connection).await?;
    let there: Vec<u8> = sqlx::query_scalar(sql::STORE)
        .fetch_one(store.pool())
        .await?;
    Ok(here == there)
}

/// Whether a transaction before this one has completed it, whatever its owner heard of that.
async fn is_done(connection: &mut PgConnection, claim: &Claim) -> Result<bool, Error> {
    let done = sqlx::query_scalar(sql::CONFIRM)
        .bind(*claim.key.as_bytes())
        .bind(claim.token.to_bytes())
        .fetch_optional(connection);
    Ok(done.await?.unwrap_or(false))
}

fn failed(error: Error) -> CommitError {
    if has_code(&error, &[NO_TABLE]) {
        CommitError::OtherStore
    } else {
        CommitError::Failed(error.into())
    }
}
