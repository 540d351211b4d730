//! The statements, for those who run them through another driver. Durations are whole milliseconds, keys and fingerprints 32 bytes, tokens 16 ([`Token::to_bytes`](crate::Token::to_bytes)).
//!
//! They ask for `READ COMMITTED`, and for `synchronous_commit` not to be off.
//!
//! A transaction of such a driver is one for [`commit_with`](crate::Idempotency::commit_with) once it implements [`Transaction`](crate::transaction::Transaction), and its connection
//! [`Connection`](crate::transaction::Connection) with [`COMPLETE_ONCE`]: run by hand beside the layer, that statement files a record of which the layer does not know.

/// The tables, step by step: whoever is at version `n` runs what follows the first `n`. Run them in one transaction, one process at a time.
pub const MIGRATIONS: &[&str] = &[
    "
CREATE SEQUENCE buttress_idempotency_fence;
CREATE TABLE buttress_idempotency (
    key bytea PRIMARY KEY,
    fingerprint bytea NOT NULL,
    token bytea NOT NULL,
    fence bigint NOT NULL,
    attempt integer NOT NULL,
    done boolean NOT NULL,
    lease_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    record bytea
) WITH (fillfactor = 70);
CREATE INDEX buttress_idempotency_expires_at ON buttress_idempotency (expires_at);
",
    "
CREATE INDEX buttress_idempotency_lease_until ON buttress_idempotency (lease_until) WHERE NOT done;
",
];

/// Which version the tables have, and which store they are.
pub const META: &str = "
CREATE TABLE IF NOT EXISTS buttress_idempotency_meta (version integer NOT NULL, store bytea NOT NULL)";

/// Claims a key.
///
/// `$1` key, `$2` fingerprint, `$3` token, `$4` lease, `$5` ttl, `$6` whether to take over a claim whose lease is over. One row, the fence and the
/// attempt, if it is claimed. No row: ask [`LOOKUP`], as a statement of its own, since this one sees what was there when it began.
///
/// What is seen to be done or worked on when it begins is not touched: a duplicate takes no lock and writes nothing. What is not seen then is decided by
/// the conflict.
///
/// A fence is higher than any that the row had, also if the sequence gave it out before another's.
pub const BEGIN: &str = "
INSERT INTO buttress_idempotency AS r
    (key, fingerprint, token, fence, attempt, done, lease_until, expires_at)
SELECT $1::bytea, $2::bytea, $3::bytea, nextval('buttress_idempotency_fence'), 1, false,
    clock_timestamp() + $4 * interval '1 millisecond', clock_timestamp() + $5 * interval '1 millisecond'
WHERE NOT EXISTS (SELECT FROM buttress_idempotency
    WHERE key = $1 AND token <> $3 AND expires_at > clock_timestamp() AND (done OR lease_until > clock_timestamp()))
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    token = excluded.token,
    fence = CASE WHEN r.token = excluded.token THEN r.fence ELSE greatest(r.fence + 1, excluded.fence) END,
    attempt = CASE WHEN r.token = excluded.token THEN r.attempt
        WHEN r.expires_at <= clock_timestamp() THEN 1 ELSE r.attempt + 1 END,
    done = false,
    lease_until = CASE WHEN r.token = excluded.token THEN r.lease_until ELSE excluded.lease_until END,
    expires_at = excluded.expires_at,
    record = NULL
WHERE (NOT r.done AND r.fingerprint = excluded.fingerprint
        AND (r.token = excluded.token OR ($6 AND r.lease_until <= clock_timestamp())))
    OR (r.expires_at <= clock_timestamp() AND (r.done OR r.lease_until <= clock_timestamp()))
RETURNING fence, attempt";

/// What is known of a key: `$1` key, `$2` fingerprint. Whether it is done, whether it is the same request, its record if it is, the rest of its lease.
pub const LOOKUP: &str = "
SELECT done, fingerprint = $2, CASE WHEN fingerprint = $2 THEN record END,
    ceil(extract(epoch FROM lease_until - clock_timestamp()) * 1000)::bigint
FROM buttress_idempotency
WHERE key = $1 AND NOT (expires_at <= clock_timestamp() AND (done OR lease_until <= clock_timestamp()))";

/// Prolongs a lease: `$1` key, `$2` token, `$3` lease, `$4` ttl, for which an outcome that nobody knows is remembered from now on. No row: it is lost.
pub const RENEW: &str = "
UPDATE buttress_idempotency SET lease_until = clock_timestamp() + $3 * interval '1 millisecond',
    expires_at = greatest(expires_at, clock_timestamp() + $4 * interval '1 millisecond')
WHERE key = $1 AND token = $2 AND NOT done";

/// Takes a claim over whose lease is over: `$1` key, `$2` its token, `$3` the new one, `$4` lease. One row, the fence and the attempt. No row: it is lost.
pub const SEIZE: &str = "
UPDATE buttress_idempotency SET token = $3,
    fence = CASE WHEN token = $3 THEN fence ELSE greatest(fence + 1, nextval('buttress_idempotency_fence')) END,
    attempt = CASE WHEN token = $3 THEN attempt ELSE attempt + 1 END,
    lease_until = CASE WHEN token = $3 THEN lease_until ELSE clock_timestamp() + $4 * interval '1 millisecond' END
WHERE key = $1 AND NOT done AND (token = $3 OR (token = $2 AND lease_until <= clock_timestamp()))
RETURNING fence, attempt";

/// Files a record: `$1` key, `$2` token, `$3` record, `$4` ttl. No row: it is lost. What is filed stays when it is done again; so in a transaction of yours
/// run [`COMPLETE_ONCE`].
pub const COMPLETE: &str = "
UPDATE buttress_idempotency SET done = true,
    record = CASE WHEN done THEN record ELSE $3 END,
    expires_at = CASE WHEN done THEN expires_at ELSE clock_timestamp() + $4 * interval '1 millisecond' END
WHERE key = $1 AND token = $2";

/// Files a record in a transaction of yours, which makes effect and record one: `$1` key, `$2` token, `$3` record, `$4` ttl. No row: it is lost, or was
/// filed before, as [`CONFIRM`] tells. Then roll back: a second effect is not for the same key.
pub const COMPLETE_ONCE: &str = "
UPDATE buttress_idempotency SET done = true, record = $3, expires_at = clock_timestamp() + $4 * interval '1 millisecond'
WHERE key = $1 AND token = $2 AND NOT done";

/// Gives a claim back: `$1` key, `$2` token. The row is over, and is purged when nobody can still hold an older fence.
pub const ABANDON: &str = "
UPDATE buttress_idempotency SET token = '', lease_until = clock_timestamp(), expires_at = clock_timestamp()
WHERE key = $1 AND token = $2 AND NOT done";

/// Whether a claim is done: `$1` key, `$2` token. Waits for a transaction that has completed it and not yet ended.
pub const CONFIRM: &str = "
SELECT done FROM buttress_idempotency WHERE key = $1 AND token = $2 FOR UPDATE";

/// Claims whose holders are gone, those first that have been so for longest: `$1` how many. Key, token, fence, attempt.
pub const UNKNOWN: &str = "
SELECT key, token, fence, attempt FROM buttress_idempotency
WHERE NOT done AND lease_until <= statement_timestamp() AND expires_at > statement_timestamp()
ORDER BY lease_until LIMIT $1";

/// Deletes `$1` rows that have been over for a minute.
pub const PURGE: &str = "
DELETE FROM buttress_idempotency WHERE key = ANY(ARRAY(
    SELECT key FROM buttress_idempotency
    WHERE expires_at <= statement_timestamp() - interval '1 minute'
        AND (done OR lease_until <= statement_timestamp())
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))";

/// Which store a database holds: 16 random bytes.
pub const STORE: &str = "SELECT store FROM buttress_idempotency_meta";
