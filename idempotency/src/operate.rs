//! Resolving by hand what no machine can.

use bytes::Bytes;
use http::{Response, request};

use crate::event::Event;
use crate::keep::recorded;
use crate::key::RecordKey;
use crate::layer::{IdempotencyLayer, Scoped};
use crate::store::{Claim, Origin, Record, Store, StoreError};

impl<St: Store> IdempotencyLayer<St, Scoped> {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.shared.store
    }

    /// What a request with this head is filed under, if it has a key: for support, which knows what a client has sent, to find its claim.
    #[must_use]
    pub fn record_key(&self, head: &request::Parts) -> Option<RecordKey> {
        let settings = &self.shared.settings;
        let key = settings.key(&head.headers).ok().flatten()?;
        Some(RecordKey::new(
            &settings.secret,
            &settings.scope(head),
            head,
            &key,
        ))
    }

    /// Up to `limit` claims whose holders are gone without having said how their work ended. With [`Recovery::Reject`](crate::Recovery::Reject) they stay
    /// refused until somebody has looked.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.shared.store.unknown(limit).await
    }

    /// Says that the work was done, and with what response; it is replayed for a ttl from now on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if somebody was faster; else when the store fails.
    pub async fn mark_done(
        &self,
        claim: &Claim,
        response: Response<Bytes>,
    ) -> Result<(), StoreError> {
        let settings = &self.shared.settings;
        let origin = Origin::default();
        let recorded = recorded(response, &settings.replay_header, &origin);
        let record = Record::Response(recorded, origin);
        let record = settings.cipher.seal(&claim.key, record);
        let store = &self.shared.store;
        store.complete(claim, record, settings.ttl).await?;
        self.settled(Event::Reconciled(claim), claim);
        Ok(())
    }

    /// Says that nothing was done: the key is free.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if somebody was faster; else when the store fails.
    pub async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.shared.store.abandon(claim).await?;
        self.settled(Event::Forgotten(claim), claim);
        Ok(())
    }

    fn settled(&self, event: Event<'_>, claim: &Claim) {
        self.shared.emit(event);
        self.shared.tell_settled(&claim.key);
    }
}
