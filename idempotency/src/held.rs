//! A claim that is held, and what becomes of it whatever happens to its holder.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use buttress_wire::Recorded;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::event::Event;
use crate::fingerprint::Fingerprint;
use crate::handler::{Grant, Granted, Idempotency};
use crate::opening::Keyed;
use crate::pauses::Pauses;
use crate::scopes::Room;
use crate::shared::{Common, Shared};
use crate::store::{Claim, Origin, Record, Standing, Store, StoreError};
use crate::transaction::Settled;
use crate::withdrawal::{AT_ONCE, RETRIES, Withdrawal, pauses};

/// A claim under which work is done. It is settled in exactly one way: completed, given back, or, when it is dropped, left to recovery as
/// an outcome that nobody knows.
pub(crate) struct Held<St: Store> {
    pub(crate) grant: Arc<Granted<St>>,
    /// Stops the heartbeat. There is none before work was found pending.
    heartbeat: OnceLock<DropGuard>,
    /// Among the running claims. Given back before anybody is told that it is settled: they may have waited for the key, and need room themselves.
    room: Option<Room>,
    /// Whether somebody who is gone may have had an effect under this key before.
    inherited: bool,
    settled: bool,
}

impl<St: Store> Held<St> {
    pub(crate) fn new(
        keyed: Keyed<St>,
        claim: Claim,
        fingerprint: Fingerprint,
        room: Room,
        since: Instant,
    ) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "it is told to people, and decides nothing"
        )]
        let origin = Origin::new(SystemTime::now(), keyed.request_id.clone());
        let inherited = claim.attempt > 1;
        let held = Self {
            grant: Arc::new(Granted {
                keyed,
                grant: Grant::new(claim, fingerprint, origin, since),
            }),
            heartbeat: OnceLock::new(),
            room: Some(room),
            inherited,
            settled: false,
        };
        let shared = held.grant.shared();
        shared.emit(Event::Claimed(&held.grant.claim));
        held
    }

    /// The call that holds it.
    pub(crate) fn keyed(&self) -> &Keyed<St> {
        &self.grant.keyed
    }

    /// What the handler sees of it.
    pub(crate) fn seen(&self) -> Idempotency {
        Idempotency {
            ledger: Arc::clone(&self.grant) as _,
        }
    }

    /// Keeps the lease once work is found pending.
    pub(crate) fn keep_while<T>(&self, work: Poll<T>) -> Poll<T> {
        if work.is_pending() {
            self.beat();
        }
        work
    }

    /// Has the lease renewed from here on, by a task of its own: work may block its thread, and a caller or a reader may let it wait for
    /// longer than a lease.
    pub(crate) fn beat(&self) {
        self.heartbeat.get_or_init(|| {
            let stop = CancellationToken::new();
            let heartbeat = heartbeat(Arc::clone(&self.grant), stop.clone());
            self.grant.shared().common.tasks.spawn(heartbeat);
            stop.drop_guard()
        });
    }

    /// Files the response, or, without one, that there was one. What is held is over then.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each argument twice"
    )]
    pub(crate) fn complete(
        &mut self,
        mut response: Option<Recorded>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move {
            self.settled = true;
            self.grant.settle();
            let shared = self.grant.shared();
            let (claim, ttl, mut kept) = (&self.grant.claim, shared.settings.ttl, None);
            // In a block of its own: what is alive at an await has its place in the future.
            let filed = {
                let names = shared.settings.names();
                let other = response.as_ref();
                let other = other.and_then(|response| names.without_fresh_trailers(response));
                if other.is_some() {
                    response = other;
                }
                let record = Record::of(response, self.grant.origin.clone());
                let record = shared.settings.cipher.seal(&claim.key, record);
                if shared.store.can_fail_to_file() {
                    kept = Some(Box::new(record.clone()));
                }
                shared.store.complete(claim, record, ttl)
            }
            .await;
            tell_filed(shared, claim, &filed);
            let room = self.room.take();
            match (&filed, kept) {
                (Ok(()) | Err(StoreError::Lost), _) | (Err(_), None) => drop(room),
                (Err(_), Some(record)) => self.try_again_later(record, room),
            }
            shared.tell_settled(&claim.key);
            drop(self.heartbeat.take());
            filed
        }
    }

    /// Gives out all that is held; nothing of it is left here.
    pub(crate) fn hand_over(&mut self) -> Self {
        Self {
            grant: Arc::clone(&self.grant),
            heartbeat: std::mem::take(&mut self.heartbeat),
            room: self.room.take(),
            inherited: self.inherited,
            settled: std::mem::replace(&mut self.settled, true),
        }
    }

    /// How far the work is known to have come, where its handler has tried to complete the claim and does not know.
    pub(crate) async fn confirm(&self) -> Result<Standing, StoreError> {
        self.grant.shared().store.confirm(&self.grant.claim).await
    }

    /// Its handler has completed it.
    pub(crate) fn committed(&mut self) {
        self.settled_as(|claim| Event::Completed(claim));
    }

    /// Somebody else has it.
    pub(crate) fn lost(&mut self) {
        self.settled_as(|claim| Event::Lost(claim));
    }

    fn settled_as(&mut self, event: impl FnOnce(&Claim) -> Event<'_>) {
        self.settled = true;
        self.grant.settle();
        self.room = None;
        drop(self.heartbeat.take());
        let (shared, claim) = (self.grant.shared(), &self.grant.claim);
        shared.tell_settled(&claim.key);
        shared.emit(event(claim));
    }

    /// Somebody has found out that nothing was done before.
    pub(crate) fn is_first_after_all(&mut self) {
        self.inherited = false;
    }

    /// The work had no effect: the key is free. Where it was begun before, nobody knows still what came of that, and the claim is left to recovery.
    pub(crate) async fn forget(&mut self) {
        self.settled = true;
        drop(self.heartbeat.take());
        if self.inherited {
            self.grant.settle();
            return orphan(&self.grant, self.room.take()).await;
        }
        let (shared, claim) = (self.grant.shared(), &self.grant.claim);
        let given_back = shared.store.abandon(claim).await;
        let is_ours = !self.grant.left(shared.settings.lease).is_zero();
        self.grant.settle();
        self.room = None;
        shared.tell_settled(&claim.key);
        shared.emit(match &given_back {
            Ok(()) => Event::Forgotten(claim),
            // Nobody else can have come yet: the store was asked twice, and the first answer was lost.
            Err(StoreError::Lost) if is_ours => Event::Forgotten(claim),
            Err(StoreError::Lost) => Event::Lost(claim),
            Err(error) => Event::StoreFailed(error),
        });
        if given_back.is_err_and(|error| error.may_pass()) {
            self.keyed().call.withdraw(Withdrawal {
                claim: claim.clone(),
                is_first: true,
                is_told: true,
            });
        }
    }

    /// The effect is there and its record is not: the claim is kept, and filing is tried again, soon at first. A store that stays away is given up in the end, and the claim
    /// left to its lease. It has its room until then: what is kept of it is kept in memory.
    fn try_again_later(&self, record: Box<Record>, room: Option<Room>) {
        let grant = Arc::clone(&self.grant);
        self.grant.shared().common.tasks.spawn(async move {
            let (shared, claim) = (grant.shared(), &grant.claim);
            let (lease, ttl) = (shared.settings.lease, shared.settings.ttl);
            let mut pauses = pauses(lease);
            for _ in 0..RETRIES {
                sleep(pauses.next()).await;
                let filed = shared
                    .store
                    .complete(claim, Record::clone(&record), ttl)
                    .await;
                tell_filed(shared, claim, &filed);
                match filed {
                    Ok(()) | Err(StoreError::Lost) => {
                        drop(room);
                        return shared.tell_settled(&claim.key);
                    }
                    Err(_) => drop(shared.store.renew(claim, lease, ttl).await),
                }
            }
            shared.emit(Event::Orphaned(claim));
        });
    }
}

fn tell_filed<St>(shared: &Shared<St>, claim: &Claim, filed: &Result<(), StoreError>) {
    shared.emit(match filed {
        Ok(()) => Event::Completed(claim),
        Err(StoreError::Lost) => Event::Lost(claim),
        Err(error) => Event::StoreFailed(error),
    });
}

/// Renews the lease three times as often as is needed, until it is lost, or nobody needs it any more. What fails is tried again soon. When a lease has passed without an answer, its
/// handler is told; it is tried still, for nobody else need have come.
async fn heartbeat<St: Store>(grant: Arc<Granted<St>>, stop: CancellationToken) {
    let shared = grant.shared();
    let third = shared.settings.lease / 3;
    let (mut pauses, mut pause) = (Pauses::up_to(third), None);
    while !stop.is_cancelled() {
        let renewed = stop.run_until_cancelled(renew(&grant, pause, &stop)).await;
        pause = match renewed {
            None | Some(Ok(())) => {
                pauses = Pauses::up_to(third);
                None
            }
            // It was settled while the store was asked.
            Some(Err(_)) if stop.is_cancelled() => None,
            // The layer completes it, or its handler does in a transaction; or they have.
            Some(Err(StoreError::Lost))
                if grant.is_settled() || grant.settlement.get() != Settled::Open =>
            {
                Some(third)
            }
            Some(Err(StoreError::Lost)) => {
                grant.lost().cancel();
                return shared.emit(Event::Lost(&grant.claim));
            }
            // The lease may last until the store is back.
            Some(Err(error)) => {
                shared.emit(Event::StoreFailed(&error));
                Some(pauses.next())
            }
        };
    }
}

/// Renews the lease after a pause, or, without one, when a third of it has passed; and no later than it may be over. No longer than that is an answer waited for.
async fn renew<St: Store>(
    grant: &Granted<St>,
    pause: Option<Duration>,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let shared = grant.shared();
    let lease = shared.settings.lease;
    let left = || Some(grant.left(lease)).filter(|left| !left.is_zero());
    let until_due = || grant.left(lease).saturating_sub(lease / 3 * 2);
    let pause = pause.unwrap_or_else(until_due);
    sleep(left().map_or(pause, |left| pause.min(left))).await;
    // Both may have happened before this was polled.
    if stop.is_cancelled() {
        return Ok(());
    }
    grant.tell_if_over(lease);
    let asked = Instant::now();
    let ttl = shared.settings.ttl;
    let renewed = shared.store.renew(&grant.claim, lease, ttl);
    match timeout(left().unwrap_or(lease / 3), renewed).await {
        Ok(Ok(())) => grant.heard(asked),
        Ok(Err(error)) => return Err(error),
        Err(late) => {
            grant.tell_if_over(lease);
            return Err(StoreError::Unavailable(late.into()));
        }
    }
    Ok(())
}

/// Ends the lease at once, so that recovery decides about the next request and nobody has to wait for it. A store that fails is asked again in a task, until what is left of the lease
/// is over by itself. Its room is given back when the store has answered: so many are asked for at most, and what is asked again has a bound of its own.
async fn orphan<St: Store>(grant: &Arc<Granted<St>>, room: Option<Room>) {
    if try_to_orphan(grant, room).await {
        return;
    }
    let later = Arc::clone(grant);
    grant.shared().common.tasks.spawn(async move {
        if !orphan_later(&later).await {
            tell_orphaned(&later);
        }
    });
}

/// Asks until the store does, or a lease has passed. False when it is left to its lease.
async fn orphan_later<St: Store>(grant: &Granted<St>) -> bool {
    let shared = grant.shared();
    let Some(_place) = Common::withdraw(&shared.common, AT_ONCE) else {
        return false;
    };
    let lease = shared.settings.lease;
    let (begun, mut pauses) = (Instant::now(), pauses(lease));
    for _ in 0..RETRIES {
        let pause = pauses.next();
        if begun.elapsed().saturating_add(pause) >= lease {
            break;
        }
        sleep(pause).await;
        if try_to_orphan(grant, None).await {
            return true;
        }
    }
    false
}

/// Ends the lease, and tells what came of that. False when the store fails.
async fn try_to_orphan<St: Store>(grant: &Granted<St>, room: Option<Room>) -> bool {
    let shared = grant.shared();
    let ttl = shared.settings.ttl;
    let orphaned = shared.store.renew(&grant.claim, Duration::ZERO, ttl).await;
    drop(room);
    match orphaned {
        Ok(()) => tell_orphaned(grant),
        Err(StoreError::Lost) => {
            shared.tell_settled(&grant.claim.key);
            shared.emit(Event::Lost(&grant.claim));
        }
        Err(error) => {
            shared.emit(Event::StoreFailed(&error));
            return false;
        }
    }
    true
}

fn tell_orphaned<St>(grant: &Granted<St>) {
    let shared = grant.shared();
    shared.tell_settled(&grant.claim.key);
    shared.emit(Event::Orphaned(&grant.claim));
}

/// Nobody knows how far the work came: its lease ends now, and recovery decides about the next request.
impl<St: Store> Drop for Held<St> {
    fn drop(&mut self) {
        // What its handler has committed needs no recovery, even if it has panicked since.
        if self.settled || self.grant.settlement.get() == Settled::Committed {
            return;
        }
        // It would renew what is given up here.
        drop(self.heartbeat.take());
        let room = self.room.take();
        let grant = Arc::clone(&self.grant);
        let tasks = &self.grant.shared().common.tasks;
        tasks.spawn(async move { orphan(&grant, room).await });
    }
}
