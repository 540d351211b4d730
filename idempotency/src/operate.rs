//! Resolving by hand what no machine can.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, request};
use tokio::time::{Instant, sleep};

use crate::event::Event;
use crate::keep::recorded;
use crate::key::RecordKey;
use crate::layer::{IdempotencyLayer, Scoped};
use crate::store::{Claim, Origin, Record, Store, StoreError, Token};
use crate::withdrawal::pauses;

impl<St: Store> IdempotencyLayer<St, Scoped> {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.shared.store
    }

    /// What a request with this head is filed under, if it has a key, by processes with this [`secret`](Self::secret); see [`record_keys`](Self::record_keys).
    #[must_use]
    pub fn record_key(&self, head: &request::Parts) -> Option<RecordKey> {
        self.record_keys(head).first().copied()
    }

    /// All that a request with this head may be filed under: none if it has no key; else first by the [`secret`](Self::secret), and then by each
    /// [former one](Self::former_secret). For support, which knows what a client has sent, to find its claim.
    #[must_use]
    pub fn record_keys(&self, head: &request::Parts) -> Vec<RecordKey> {
        let settings = &self.shared.settings;
        let Some(key) = settings.key(&head.headers).ok().flatten() else {
            return Vec::new();
        };
        let (scope, route) = (settings.scope(head), settings.route(head));
        let secrets = std::iter::once(&settings.secret).chain(&settings.former_secrets);
        secrets
            .map(|secret| RecordKey::new(secret.as_bytes(), &scope, head, &route, &key))
            .collect()
    }

    /// Up to `limit` claims whose holders are gone without having said how their work ended. With [`Recovery::Reject`](crate::Recovery::Reject) they stay
    /// refused until somebody has looked, or a ttl has passed since their holder was last heard of.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.shared.store.unknown(limit).await
    }

    /// Says that the work was done, and with what response, of which [`Trailers`](crate::Trailers) may be in the extensions; it is replayed for a ttl from now on. The claim is taken over for it: a holder that wakes again can settle
    /// nothing, and commit nothing under it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if somebody was faster, its holder lives after all, or has come to its end; else when the store fails. Once the claim is taken over it is asked some times more: if it
    /// fails still, nobody knows of the claim until a lease has passed, and then [`unknown`](Self::unknown) lists it again.
    pub async fn mark_done(
        &self,
        claim: &Claim,
        response: Response<Bytes>,
    ) -> Result<(), StoreError> {
        let settings = &self.shared.settings;
        let recorded = recorded(response, settings.names());
        let record = Record::Response(recorded, Origin::default());
        let record = settings.cipher.seal(&claim.key, record);
        let store = &self.shared.store;
        let ours = store.seize(claim, Token::random(), settings.lease).await?;
        // What is filed twice stays what it is.
        insist(settings.lease, || {
            store.complete(&ours, record.clone(), settings.ttl)
        })
        .await?;
        self.settled(Event::Reconciled(&ours), &ours);
        Ok(())
    }

    /// Says that nothing was done, and that nothing will be: the key is free. The claim is taken over for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if somebody was faster, its holder lives after all, or has come to its end; else when the store fails, as with [`mark_done`](Self::mark_done).
    pub async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let (store, lease) = (&self.shared.store, self.shared.settings.lease);
        let since = Instant::now();
        let ours = store.seize(claim, Token::random(), lease).await?;
        self.give_back(&ours, since).await?;
        self.settled(Event::Forgotten(&ours), &ours);
        Ok(())
    }

    /// Within the lease nobody else can have come: a claim that is lost then was given back by a call whose answer was.
    async fn give_back(&self, ours: &Claim, since: Instant) -> Result<(), StoreError> {
        let (store, lease) = (&self.shared.store, self.shared.settings.lease);
        match insist(lease, || store.abandon(ours)).await {
            Err(StoreError::Lost) if since.elapsed() < lease => Ok(()),
            answer => answer,
        }
    }

    fn settled(&self, event: Event<'_>, claim: &Claim) {
        self.shared.emit(event);
        self.shared.tell_settled(&claim.key);
    }
}

/// A store that fails is asked some times more: nobody else knows of a claim that was just taken over.
async fn insist<F>(lease: Duration, ask: impl Fn() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut pauses = pauses(lease);
    for _ in 0..3 {
        match ask().await {
            Err(error) if error.may_pass() => sleep(pauses.next()).await,
            answer => return answer,
        }
    }
    ask().await
}
