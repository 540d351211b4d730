//! Where the keys of orders are: in this process, or in the Postgres that several share.

use std::any::Any;
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, MemoryStore, PostgresStore, Record, RecordKey, Standing, Store,
    StoreError, Token,
};

use tokio::time::error::Elapsed;

use crate::storefront::catalogue::Patience;
use crate::under_way::Kept;

#[derive(Clone, Debug)]
pub(crate) enum KeyStore {
    Memory(MemoryStore),
    Postgres(PostgresStore, Patience),
}

/// The same call to whichever it is.
macro_rules! either {
    ($store:expr, $inside:ident => $call:expr) => {
        match $store {
            KeyStore::Memory($inside) => $call.await,
            KeyStore::Postgres($inside, patience) => in_time(*patience, $call).await,
        }
    };
}

/// A Postgres that does not answer in time is as good as gone. What it was asked may have been done, or be done yet: a key that is claimed so is nobody's until its lease is over.
async fn in_time<T>(
    patience: Patience,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |elapsed: Elapsed| StoreError::Unavailable(elapsed.into());
    patience.in_time(asked, late).await
}

impl KeyStore {
    /// How many keys are kept; of those in Postgres nobody keeps count.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Self::Memory(store) => Some(store.snapshot().keys),
            Self::Postgres(..) => None,
        }
    }

    /// What it keeps in this process.
    pub(crate) fn kept(&self) -> Kept {
        match self {
            Self::Memory(store) => Kept::keys(store),
            Self::Postgres(..) => Kept::default(),
        }
    }

    /// How many of them are claimed, and not settled.
    pub(crate) fn running(&self) -> Option<usize> {
        match self {
            Self::Memory(store) => Some(store.running()),
            Self::Postgres(..) => None,
        }
    }
}

impl Store for KeyStore {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        either!(self, store => store.begin(request))
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        either!(self, store => store.look(request))
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        either!(self, store => store.renew(claim, lease, ttl))
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        either!(self, store => store.seize(claim, token, lease))
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        either!(self, store => store.complete(claim, record, ttl))
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        either!(self, store => store.abandon(claim))
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        either!(self, store => store.purge(limit))
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        either!(self, store => store.confirm(claim))
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        either!(self, store => store.unknown(limit))
    }

    async fn changed(&self, key: &RecordKey) {
        match self {
            Self::Memory(store) => store.changed(key).await,
            // Nothing is asked.
            Self::Postgres(store, _) => store.changed(key).await,
        }
    }

    fn can_fail_to_file(&self) -> bool {
        match self {
            Self::Memory(store) => store.can_fail_to_file(),
            Self::Postgres(store, _) => store.can_fail_to_file(),
        }
    }

    /// The one inside, of whose database a handler's transaction is.
    fn as_any(&self) -> &dyn Any {
        match self {
            Self::Memory(store) => store.as_any(),
            Self::Postgres(store, _) => store.as_any(),
        }
    }
}
