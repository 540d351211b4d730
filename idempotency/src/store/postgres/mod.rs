//! Claims and records in Postgres.

pub mod sql;

use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgQueryResult};
use sqlx::query::Query;
use sqlx::{Error, PgConnection, PgPool, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::remote::{claim, millis};
use super::row::{Found, FoundState};
use super::{Begin, BeginRequest, Claim, Record, Standing, Store, StoreError, Token};

/// A store in Postgres (13 or later). A clone is the same store.
///
/// # Guarantees
///
/// - A fresh `begin` is one round trip, and a duplicate's two; all else is one. A pool of [yours](Self::new) may add one to each. Before sqlx lends a connection again it asks once more whether it is
///   well: nobody waits for that as long as another one is free.
/// - What a server has answered is its own: an asynchronous replica that takes over knows nothing of the last claims, nor of the effects beside them. `synchronous_standby_names` has it wait.
/// - What was answered is durable with the server's defaults (`fsync` and `synchronous_commit` on).
/// - All times are the server's.
/// - A duplicate takes no lock and writes nothing. One that comes to take over a claim whose lease is over, while a [transaction](crate::transaction) that
///   has completed it is still open, or whoever asks whether it has, waits for its end: with [`connect`](Self::connect) for a second at most, and is then told that the work is in
///   progress; with a pool that has no `lock_timeout` for as long as any [answer](Self::timeout).
///
/// # Cancellation
///
/// See [`Store`].
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: PgPool,
    timeout: Duration,
}

/// How long the server may take for a statement, unless it is said: longer than it lets one wait for a lock.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A connection for one statement.
struct Lent {
    connection: PoolConnection<Postgres>,
    /// The answer is there. If nobody waits for it any more it may still come, and whoever would read it first might wait for ever.
    is_answered: bool,
}

/// How often a claim is tried for that seems to be free and then is not.
const TRIES: usize = 8;
/// How long somebody is told to wait for a lease that is over, and yet cannot be taken.
const A_MOMENT: Duration = Duration::from_secs(1);
/// `lock_not_available`: a transaction holds the row for longer than `lock_timeout`.
const LOCKED: &str = "55P03";
/// `admin_shutdown`, `crash_shutdown`: said to a connection that nobody used at the time.
const SHUT_DOWN: [&str; 2] = ["57P01", "57P02"];
/// `undefined_table`.
pub(crate) const NO_TABLE: &str = "42P01";

impl PostgresStore {
    /// A store on a pool of its own, set up as it needs it: up to 16 connections, `READ COMMITTED`, a `lock_timeout` of a second, and no question
    /// before a connection is used. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed.
    pub fn connect(url: &str) -> Result<Self, Error> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.options([
            ("lock_timeout", "1s"),
            ("default_transaction_isolation", "read committed"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false);
        Ok(Self::new(pool.connect_lazy_with(options)))
    }

    /// A store on a pool of yours. Its connections have to be `READ COMMITTED`, and should have a `lock_timeout`, so that those
    /// who wait for a transaction that is long do not use up the pool. sqlx asks a connection whether it lives before it is used, which is a round trip more, unless the pool was made with
    /// `test_before_acquire(false)`. Handlers that take their transactions from the same pool need connections too.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            timeout: TIMEOUT,
        }
    }

    /// How long the server may take for what it is asked at once. After that the store is [unavailable](StoreError::Unavailable) and the connection is closed;
    /// the server may have done what it was asked, or do it yet: a key that is claimed so is given back by the layer when the server answers again, or is, after a lease, one whose outcome
    /// is unknown. Three seconds by default. How long one may wait for a connection is said by the pool;
    /// [`migrate`](Self::migrate) takes its time.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Makes or updates the tables, in the first schema of the search path. May be called by any number of processes, at each start: they wait for each other, whatever their
    /// `lock_timeout`. An index that is missing is made in a transaction, for which claims wait: on a table that is large already, at a quiet hour.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or does not let us.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let connection = &mut *transaction;
        take_turns(&mut *connection).await.map_err(failed)?;
        run(sqlx::query(sql::META).execute(&mut *connection)).await?;
        let version = "SELECT version FROM buttress_idempotency_meta";
        let version: Option<i32> = sqlx::query_scalar(version)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let done = version.map_or(0, |version| version as usize);
        for step in sql::MIGRATIONS.iter().skip(done) {
            run(sqlx::raw_sql(*step).execute(&mut *connection)).await?;
        }
        let set = match version {
            None => "INSERT INTO buttress_idempotency_meta (version, store) VALUES ($1, $2)",
            // The store stays what it is.
            Some(_) => {
                "UPDATE buttress_idempotency_meta SET version = greatest(version, $1) WHERE store <> $2"
            }
        };
        let set = sqlx::query(set)
            .bind(sql::MIGRATIONS.len() as i32)
            .bind(rand::random::<u128>().to_be_bytes().to_vec());
        run(set.execute(&mut *connection)).await?;
        transaction.commit().await.map_err(failed)
    }

    /// For statements that may be repeated: a connection that broke while nobody used it shows when it is used, and after a restart of the server all of
    /// them are such.
    async fn ask<T, F>(&self, mut ask: impl FnMut(Lent) -> F) -> Result<T, Error>
    where
        F: Future<Output = (Lent, Result<T, Error>)>,
    {
        for _ in 0..self.pool.size() {
            match self.ask_once(&mut ask).await {
                Ok(Err(Error::Io(_))) => {}
                Ok(Err(error)) if has_code(&error, &SHUT_DOWN) => {}
                result => return result.unwrap_or_else(late),
            }
        }
        self.ask_once(ask).await.unwrap_or_else(late)
    }

    async fn ask_once<T, F>(&self, ask: impl FnOnce(Lent) -> F) -> Result<Result<T, Error>, Elapsed>
    where
        F: Future<Output = (Lent, Result<T, Error>)>,
    {
        let connection = match self.pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        let lent = Lent {
            connection,
            is_answered: false,
        };
        let (mut lent, answer) = timeout(self.timeout, ask(lent)).await?;
        lent.is_answered = true;
        Ok(answer)
    }

    async fn change(
        &self,
        change: impl Fn() -> Query<'static, Postgres, PgArguments>,
    ) -> Result<(), StoreError> {
        let changed = self
            .ask(|mut lent| {
                let change = change();
                async move {
                    let answer = change.execute(&mut *lent.connection).await;
                    (lent, answer)
                }
            })
            .await;
        held(&changed.map_err(failed)?)
    }
}

/// One process at a time: `IF NOT EXISTS` alone would race. Another may need longer than a connection may wait for a lock. On the tables we wait no longer than that: all who come
/// after us wait behind us.
async fn take_turns(connection: &mut PgConnection) -> Result<(), Error> {
    let set = "SELECT set_config('lock_timeout', $1, true)";
    let timeout = "SELECT current_setting('lock_timeout')";
    let timeout: String = sqlx::query_scalar(timeout)
        .fetch_one(&mut *connection)
        .await?;
    let lock = "SELECT pg_advisory_xact_lock(x'6275747472657373'::bigint)";
    let turn = [
        sqlx::query(set).bind("0"),
        sqlx::query(lock),
        sqlx::query(set).bind(timeout),
    ];
    for step in turn {
        step.execute(&mut *connection).await?;
    }
    Ok(())
}

impl Store for PostgresStore {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        let begun = self.ask(|mut lent: Lent| {
            let request = &request;
            async move {
                let answer = begin(&mut lent.connection, request).await;
                (lent, answer)
            }
        });
        begun.await.map_err(failed)?
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        let found = self.ask(|mut lent: Lent| async move {
            let answer = lookup(&mut lent.connection, request).await;
            (lent, answer)
        });
        let found = found.await.map_err(failed)?;
        found.map_or(Ok(None), |found| found.answer(request))
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        let (key, token) = (*claim.key.as_bytes(), claim.token.to_bytes());
        self.change(|| {
            sqlx::query(sql::RENEW)
                .bind(key)
                .bind(token)
                .bind(millis(lease))
                .bind(millis(ttl))
        })
        .await
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let seized = self.ask(|mut lent: Lent| async move {
            let answer = sqlx::query_as::<_, (i64, i32)>(sql::SEIZE)
                .bind(*claim.key.as_bytes())
                .bind(claim.token.to_bytes())
                .bind(token.to_bytes())
                .bind(millis(lease))
                .fetch_optional(&mut *lent.connection)
                .await;
            (lent, answer)
        });
        match seized.await {
            Ok(Some((fence, n))) => Ok(claim.seized(token, fence as u64, n as u32)),
            // A transaction is about to settle it.
            Err(error) if has_code(&error, &[LOCKED]) => Err(StoreError::Lost),
            Ok(None) => Err(StoreError::Lost),
            Err(error) => Err(failed(error)),
        }
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let (key, token) = (*claim.key.as_bytes(), claim.token.to_bytes());
        let record = record.encode();
        let record = &record[..];
        let completed = self.ask(|mut lent: Lent| async move {
            let answer = sqlx::query(sql::COMPLETE)
                .bind(key)
                .bind(token)
                .bind(record)
                .bind(millis(ttl))
                .execute(&mut *lent.connection)
                .await;
            (lent, answer)
        });
        held(&completed.await.map_err(failed)?)
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        let (key, token) = (*claim.key.as_bytes(), claim.token.to_bytes());
        self.change(|| sqlx::query(sql::ABANDON).bind(key).bind(token))
            .await
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let purged = self.ask_once(|mut lent: Lent| async move {
            let answer = sqlx::query(sql::PURGE)
                .bind(limit)
                .execute(&mut *lent.connection)
                .await;
            (lent, answer)
        });
        let purged = purged.await.unwrap_or_else(late).map_err(failed)?;
        Ok(purged.rows_affected() as usize)
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        let (key, token) = (*claim.key.as_bytes(), claim.token.to_bytes());
        let done = self.ask(|mut lent: Lent| async move {
            let answer = sqlx::query_scalar::<_, bool>(sql::CONFIRM)
                .bind(key)
                .bind(token)
                .fetch_optional(&mut *lent.connection)
                .await;
            (lent, answer)
        });
        match done.await.map_err(failed)? {
            None => Err(StoreError::Lost),
            Some(true) => Ok(Standing::Done),
            Some(false) => Ok(Standing::Running),
        }
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        type Row = (Vec<u8>, Vec<u8>, i64, i32);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.ask(|mut lent: Lent| async move {
            let answer = sqlx::query_as(sql::UNKNOWN)
                .bind(limit)
                .fetch_all(&mut *lent.connection)
                .await;
            (lent, answer)
        });
        let rows: Vec<Row> = rows.await.map_err(failed)?;
        let claims = rows
            .iter()
            .map(|(key, token, fence, n)| claim(key, token, *fence as u64, *n as u32));
        claims.collect()
    }
}

/// On one connection: what else is done with it, before it is lent again, is done once.
async fn begin(
    connection: &mut PgConnection,
    request: &BeginRequest,
) -> Result<Result<Begin, StoreError>, Error> {
    for _ in 0..TRIES {
        if let Some(claimed) = claim_key(connection, request).await? {
            return Ok(Ok(claimed));
        }
        // Gone in between: it is free.
        let Some(found) = lookup(connection, request).await? else {
            continue;
        };
        if let Some(answer) = found.answer(request).transpose() {
            return Ok(answer);
        }
    }
    // Others are always a little faster.
    Ok(Ok(Begin::InProgress(A_MOMENT)))
}

async fn claim_key(
    connection: &mut PgConnection,
    request: &BeginRequest,
) -> Result<Option<Begin>, Error> {
    let claimed = sqlx::query_as::<_, (i64, i32)>(sql::BEGIN)
        .bind(&request.key.as_bytes()[..])
        .bind(&request.fingerprint.as_bytes()[..])
        .bind(request.token.to_bytes())
        .bind(millis(request.lease))
        .bind(millis(request.ttl))
        .bind(request.takes_over())
        .fetch_optional(connection);
    match claimed.await {
        Ok(claimed) => Ok(claimed.map(|(fence, n)| request.claimed(fence as u64, n as u32))),
        Err(error) if has_code(&error, &[LOCKED]) => Ok(Some(Begin::InProgress(A_MOMENT))),
        Err(error) => Err(error),
    }
}

async fn lookup(
    connection: &mut PgConnection,
    request: &BeginRequest,
) -> Result<Option<Found>, Error> {
    type Row = (bool, bool, Option<Vec<u8>>, i64);
    let found = sqlx::query_as::<_, Row>(sql::LOOKUP)
        .bind(&request.key.as_bytes()[..])
        .bind(&request.fingerprint.as_bytes()[..])
        .fetch_optional(connection)
        .await?;
    Ok(found.map(|(done, same_request, record, left)| Found {
        same_request,
        state: if done {
            FoundState::Done(record.unwrap_or_default())
        } else {
            FoundState::Running { left }
        },
    }))
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connection.close_on_drop();
        }
    }
}

fn late<T>(late: Elapsed) -> Result<T, Error> {
    Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, late)))
}

fn held(changed: &PgQueryResult) -> Result<(), StoreError> {
    match changed.rows_affected() {
        0 => Err(StoreError::Lost),
        _ => Ok(()),
    }
}

async fn run(
    statement: impl Future<Output = Result<PgQueryResult, Error>>,
) -> Result<(), StoreError> {
    statement.await.map(drop).map_err(failed)
}

pub(crate) fn failed(error: Error) -> StoreError {
    match error {
        Error::ColumnDecode { .. } | Error::Decode(_) => StoreError::Corrupt(error.into()),
        // `disk_full`.
        error if has_code(&error, &["53100"]) => StoreError::Full,
        error => StoreError::Unavailable(error.into()),
    }
}

pub(crate) fn has_code(error: &Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&&*code))
}
