//! A claim that is held, and what becomes of it whatever happens to its holder.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::event::Event;
use crate::layer::Shared;
use crate::store::{BeginRequest, Claim, Record, Standing, Store, StoreError};
use crate::transaction::{Settled, Settlement};

/// A claim under which work is done. It is settled in exactly one way: completed, given back, or, when it is dropped, left to recovery as
/// an outcome that nobody knows.
pub(crate) struct Held<St: Store> {
    shared: Arc<Shared<St>>,
    pub(crate) claim: Claim,
    /// What it was claimed with.
    pub(crate) request: BeginRequest,
    /// Fires when the lease is lost.
    pub(crate) lost: CancellationToken,
    /// What the handler makes of it by itself.
    pub(crate) settlement: Arc<Settlement>,
    /// Stops the heartbeat. There is none before work was found pending.
    heartbeat: OnceLock<DropGuard>,
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
            settlement: Arc::default(),
            heartbeat: OnceLock::new(),
            settled: false,
        }
    }

    /// Runs `work`, and keeps the lease once it was found pending.
    pub(crate) async fn keep_alive<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            let poll = work.as_mut().poll(cx);
            if poll.is_pending() {
                self.beat();
            }
            poll
        })
        .await
    }

    /// Has the lease renewed from here on, by a task of its own: work may block its thread, and a caller or a reader may let it wait for
    /// longer than a lease.
    pub(crate) fn beat(&self) {
        self.heartbeat.get_or_init(|| {
            let stop = CancellationToken::new();
            let (shared, claim) = (Arc::clone(&self.shared), self.claim.clone());
            let ends = Ends {
                stop: stop.clone(),
                lost: self.lost.clone(),
                settlement: Arc::clone(&self.settlement),
            };
            let heartbeat = heartbeat(shared, claim, ends);
            self.shared.tasks.spawn(heartbeat);
            stop.drop_guard()
        });
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

    /// How the claim stands when the handler has answered: most often it is still to be settled.
    pub(crate) async fn standing(&self) -> Result<Standing, StoreError> {
        match self.settlement.get() {
            Settled::Open => Ok(Standing::Running),
            Settled::Committed => Ok(Standing::Done),
            Settled::Lost => Err(StoreError::Lost),
            Settled::Pending => self.shared.store.confirm(&self.claim).await,
        }
    }

    /// The handler has settled it, or somebody else has.
    pub(crate) fn settled(mut self, event: Event) {
        self.settled = true;
        self.shared.emit(event);
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

/// How a heartbeat ends.
struct Ends {
    stop: CancellationToken,
    lost: CancellationToken,
    settlement: Arc<Settlement>,
}

/// Renews the lease three times as often as is needed, until it is lost, or nobody needs it any more.
async fn heartbeat<St: Store>(shared: Arc<Shared<St>>, claim: Claim, ends: Ends) {
    let Ends {
        stop,
        lost,
        settlement,
    } = ends;
    let lease = shared.settings.lease;
    while !stop.is_cancelled() {
        let renewed = stop.run_until_cancelled(async {
            tokio::time::sleep(lease / 3).await;
            // Both may have happened before this was polled.
            if stop.is_cancelled() {
                return Ok(());
            }
            shared.store.renew(&claim, lease).await
        });
        match renewed.await {
            None | Some(Ok(())) => {}
            // It was settled while the store was asked.
            Some(Err(_)) if stop.is_cancelled() => {}
            // Its handler completes it, or has, in a transaction.
            Some(Err(StoreError::Lost)) if settlement.get() != Settled::Open => {}
            Some(Err(StoreError::Lost)) => {
                shared.emit(Event::Lost);
                return lost.cancel();
            }
            // The lease may last until the store is back.
            Some(Err(_)) => shared.emit(Event::StoreFailed),
        }
    }
}

/// Nobody knows how far the work came: its lease ends now, and recovery decides about the next request.
impl<St: Store> Drop for Held<St> {
    fn drop(&mut self) {
        // What its handler has committed needs no recovery, even if it has panicked since.
        if self.settled || self.settlement.get() == Settled::Committed {
            return;
        }
        // It would renew what is given up here.
        drop(self.heartbeat.take());
        let (shared, claim) = (Arc::clone(&self.shared), self.claim.clone());
        self.shared.tasks.spawn(async move {
            let _ = shared.store.renew(&claim, std::time::Duration::ZERO).await;
            shared.emit(Event::OutcomeUnknown);
        });
    }
}
