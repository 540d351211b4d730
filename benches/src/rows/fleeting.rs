//! A store that forgets.

use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, MemoryStore, Record, RecordKey, Standing, Store, StoreError, Token,
};

/// The memory store, in which a record is over as soon as it is filed: a key is new each time, and the store does not grow. A layer does not do that: no request would be done once.
#[derive(Clone, Debug, Default)]
pub struct Fleeting(MemoryStore);

impl Store for Fleeting {
    // Not `async`: that would keep what it is given twice.
    fn begin(
        &self,
        request: BeginRequest,
    ) -> impl Future<Output = Result<Begin, StoreError>> + Send {
        self.0.begin(request)
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        self.0.look(request).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        self.0.renew(claim, lease, ttl).await
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        self.0.seize(claim, token, lease).await
    }

    fn complete(
        &self,
        claim: &Claim,
        record: Record,
        _: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.0.complete(claim, record, Duration::ZERO)
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.0.abandon(claim).await
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.purge(limit).await
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        self.0.confirm(claim).await
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.0.unknown(limit).await
    }

    async fn changed(&self, key: &RecordKey) {
        self.0.changed(key).await;
    }

    fn can_fail_to_file(&self) -> bool {
        self.0.can_fail_to_file()
    }
}
