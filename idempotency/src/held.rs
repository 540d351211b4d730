//! A claim that is held, and what becomes of it whatever happens to its holder.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::layer::Shared;
use crate::store::{BeginRequest, Claim, Record, Store, StoreError};

/// A claim under which work is done. It is settled in exactly one way: completed, given back, or, when it is dropped, left to recovery as
/// an outcome that nobody knows.
pub(crate) struct Held<St: Store> {
    shared: Arc<Shared<St>>,
    pub(crate) claim: Claim,
    /// What it was claimed with.
    pub(crate) request: BeginRequest,
    /// Fires when the lease is lost.
    pub(crate) lost: CancellationToken,
    settled: bool,
}

impl<St: Store> Held<St> {
    pub(crate) fn new(shared: &Arc<Shared<St>>, claim: Claim, request: BeginRequest) -> Self {
        shared.emit(Event::Claimed);
        let lost = CancellationToken::new();
        Self {
            shared: Arc::clone(shared),
            claim,
            request,
            lost,
            settled: false,
        }
    }

    /// Runs `work`, renewing the lease while it is pending.
    pub(crate) async fn keep_alive<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut heartbeat = pin!(self.heartbeat());
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            // Its timer is only made once the work has been found pending.
            let _ = heartbeat.as_mut().poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Renews the lease three times as often as is needed, for ever.
    fn heartbeat(&self) -> impl Future<Output = ()> + Send + use<St> {
        heartbeat(
            Arc::clone(&self.shared),
            self.claim.clone(),
            self.lost.clone(),
        )
    }

    /// Lets the lease be renewed by a task of its own, for as long as the guard lives: for a body whose reader may be slow.
    pub(crate) fn keep_alive_apart(&self) -> tokio_util::sync::DropGuard {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let heartbeat = self.heartbeat();
        self.shared.tasks.spawn(async move {
            stopped.run_until_cancelled(heartbeat).await;
        });
        stop.drop_guard()
    }

    /// Files the record.
    pub(crate) async fn complete(mut self, record: Record) -> Result<(), StoreError> {
        self.settled = true;
        let ttl = self.shared.settings.ttl;
        let result = self
            .shared
            .store
            .complete(&self.claim, record.clone(), ttl)
            .await;
        match &result {
            Ok(()) => self.shared.emit(Event::Completed),
            Err(StoreError::Lost) => self.shared.emit(Event::Lost),
            Err(_) => self.try_again_later(record),
        }
        result
    }

    /// The work had no effect: the key is free.
    pub(crate) async fn forget(mut self) {
        self.settled = true;
        match self.shared.store.abandon(&self.claim).await {
            Ok(()) => self.shared.emit(Event::Forgotten),
            Err(StoreError::Lost) => self.shared.emit(Event::Lost),
            // Its lease will end.
            Err(_) => self.shared.emit(Event::StoreFailed),
        }
    }

    /// The effect is there and its record is not: the claim is kept, and filing is tried again while the lease can be renewed.
    fn try_again_later(&self, record: Record) {
        self.shared.emit(Event::StoreFailed);
        let (shared, claim) = (Arc::clone(&self.shared), self.claim.clone());
        self.shared.tasks.spawn(async move {
            let settings = &shared.settings;
            for _ in 0..RETRIES {
                tokio::time::sleep(settings.lease / 3).await;
                match shared
                    .store
                    .complete(&claim, record.clone(), settings.ttl)
                    .await
                {
                    Ok(()) => return shared.emit(Event::Completed),
                    Err(StoreError::Lost) => return shared.emit(Event::Lost),
                    Err(_) => drop(shared.store.renew(&claim, settings.lease).await),
                }
            }
            shared.emit(Event::OutcomeUnknown);
        });
    }
}

/// How often filing a record is tried again, a third of a lease apart.
const RETRIES: usize = 30;

async fn heartbeat<St: Store>(shared: Arc<Shared<St>>, claim: Claim, lost: CancellationToken) {
    let lease = shared.settings.lease;
    loop {
        tokio::time::sleep(lease / 3).await;
        match shared.store.renew(&claim, lease).await {
            Ok(()) => {}
            Err(StoreError::Lost) => {
                shared.emit(Event::Lost);
                lost.cancel();
                return std::future::pending().await;
            }
            // The lease may last until the store is back.
            Err(_) => shared.emit(Event::StoreFailed),
        }
    }
}

/// Nobody knows how far the work came: its lease ends now, and recovery decides about the next request.
impl<St: Store> Drop for Held<St> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (shared, claim) = (Arc::clone(&self.shared), self.claim.clone());
        self.shared.tasks.spawn(async move {
            let _ = shared.store.renew(&claim, std::time::Duration::ZERO).await;
            shared.emit(Event::OutcomeUnknown);
        });
    }
}
