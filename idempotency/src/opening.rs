//! Claiming a key, or finding out what is known of it.

use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, request};
use tokio::time::{Instant, sleep};

use buttress_wire::Protocol;

use crate::event::Event;
use crate::fingerprint::{Beside, Fingerprint};
use crate::held::Held;
use crate::key::{ClientKey, RecordKey};
use crate::progress::Progress;
use crate::scopes::{Place, Room};
use crate::settings::{OnConflict, OnStoreError, Secret};
use crate::shared::Shared;
use crate::store::{Begin, BeginRequest, Claim, Recovery, Store, StoreError, Token};
use crate::withdrawal::Withdrawal;

/// A keyed request without its inner service, which need not be `Sync` and so is not borrowed across an await.
pub(crate) struct Keyed<St> {
    pub(crate) call: Arc<Call<St>>,
}

/// What is known of a keyed request; shared by its work and by whoever may drop it. One count of references for all that they need.
pub(crate) struct Call<St> {
    pub(crate) shared: Arc<Shared<St>>,
    key: RecordKey,
    /// The keys that it may be filed under by processes with another secret.
    former: Box<[(RecordKey, Secret)]>,
    /// Where claims are counted by it.
    scope: Option<Box<[u8]>>,
    /// What its body is hashed with.
    pub(crate) beside: Beside,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) protocol: Protocol,
    pub(crate) progress: Progress,
}

/// What a key is asked for with.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) recovery: Recovery,
}

impl Asked {
    /// Without the will to take over.
    fn cautiously(&self) -> Self {
        Self {
            recovery: Recovery::Reject,
            ..*self
        }
    }

    /// What is answered by who knew so much and could not go on with it: nothing is done beside that.
    fn stopped_at(&self, known: Begin) -> Begin {
        match (known, self.recovery) {
            (Begin::OutcomeUnknown, Recovery::Reexecute) => Begin::InProgress(A_MOMENT),
            (known, _) => known,
        }
    }
}

pub(crate) enum Opened {
    /// As many of its scope are running as may.
    Crowded,
    /// The key is not ours.
    Found(Begin),
    /// As many of the layer are running as may.
    Full,
    /// The key is ours, with room among the running claims, by a lease that runs from when it was asked for. To be [held](Held) at once.
    Ours(Claim, Room, Instant),
}

/// The store has failed.
pub(crate) struct Failed<St: Store> {
    pub(crate) error: StoreError,
    pub(crate) beside: Option<Box<Unneeded<St>>>,
}

impl<St: Store> From<StoreError> for Failed<St> {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            beside: None,
        }
    }
}

/// A claim that there may be, under which nothing is done: dropping it withdraws it.
pub(crate) struct Unneeded<St: Store> {
    call: Arc<Call<St>>,
    claim: Option<(RecordKey, Token)>,
}

impl<St: Store> Unneeded<St> {
    /// The work begins beside it: it keeps others off.
    pub(crate) fn keep(mut self) {
        self.claim = None;
    }
}

impl<St: Store> Drop for Unneeded<St> {
    fn drop(&mut self) {
        if let Some((key, token)) = self.claim {
            self.call.withdraw(Withdrawal::of(key, token));
        }
    }
}

/// How long a waiting request leaves the store alone: at first, and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How long somebody is told to wait whose claim met another one's.
const A_MOMENT: Duration = Duration::from_secs(1);

impl<St> Keyed<St> {
    pub(crate) fn new(
        shared: Arc<Shared<St>>,
        head: &request::Parts,
        key: &ClientKey<'_>,
        beside: Beside,
        protocol: Protocol,
        request_id: Option<&HeaderValue>,
    ) -> Self {
        let settings = &shared.settings;
        let (scope, route) = (settings.scope(head), settings.route(head));
        let filed = |secret: &Secret| RecordKey::new(secret.as_bytes(), &scope, head, &route, key);
        let key = filed(&settings.secret);
        // Under its own secret it would find itself.
        let former = settings.former_secrets.iter();
        let former = former.map(|secret| (filed(secret), *secret));
        let former = former.filter(|(former, _)| *former != key);
        let (former, scope) = (
            former.collect(),
            settings.running.as_ref().map(|_| scope[..].into()),
        );
        Self {
            call: Arc::new(Call {
                shared,
                key,
                former,
                scope,
                beside,
                request_id: request_id.cloned(),
                protocol,
                progress: Progress::default(),
            }),
        }
    }
}

impl<St> Deref for Keyed<St> {
    type Target = Call<St>;

    fn deref(&self) -> &Call<St> {
        &self.call
    }
}

impl<St> Call<St> {
    /// Whether a request whose key could not be claimed goes to the inner service unprotected.
    pub(crate) fn may_bypass(&self, asked: &Asked, error: &StoreError) -> bool {
        let settings = &self.shared.settings;
        settings.on_store_error == OnStoreError::Bypass
            // There is a record: something was done. Or the store works, and has no room: whoever fills it must not get past it.
            && !matches!(error, StoreError::Corrupt(_) | StoreError::Full)
            // Whoever takes over what nobody knows of, to ask about it, does nothing without having asked.
            && asked.recovery == settings.recovery
            // Nobody waits for it any more.
            && !self.progress.is_gone()
    }
}

impl<St> Clone for Keyed<St> {
    fn clone(&self) -> Self {
        Self {
            call: Arc::clone(&self.call),
        }
    }
}

impl<St: Store> Keyed<St> {
    /// Claims the key, or finds out what is known of it; waits for the first request where that is chosen.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each argument twice"
    )]
    pub(crate) fn open<'a>(
        &'a self,
        asked: &'a Asked,
    ) -> impl Future<Output = Result<Opened, Failed<St>>> + Send {
        async move {
            match self.try_open(asked).await {
                Ok(Opened::Found(first @ Begin::InProgress(_))) => {
                    let OnConflict::Wait { at_most, waiters } = self.shared.settings.on_conflict
                    else {
                        return Ok(Opened::Found(first));
                    };
                    // As many wait as may.
                    let Some(_waiting) = self.shared.common.wait(waiters) else {
                        return Ok(Opened::Found(first));
                    };
                    self.shared.emit(Event::Waiting);
                    // Another state machine of this size is not for those who need not wait.
                    Box::pin(self.wait(asked, at_most, first)).await
                }
                opened => opened,
            }
        }
    }

    async fn try_open(&self, asked: &Asked) -> Result<Opened, Failed<St>> {
        let is_crowded = self.is_crowded();
        let in_layer = if is_crowded { None } else { self.shared.run() };
        let Some(in_layer) = in_layer else {
            let found = Box::pin(self.look(asked)).await?;
            let refused = if is_crowded {
                Opened::Crowded
            } else {
                Opened::Full
            };
            return Ok(found.map_or(refused, |(_, found)| Opened::Found(found)));
        };
        self.call.progress.begin();
        // What cannot fail to file a record is in this process: it has answered when it was asked.
        let may_wait = self.shared.store.can_fail_to_file();
        let since = may_wait.then(Instant::now);
        let given_up = {
            let begun = self.begin(asked).await;
            let Ok(Begin::Claimed(claim)) = begun else {
                self.call.progress.end();
                return begun.map(Opened::Found);
            };
            let since = since.unwrap_or_else(Instant::now);
            let entered = self.enter();
            let is_ours = entered.is_ok();
            let room = Room {
                _in_layer: in_layer,
                _in_scope: entered.unwrap_or_default(),
            };
            if is_ours {
                return Ok(Opened::Ours(claim, room, since));
            }
            Box::pin(self.clone().give_way(claim, asked.fingerprint, room, since))
        };
        given_up.await;
        Ok(Opened::Crowded)
    }

    /// Others of its scope were faster.
    async fn give_way(self, claim: Claim, fingerprint: Fingerprint, room: Room, since: Instant) {
        let mut held = Held::new(self, claim, fingerprint, room, since);
        held.forget().await;
        held.keyed().call.progress.end();
    }

    fn is_crowded(&self) -> bool {
        match (&self.shared.settings.running, &self.call.scope) {
            (Some(scopes), Some(scope)) => scopes.is_full(scope),
            _ => false,
        }
    }

    /// A place among the running claims of the scope, where there is a limit.
    fn enter(&self) -> Result<Option<Place>, ()> {
        match (&self.shared.settings.running, &self.call.scope) {
            (Some(scopes), Some(scope)) => scopes.enter(scope).map(Some).ok_or(()),
            _ => Ok(None),
        }
    }

    /// Waits until the first request is no longer in progress, as `first` says that it is. Looks while it waits, and claims nothing.
    async fn wait(
        &self,
        asked: &Asked,
        at_most: Duration,
        first: Begin,
    ) -> Result<Opened, Failed<St>> {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        let mut known = Opened::Found(first);
        // Its holder may have claimed it under a former key.
        let mut waiter = self.shared.common.waiters.listen(self.call.key);
        loop {
            // From here on no change is missed; what has changed before is found.
            let (told, changed) = (waiter.told(), self.shared.store.changed(waiter.key()));
            let left = match self.look(asked).await {
                Ok(Some((key, Begin::InProgress(_)))) if key != *waiter.key() => {
                    drop((told, changed));
                    waiter = self.shared.common.waiters.listen(key);
                    continue;
                }
                Ok(Some((_, found @ Begin::InProgress(left)))) => {
                    known = Opened::Found(found);
                    left
                }
                // It stays so, and needs no claim to be told.
                Ok(Some((_, found))) => return Ok(Opened::Found(found)),
                Ok(None) => match self.try_open(asked).await? {
                    // Somebody else was faster.
                    Opened::Found(found @ Begin::InProgress(left)) => {
                        known = Opened::Found(found);
                        left
                    }
                    // Whoever has settled the key may be about to give back their room.
                    refused @ (Opened::Full | Opened::Crowded) => {
                        known = refused;
                        A_MOMENT
                    }
                    opened => return Ok(opened),
                },
                // What is known is the answer, and nothing is done beside the one that is running.
                Err(error) => {
                    self.shared.emit(Event::StoreFailed(&error));
                    return Ok(known);
                }
            };
            let patience = at_most.saturating_sub(begun.elapsed());
            if patience.is_zero() || self.call.progress.is_gone() {
                return Ok(known);
            }
            // A lease that is over in no time is not asked for in no time.
            let nap = pause.min(left.max(Duration::from_millis(1)));
            first_of(told, changed, sleep(nap.min(patience))).await;
            pause = (2 * pause).min(LAST_PAUSE);
        }
    }

    async fn begin(&self, asked: &Asked) -> Result<Begin, Failed<St>> {
        let request = self.request(self.call.key, asked);
        let token = request.token;
        // Apart, and in a box: nearly every request has done with the first answer. That is gone by then, or this would be as much larger.
        let more = {
            let begun = self.shared.store.begin(request).await;
            if begun.is_ok() && self.call.former.is_empty() {
                return Ok(self.read(&self.call.key, begun?)?);
            }
            Box::pin(self.begun(asked, token, begun))
        };
        more.await
    }

    async fn begun(
        &self,
        asked: &Asked,
        token: Token,
        begun: Result<Begin, StoreError>,
    ) -> Result<Begin, Failed<St>> {
        match begun {
            // Also who takes over looks: whoever was there before may have died between claiming and looking.
            Ok(Begin::Claimed(claim)) => Box::pin(self.mind_former(asked, claim)).await,
            Ok(Begin::OutcomeUnknown) => Ok(Box::pin(self.mind_former_record(asked)).await?),
            Ok(found) => Ok(self.read(&self.call.key, found)?),
            Err(error @ StoreError::Unavailable(_)) => {
                Err(self.failed_beside(error, self.call.key, token))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// There may be a claim under this token.
    fn failed_beside(&self, error: StoreError, key: RecordKey, token: Token) -> Failed<St> {
        Failed {
            error,
            beside: Some(Box::new(Unneeded {
                call: Arc::clone(&self.call),
                claim: Some((key, token)),
            })),
        }
    }

    /// Whoever uses another secret claims first and looks then, as we do: of two that meet, at least one sees the other.
    async fn mind_former(&self, asked: &Asked, ours: Claim) -> Result<Begin, Failed<St>> {
        let store = &self.shared.store;
        let mut begun = None;
        for (key, _) in &self.call.former {
            match store.look(&self.request(*key, &asked.cautiously())).await {
                Ok(None) => {}
                // Under another one there may be a record; and who works is to be waited for rather than taken over.
                Ok(Some(known @ Begin::InProgress(_))) => begun = Some((*key, known)),
                Ok(Some(known @ Begin::OutcomeUnknown)) => {
                    begun = begun.or(Some((*key, known)));
                }
                // It stays so.
                Ok(Some(found)) => {
                    let _ = self.give_up(&ours).await;
                    return Ok(self.read(key, found)?);
                }
                Err(error) => return self.stop_before(asked, &ours, begun, error).await,
            }
        }
        if let Some((key, known)) = begun
            && let Some(found) = self.go_on_with(key, asked, known, &ours).await?
        {
            return Ok(found);
        }
        Ok(Begin::Claimed(ours))
    }

    /// A former key could not be looked at: ours is given back, and what is known of others is the answer.
    async fn stop_before(
        &self,
        asked: &Asked,
        ours: &Claim,
        begun: Option<(RecordKey, Begin)>,
        error: StoreError,
    ) -> Result<Begin, Failed<St>> {
        if let Some((_, known)) = begun {
            let _ = self.give_up(ours).await;
            self.shared.emit(Event::StoreFailed(&error));
            return Ok(asked.stopped_at(known));
        }
        let left = self.leave_as_found(ours).await;
        Err(match left.is_err_and(|left| left.may_pass()) {
            true => self.failed_beside(error, ours.key, ours.token),
            false => error.into(),
        })
    }

    /// What was begun under a former key, as is `known`, goes on under it. Ours is held until that is settled, so that nobody comes between them. `None` where
    /// there is nothing under it any more, and ours has been begun before: that goes on.
    async fn go_on_with(
        &self,
        key: RecordKey,
        asked: &Asked,
        known: Begin,
        ours: &Claim,
    ) -> Result<Option<Begin>, StoreError> {
        let request = self.request(key, asked);
        let token = request.token;
        let found = self.shared.store.begin(request).await;
        if let Ok(Begin::Claimed(theirs)) = &found
            && theirs.attempt == 1
            && ours.attempt > 1
        {
            let _ = self.give_up(theirs).await;
            return Ok(None);
        }
        let given_back = self.give_up(ours).await;
        match (given_back, found) {
            // It took so long that ours was lost: somebody may have come between them.
            (Err(_), Ok(Begin::Claimed(theirs))) => {
                let _ = self.give_up(&theirs).await;
                Ok(Some(Begin::InProgress(A_MOMENT)))
            }
            (_, Ok(found)) => self.read(&key, found).map(Some),
            (_, Err(error @ StoreError::Corrupt(_))) => Err(error),
            (_, Err(error)) => {
                self.call.withdraw(Withdrawal::of(key, token));
                self.shared.emit(Event::StoreFailed(&error));
                Ok(Some(asked.stopped_at(known)))
            }
        }
    }

    /// Settles a claim under which nothing was done, and will be: where that fails, a task tries again.
    async fn give_up(&self, claim: &Claim) -> Result<(), StoreError> {
        let left = self.leave_as_found(claim).await;
        if left.as_ref().is_err_and(StoreError::may_pass) {
            self.call.withdraw(Withdrawal::of(claim.key, claim.token));
        }
        left
    }

    /// Settles a claim under which nothing was done. Where it was begun before, nobody knows still what was done then.
    async fn leave_as_found(&self, claim: &Claim) -> Result<(), StoreError> {
        if claim.attempt == 1 {
            self.shared.store.abandon(claim).await
        } else {
            let store = &self.shared.store;
            store.renew(claim, Duration::ZERO, Duration::ZERO).await
        }
    }

    /// Nobody knows how the work under our key ended: it need never have begun, since who claims it looks for a record under the former ones only then.
    async fn mind_former_record(&self, asked: &Asked) -> Result<Begin, StoreError> {
        for (key, _) in &self.call.former {
            let request = self.request(*key, &asked.cautiously());
            match self.shared.store.look(&request).await {
                Ok(Some(found @ Begin::Replay(_))) => return self.read(key, found),
                Ok(_) => {}
                // It is known that nobody knows.
                Err(error) => self.shared.emit(Event::StoreFailed(&error)),
            }
        }
        Ok(Begin::OutcomeUnknown)
    }

    /// What is known, and under which key.
    async fn look(&self, asked: &Asked) -> Result<Option<(RecordKey, Begin)>, StoreError> {
        let former = self.call.former.iter().map(|(key, _)| key);
        let mut unknown = None;
        for key in std::iter::once(&self.call.key).chain(former) {
            let request = self.request(*key, asked);
            match self.shared.store.look(&request).await? {
                None => {}
                // Under another key there may be a record.
                Some(Begin::OutcomeUnknown) => unknown = unknown.or(Some(*key)),
                Some(found) => return Ok(Some((*key, self.read(key, found)?))),
            }
        }
        Ok(unknown.map(|key| (key, Begin::OutcomeUnknown)))
    }

    /// What has come to the key of a claim that is no longer ours; nothing if that was given back.
    pub(crate) async fn winner(
        &self,
        key: &RecordKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<Begin>, StoreError> {
        let asked = Asked {
            fingerprint,
            recovery: Recovery::Reject,
        };
        let found = self.shared.store.look(&self.request(*key, &asked)).await?;
        found.map(|found| self.read(key, found)).transpose()
    }

    fn request(&self, key: RecordKey, asked: &Asked) -> BeginRequest {
        let settings = &self.shared.settings;
        BeginRequest {
            key,
            fingerprint: self.secret_of(&key).hide(asked.fingerprint),
            token: Token::random(),
            lease: settings.lease,
            ttl: settings.ttl,
            recovery: asked.recovery,
        }
    }

    fn secret_of(&self, key: &RecordKey) -> &Secret {
        let former = self.call.former.iter().find(|(former, _)| former == key);
        former.map_or(&self.shared.settings.secret, |(_, secret)| secret)
    }

    /// Opens what was sealed.
    fn read(&self, key: &RecordKey, found: Begin) -> Result<Begin, StoreError> {
        match found {
            Begin::Replay(record) => {
                let record = self.shared.settings.cipher.open(key, record)?;
                Ok(Begin::Replay(record))
            }
            found => Ok(found),
        }
    }
}

async fn first_of(a: impl Future, b: impl Future, c: impl Future) {
    let (mut a, mut b, mut c) = (pin!(a), pin!(b), pin!(c));
    std::future::poll_fn(|cx| {
        let ready = a.as_mut().poll(cx).is_ready()
            || b.as_mut().poll(cx).is_ready()
            || c.as_mut().poll(cx).is_ready();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
