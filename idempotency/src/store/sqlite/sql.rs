//! The statements, for those who run them through another driver. Durations are whole milliseconds, keys and fingerprints 32 bytes, tokens 16 ([`Token::to_bytes`](crate::Token::to_bytes));
//! times are milliseconds since 1970. They ask for SQLite 3.42 or later.
//!
//! A transaction of such a driver is one for [`commit_with`](crate::Idempotency::commit_with) once it implements [`Transaction`](crate::transaction::Transaction), and its connection
//! [`Connection`](crate::transaction::Connection) with [`COMPLETE_ONCE`]: run by hand beside the layer, that statement files a record of which the layer does not know.

/// Milliseconds since 1970, by SQLite's clock.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

/// The tables, step by step: whoever is at version `n` runs what follows the first `n`, in one transaction.
pub const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE buttress_idempotency_fence (last INTEGER NOT NULL);
INSERT INTO buttress_idempotency_fence VALUES (0);
CREATE TABLE buttress_idempotency (
    key BLOB PRIMARY KEY NOT NULL,
    fingerprint BLOB NOT NULL,
    token BLOB NOT NULL,
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    done INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    record BLOB
);
CREATE INDEX buttress_idempotency_expires_at ON buttress_idempotency (expires_at);
",
    "
CREATE INDEX buttress_idempotency_lease_until ON buttress_idempotency (lease_until) WHERE NOT done;
",
];

/// Which version the tables have, and which store they are.
pub const META: &str = "
CREATE TABLE IF NOT EXISTS buttress_idempotency_meta (version INTEGER NOT NULL, store BLOB NOT NULL)";

/// The next fence. In one `BEGIN IMMEDIATE` transaction with [`BEGIN`].
pub const FENCE: &str = "UPDATE buttress_idempotency_fence SET last = last + 1";

/// Claims a key, with the fence of [`FENCE`], in the same transaction.
///
/// `?1` key, `?2` fingerprint, `?3` token, `?4` lease, `?5` ttl, `?6` whether to take over a claim whose lease is over. One row, the fence and the
/// attempt, if it is claimed. No row: ask [`LOOKUP`].
pub const BEGIN: &str = concat!(
    "
INSERT INTO buttress_idempotency AS r
    (key, fingerprint, token, fence, attempt, done, lease_until, expires_at)
SELECT ?1, ?2, ?3, last, 1, 0, ", now!(), " + ?4, ", now!(), " + ?5 FROM buttress_idempotency_fence WHERE true
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    token = excluded.token,
    fence = CASE WHEN r.token = excluded.token THEN r.fence ELSE excluded.fence END,
    attempt = CASE WHEN r.token = excluded.token THEN r.attempt
        WHEN r.expires_at <= ", now!(), " THEN 1 ELSE r.attempt + 1 END,
    done = 0,
    lease_until = CASE WHEN r.token = excluded.token THEN r.lease_until ELSE excluded.lease_until END,
    expires_at = excluded.expires_at,
    record = NULL
WHERE (NOT r.done AND r.fingerprint = excluded.fingerprint
        AND (r.token = excluded.token OR (?6 AND r.lease_until <= ", now!(), ")))
    OR (r.expires_at <= ", now!(), " AND (r.done OR r.lease_until <= ", now!(), "))
RETURNING fence, attempt"
);

/// What is known of a key: `?1` key, `?2` fingerprint. Whether it is done, whether it is the same request, its record if it is, the rest of its lease, and its token.
pub const LOOKUP: &str = concat!(
    "
SELECT done, fingerprint = ?2, CASE WHEN fingerprint = ?2 THEN record END, lease_until - ",
    now!(),
    ", token
FROM buttress_idempotency
WHERE key = ?1 AND NOT (expires_at <= ",
    now!(),
    " AND (done OR lease_until <= ",
    now!(),
    "))"
);

/// Prolongs a lease: `?1` key, `?2` token, `?3` lease, `?4` ttl, for which an outcome that nobody knows is remembered from now on. No row: it is lost.
pub const RENEW: &str = concat!(
    "
UPDATE buttress_idempotency SET lease_until = ",
    now!(),
    " + ?3,
    expires_at = max(expires_at, ",
    now!(),
    " + ?4)
WHERE key = ?1 AND token = ?2 AND NOT done"
);

/// Takes a claim over whose lease is over, with the fence of [`FENCE`], in the same transaction: `?1` key, `?2` its token, `?3` the new one, `?4` lease. One row, the fence and
/// the attempt. No row: it is lost.
pub const SEIZE: &str = concat!(
    "
UPDATE buttress_idempotency SET token = ?3,
    fence = CASE WHEN token = ?3 THEN fence ELSE (SELECT last FROM buttress_idempotency_fence) END,
    attempt = CASE WHEN token = ?3 THEN attempt ELSE attempt + 1 END,
    lease_until = CASE WHEN token = ?3 THEN lease_until ELSE ",
    now!(),
    " + ?4 END
WHERE key = ?1 AND NOT done AND (token = ?3 OR (token = ?2 AND lease_until <= ",
    now!(),
    "))
RETURNING fence, attempt"
);

/// Files a record: `?1` key, `?2` token, `?3` record, `?4` ttl. No row: it is lost. What is filed stays when it is done again; so in a transaction of yours
/// run [`COMPLETE_ONCE`].
pub const COMPLETE: &str = concat!(
    "
UPDATE buttress_idempotency SET done = 1,
    record = CASE WHEN done THEN record ELSE ?3 END,
    expires_at = CASE WHEN done THEN expires_at ELSE ",
    now!(),
    " + ?4 END
WHERE key = ?1 AND token = ?2"
);

/// Files a record in a transaction of yours, which makes effect and record one: `?1` key, `?2` token, `?3` record, `?4` ttl. No row: it is lost, or was
/// filed before, as [`CONFIRM`] tells. Then roll back: a second effect is not for the same key.
pub const COMPLETE_ONCE: &str = concat!(
    "
UPDATE buttress_idempotency SET done = 1, record = ?3, expires_at = ",
    now!(),
    " + ?4
WHERE key = ?1 AND token = ?2 AND NOT done"
);

/// Gives a claim back: `?1` key, `?2` token.
pub const ABANDON: &str =
    "DELETE FROM buttress_idempotency WHERE key = ?1 AND token = ?2 AND NOT done";

/// Whether a claim is done: `?1` key, `?2` token. In a `BEGIN IMMEDIATE` transaction, which waits for the one that may be about to complete it.
pub const CONFIRM: &str = "SELECT done FROM buttress_idempotency WHERE key = ?1 AND token = ?2";

/// Claims whose holders are gone, those first that have been so for longest: `?1` how many. Key, token, fence, attempt.
///
/// The plus keeps it off the index on `expires_at`, by which nearly all rows would be read.
pub const UNKNOWN: &str = concat!(
    "
SELECT key, token, fence, attempt FROM buttress_idempotency
WHERE NOT done AND lease_until <= ",
    now!(),
    " AND +expires_at > ",
    now!(),
    "
ORDER BY lease_until LIMIT ?1"
);

/// Deletes `?1` rows that are over.
pub const PURGE: &str = concat!(
    "
DELETE FROM buttress_idempotency WHERE key IN (
    SELECT key FROM buttress_idempotency
    WHERE expires_at <= ",
    now!(),
    " AND (done OR lease_until <= ",
    now!(),
    ")
    ORDER BY expires_at LIMIT ?1)"
);

/// Which store a database holds: 16 random bytes.
pub const STORE: &str = "SELECT store FROM buttress_idempotency_meta";
