//! Where claims and records are kept.

#[cfg(feature = "test-util")]
pub mod conformance;
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod purge;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(crate) mod remote;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod row;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod table;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

pub use self::memory::{MemorySnapshot, MemoryStore, MemoryStoreBuilder};
pub use self::purge::Purge;
pub use self::record::{Origin, Record};
use crate::fingerprint::Fingerprint;
use crate::key::RecordKey;

/// Keeps claims and records.
///
/// # What an implementer promises
///
/// - [`begin`](Self::begin) is **one atomic step**: look and claim, never look and then claim. Of any number of callers at most one gets
///   [`Begin::Claimed`] for a key until its claim is completed, given back, or has outlived its lease.
/// - Every other method acts only if the record still carries the claim's token, and says [`StoreError::Lost`] otherwise, having changed
///   nothing. A zombie never overwrites.
/// - `begin`, `renew` and `complete` may be repeated with the same token after a lost reply: the second call finds what the first did.
/// - Fences grow strictly with each claim of a key. Leases and ttls are measured by the store's own clock.
/// - `purge` never takes a claim whose lease runs, nor a record before its ttl.
///
/// - What was answered is durable, as far as the store says that it is: a restart of a store outside of the process loses nothing.
///
/// The suite in [`conformance`](crate::conformance) (feature `test-util`) checks it.
///
/// # By hand
///
/// [`unknown`](Self::unknown) lists the claims whose holders are gone. Whoever has found out how the work ended [seizes](Self::seize) the claim, and then
/// [completes](Self::complete) it or [gives it back](Self::abandon). [`StoreError::Lost`] says that somebody was faster.
///
/// # Cancellation
///
/// A call that is dropped may or may not have been done: repeat it with the same token.
pub trait Store: Send + Sync + 'static {
    /// Claims a key, or tells what is known of it.
    fn begin(
        &self,
        request: BeginRequest,
    ) -> impl Future<Output = Result<Begin, StoreError>> + Send;

    /// What [`begin`](Self::begin) would find, without claiming anything: `None` where it would claim. The token of the request does not count.
    fn look(
        &self,
        request: &BeginRequest,
    ) -> impl Future<Output = Result<Option<Begin>, StoreError>> + Send;

    /// Makes the lease end so long from now, and has the claim remembered for `ttl` from now at least, if it is never completed. A zero lease says that the holder has gone without
    /// knowing how its work ended.
    fn renew(
        &self,
        claim: &Claim,
        lease: Duration,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes a claim over whose lease is over, for `token` and so long, whatever was asked under it: who resolves it by hand has to be the one who holds it, and whoever held it
    /// before can settle nothing any more. May be repeated with the same token: a claim that `token` holds is told with its fence and attempt, and is as it was. So who has asked for a
    /// claim and got no answer finds out by this whether it was made.
    ///
    /// [`StoreError::Lost`] if the claim is somebody else's, is done, or its lease runs.
    fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Files the record; it is replayed for `ttl`.
    fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the claim back, as if it had never been: only for work that is known to have had no effect.
    fn abandon(&self, claim: &Claim) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes up to `limit` records that have outlived their ttl. Tells how many.
    fn purge(&self, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// How far the work under `claim` is known to have come, now and for good: where a transaction may still be about to complete the claim,
    /// this waits for its end. [`StoreError::Lost`] if the claim is somebody else's, or gone.
    fn confirm(&self, claim: &Claim) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// Up to `limit` claims that were neither completed nor given back before their lease was over, in no particular order.
    fn unknown(&self, limit: usize) -> impl Future<Output = Result<Vec<Claim>, StoreError>> + Send;

    /// A hint for those who wait: may be ready once what is known of `key` has changed since this was called, and may be too early, or never be.
    fn changed(&self, key: &RecordKey) -> impl Future<Output = ()> + Send {
        let _ = key;
        std::future::pending()
    }

    /// Whether [`complete`](Self::complete) can fail for another reason than that the claim is [lost](StoreError::Lost), so that it is worth being tried again, and
    /// whoever calls it keeps a second record for that. What fails in a store that says no is left to the lease of its claim.
    fn can_fail_to_file(&self) -> bool {
        true
    }

    /// The store that a transaction has to be of: itself. What wraps a store, to count its calls, gives the one inside.
    fn as_any(&self) -> &dyn Any
    where
        Self: Sized,
    {
        self
    }
}

/// How far work under a claim has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Its record is filed.
    Done,
    /// The claim is held, whether or not its lease is over.
    Running,
}

/// What [`Store::begin`] is asked.
#[derive(Clone, Debug)]
pub struct BeginRequest {
    /// The key.
    pub key: RecordKey,
    /// What the request says.
    pub fingerprint: Fingerprint,
    /// Who asks: random, new for each request.
    pub token: Token,
    /// How long the claim is good without being renewed.
    pub lease: Duration,
    /// How long a claim that is never completed is remembered; from when its holder was last heard of, where that [renews](Store::renew) it.
    pub ttl: Duration,
    /// What to do about a claim whose holder is gone.
    pub recovery: Recovery,
}

/// What becomes of a claim that has outlived its lease: its holder has crashed, or has said that it does not know. A response that is a stream of events (`text/event-stream`) has settled its claim before
/// its body runs: what becomes of that is not looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Recovery {
    /// The next request does the work again: at least once.
    #[default]
    Reexecute,
    /// Requests are refused until somebody has looked: at most once. For a ttl after the holder was last heard of: then the key is forgotten, as any other.
    Reject,
}

/// What [`Store::begin`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// The key is the caller's now.
    Claimed(Claim),
    /// Somebody works on it, for so long at least.
    InProgress(Duration),
    /// The key stands for another request.
    Mismatch,
    /// Somebody worked on it and is gone, and nobody knows how far it came.
    OutcomeUnknown,
    /// It is done.
    Replay(Record),
}

/// A key that is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The key.
    pub key: RecordKey,
    /// Who holds it.
    pub token: Token,
    /// Grows with every claim of the key: hand it to what must not take orders from a zombie.
    pub fence: u64,
    /// How often the work has been begun, this time included.
    pub attempt: u32,
}

/// Who holds a claim: 128 random bits. Whoever knows them can settle it, and so they are not printed.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Token(pub u128);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token that nobody else has: of a generator that the operating system has seeded.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// As it stands in databases: the number, its most significant byte first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The one of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Why a store could not do as asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// What is stored cannot be read.
    Corrupt(Box<dyn Error + Send + Sync>),
    /// There is no room for another key.
    Full,
    /// The claim is somebody else's now, or gone.
    Lost,
    /// The store cannot be reached, or does not answer.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Whether the same may be done later: a store that has no room may have some again, too.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Full | Self::Unavailable(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt(_) => "a stored record cannot be read",
            Self::Full => "the store has no room for another key",
            Self::Lost => "the claim is no longer held",
            Self::Unavailable(_) => "the store is not available",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(error) | Self::Unavailable(error) => Some(&**error),
            Self::Full | Self::Lost => None,
        }
    }
}
