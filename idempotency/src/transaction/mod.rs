//! Effect and record in one transaction: exactly one effect, whatever is killed.
//!
//! A handler that writes to the database that also holds the store completes its claim in the same transaction, by
//! [`Idempotency::commit_with`](crate::Idempotency::commit_with). Either both are there or neither is: a crash at any moment leaves a claim without an
//! effect, which the next request takes over, or an effect with its record, which is replayed.
//!
//! # What it rests upon
//!
//! - The claim is completed only if it still carries our token. Whoever was slow, and whose claim was taken over, rolls back.
//! - A `COMMIT` whose answer was lost is looked up by the token, over another connection, which waits for the transaction's end.
//! - The response is read to its end before, up to the layer's limit for recorded bodies, while the transaction is open. Over it a tombstone is filed and the
//!   body streams on.
//!
//! Take the transaction when the claim is held, and not before: its snapshot must not be older. On Postgres let it be `READ COMMITTED`, which is the default: at `REPEATABLE READ` or
//! `SERIALIZABLE` it cannot complete a claim whose lease was renewed since its snapshot, and so has to be shorter than a third of a lease. A layer between this one and the handler must not change
//! the response, nor take its extensions away, for the record is what the handler gave, and by one of them it is told from other responses: whoever has committed one and answers another is
//! not believed, and the client gets what was filed.
//!
//! The error of a transaction that was rolled back says that nothing happened *in the database*: a handler that knows of no other effect answers with
//! [`NoEffect`](crate::NoEffect), and the key is free at once. Use [`Recovery::Reexecute`](crate::Recovery::Reexecute), the default: here it is safe.

mod commit;
#[cfg(feature = "postgres")]
mod postgres;
mod settlement;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

pub(crate) use self::commit::Ledger;
pub(crate) use self::settlement::{Completion, Settled, Settlement};
use crate::store::{Claim, Record, Store, StoreError};

type BoxError = Box<dyn Error + Send + Sync>;

/// A transaction: `sqlx::Transaction`. Dropping one rolls it back.
pub trait Transaction: Send {
    /// What runs its statements.
    type Connection: Connection;

    /// What runs its statements.
    fn connection(&mut self) -> &mut Self::Connection;

    /// Whether it is a savepoint inside of another one, which may yet be rolled back when it is committed.
    fn is_nested(&self) -> bool;

    /// Commits. After an error nobody knows whether it was done.
    fn commit(self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Rolls back, and is done when that is done, or cannot be.
    fn rollback(self) -> impl Future<Output = ()> + Send;
}

/// What runs the statements of a transaction.
pub trait Connection: Send {
    /// The store whose claims it can complete.
    type Store: Store;

    /// Completes the claim, to be seen once the transaction is committed, if it is.
    ///
    /// # Errors
    ///
    /// [`CommitError::NoTransaction`] where there is none; [`CommitError::Lost`] when the claim is somebody else's; [`CommitError::Settled`] when it is completed, by us; [`CommitError::OtherStore`] when this is no connection to where `store` keeps its
    /// claims; [`CommitError::Failed`] when the database did not do it.
    fn complete(
        &mut self,
        store: &Self::Store,
        claim: &Claim,
        record: &Record,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// Why effect and record were not committed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// The body of the response broke. Rolled back.
    Body(BoxError),
    /// The database did not do it. Rolled back; it may be tried again with a new transaction.
    Failed(BoxError),
    /// The claim is somebody else's. Rolled back; whatever the handler answers, its client gets what the other one has come to.
    Lost,
    /// The transaction is inside of another one, and committing it settles nothing. Rolled back.
    Nested,
    /// The connection is in no transaction that was begun through sqlx: the record would stand before the effect, and without it if that failed. Nothing was done.
    NoTransaction,
    /// The transaction is not one of the database that holds the claim. Rolled back.
    OtherStore,
    /// The claim was settled before, by a transaction whose commit need not have been answered: a second effect is not for the same key. Rolled back.
    Settled,
    /// The connection broke while it was committed, and the store could not be asked since. When the handler has answered, the layer asks once more. Committed: its client gets what was
    /// filed, whatever the handler answers. Rolled back: the handler's answer is treated like any other. When the store cannot tell, its client gets a 503, and the next request learns the truth.
    Unknown(StoreError),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body(_) => "the body of the response broke",
            Self::Failed(_) => "the transaction failed",
            Self::Lost => "the claim is no longer held",
            Self::Nested => "the transaction is inside of another one",
            Self::NoTransaction => "the connection is in no transaction",
            Self::OtherStore => "the transaction is not one of the store's database",
            Self::Settled => "the claim was settled before",
            Self::Unknown(_) => "nobody knows whether the transaction was committed",
        })
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) | Self::Failed(error) => Some(&**error),
            Self::Unknown(error) => Some(error),
            Self::Lost | Self::Nested | Self::NoTransaction | Self::OtherStore | Self::Settled => {
                None
            }
        }
    }
}

/// How many transactions are open on a connection, one inside the other.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn depth<DB: sqlx::Database>(connection: &DB::Connection) -> usize {
    // sqlx gives it out nowhere else.
    use sqlx_core::transaction::TransactionManager;
    DB::TransactionManager::get_transaction_depth(connection)
}
