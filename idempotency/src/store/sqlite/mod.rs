//! Claims and records in a file of SQLite's.

pub mod sql;

use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult,
    SqliteSynchronous,
};
use sqlx::{Error, Sqlite, SqlitePool, Transaction};

use super::remote::{claim, millis};
use super::row::{Found, FoundState};
use super::{Begin, BeginRequest, Claim, Record, Standing, Store, StoreError, Token};

/// A store in a file of SQLite's, for the processes of one machine. A clone is the same store.
///
/// # Guarantees
///
/// - What was answered has been synced to the disk (`synchronous = FULL`, write-ahead log).
/// - This process writes through one connection, one transaction at a time, each of them `BEGIN IMMEDIATE`; other processes, and
///   [transactions](crate::transaction) of yours, are waited for up to five seconds. Duplicates only read, and wait for nobody, but for one that takes over.
/// - All times are SQLite's.
///
/// # Cancellation
///
/// See [`Store`].
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// A store in the file at `path`, which is made if there is none. It is opened when it is first asked.
    #[must_use]
    pub fn open(path: impl AsRef<std::path::Path>) -> Self {
        Self::with(SqliteConnectOptions::new().filename(path))
    }

    /// A store in the file of these options; those that its promises rest upon are set here.
    #[must_use]
    pub fn with(options: SqliteConnectOptions) -> Self {
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections| {
            let pool = SqlitePoolOptions::new().max_connections(connections);
            pool.test_before_acquire(false)
        };
        Self {
            writer: pool(1).connect_lazy_with(options.clone()),
            readers: pool(4).connect_lazy_with(options),
        }
    }

    /// Makes or updates the tables. May be called by any number of processes, at each start.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let connection = &mut *transaction;
        run(sqlx::query(sql::META).execute(&mut *connection)).await?;
        let version = "SELECT version FROM buttress_idempotency_meta";
        let version: Option<i64> = sqlx::query_scalar(version)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let done = version.map_or(0, |version| version as usize);
        for step in sql::MIGRATIONS.iter().skip(done) {
            run(sqlx::raw_sql(*step).execute(&mut *connection)).await?;
        }
        let set = match version {
            None => "INSERT INTO buttress_idempotency_meta (version, store) VALUES (?1, ?2)",
            // The store stays what it is.
            Some(_) => {
                "UPDATE buttress_idempotency_meta SET version = max(version, ?1) WHERE store <> ?2"
            }
        };
        let set = sqlx::query(set)
            .bind(sql::MIGRATIONS.len() as i64)
            .bind(rand::random::<u128>().to_be_bytes().to_vec());
        run(set.execute(&mut *connection)).await?;
        transaction.commit().await.map_err(failed)
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// A transaction that has the right to write from its beginning: one that reads first and then finds that it may not cannot wait for it.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with(IMMEDIATE).await.map_err(failed)
    }

    async fn claim(&self, request: &BeginRequest) -> Result<Begin, StoreError> {
        let mut transaction = self.write().await?;
        run(sqlx::query(sql::FENCE).execute(&mut *transaction)).await?;
        let claimed = sqlx::query_as::<_, (i64, i64)>(sql::BEGIN)
            .bind(&request.key.as_bytes()[..])
            .bind(&request.fingerprint.as_bytes()[..])
            .bind(request.token.to_bytes().to_vec())
            .bind(millis(request.lease))
            .bind(millis(request.ttl))
            .bind(request.takes_over())
            .fetch_optional(&mut *transaction);
        if let Some((fence, attempt)) = claimed.await.map_err(failed)? {
            transaction.commit().await.map_err(failed)?;
            return Ok(request.claimed(fence as u64, attempt as u32));
        }
        let found = lookup(&mut *transaction, request).await?;
        // Nothing was written, and so nothing need be synced.
        transaction.rollback().await.map_err(failed)?;
        let answer = found.map(|found| found.known.answer(request)).transpose()?;
        // Over in the very millisecond between the two statements.
        Ok(answer
            .flatten()
            .unwrap_or(Begin::InProgress(Duration::from_millis(1))))
    }

    /// What can be told without a right to write: all but that the key may be had, and that it is one's own.
    async fn known(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        match lookup(&self.readers, request).await? {
            Some(found) if found.token != request.token.to_bytes() => found.known.answer(request),
            _ => Ok(None),
        }
    }
}

/// How a transaction begins that is going to write.
pub(crate) const IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// What is known of a key, and of whom.
struct Known {
    known: Found,
    token: Vec<u8>,
}

async fn lookup(
    at: impl sqlx::Executor<'_, Database = Sqlite>,
    request: &BeginRequest,
) -> Result<Option<Known>, StoreError> {
    type Row = (bool, bool, Option<Vec<u8>>, i64, Vec<u8>);
    let found: Option<Row> = sqlx::query_as(sql::LOOKUP)
        .bind(&request.key.as_bytes()[..])
        .bind(&request.fingerprint.as_bytes()[..])
        .fetch_optional(at)
        .await
        .map_err(failed)?;
    Ok(
        found.map(|(done, same_request, record, left, token)| Known {
            known: Found {
                same_request,
                state: if done {
                    FoundState::Done(record.unwrap_or_default())
                } else {
                    FoundState::Running { left }
                },
            },
            token,
        }),
    )
}

impl Store for SqliteStore {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        match self.known(&request).await? {
            Some(known) => Ok(known),
            None => self.claim(&request).await,
        }
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        let found = lookup(&self.readers, request).await?;
        found.map_or(Ok(None), |found| found.known.answer(request))
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        let renew = sqlx::query(sql::RENEW)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec())
            .bind(millis(lease))
            .bind(millis(ttl));
        held(&renew.execute(&self.writer).await.map_err(failed)?)
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let mut transaction = self.write().await?;
        run(sqlx::query(sql::FENCE).execute(&mut *transaction)).await?;
        let seized = sqlx::query_as::<_, (i64, i64)>(sql::SEIZE)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec())
            .bind(token.to_bytes().to_vec())
            .bind(millis(lease))
            .fetch_optional(&mut *transaction);
        let seized = seized.await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        let (fence, attempt) = seized.ok_or(StoreError::Lost)?;
        Ok(claim.seized(token, fence as u64, attempt as u32))
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let record = record.encode();
        let complete = sqlx::query(sql::COMPLETE)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec())
            .bind(&record[..])
            .bind(millis(ttl));
        held(&complete.execute(&self.writer).await.map_err(failed)?)
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        let abandon = sqlx::query(sql::ABANDON)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec());
        held(&abandon.execute(&self.writer).await.map_err(failed)?)
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let purged = sqlx::query(sql::PURGE).bind(limit).execute(&self.writer);
        Ok(purged.await.map_err(failed)?.rows_affected() as usize)
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        let mut transaction = self.write().await?;
        let done: Option<bool> = sqlx::query_scalar(sql::CONFIRM)
            .bind(&claim.key.as_bytes()[..])
            .bind(claim.token.to_bytes().to_vec())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        match done {
            None => Err(StoreError::Lost),
            Some(true) => Ok(Standing::Done),
            Some(false) => Ok(Standing::Running),
        }
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        type Row = (Vec<u8>, Vec<u8>, i64, i64);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<Row> = sqlx::query_as(sql::UNKNOWN)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let claims = rows
            .iter()
            .map(|(key, token, fence, n)| claim(key, token, *fence as u64, *n as u32));
        claims.collect()
    }
}

fn held(changed: &SqliteQueryResult) -> Result<(), StoreError> {
    match changed.rows_affected() {
        0 => Err(StoreError::Lost),
        _ => Ok(()),
    }
}

async fn run(
    statement: impl Future<Output = Result<SqliteQueryResult, Error>>,
) -> Result<(), StoreError> {
    statement.await.map(drop).map_err(failed)
}

pub(crate) fn failed(error: Error) -> StoreError {
    match error {
        Error::ColumnDecode { .. } | Error::Decode(_) => StoreError::Corrupt(error.into()),
        // `SQLITE_FULL`.
        error if is_full(&error) => StoreError::Full,
        error => StoreError::Unavailable(error.into()),
    }
}

fn is_full(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "13")
}
