//! Completing a claim from within its handler.

use std::any::Any;
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use buttress_wire::{Outcome, Recorded, Recording, into_bytes};
use bytes::Bytes;
use http::{Response, response};
use http_body::{Body, Frame};

use super::{BoxError, CommitError, Completion, Connection, Settled, Transaction};
use crate::body::IdempotentBody;
use crate::cipher::Cipher;
use crate::handler::{Grant, Granted, Idempotency};
use crate::keep::{Fields, Names, recorded_headers};
use crate::shared::Apart;
use crate::store::{Record, Standing, Store, StoreError};
use crate::streaming::Streaming;

/// What a handler needs of its call and the layer, whatever the store.
pub(crate) trait Ledger: Send + Sync {
    fn grant(&self) -> &Grant;
    fn store(&self) -> &dyn Any;
    fn lease(&self) -> Duration;
    fn ttl(&self) -> Duration;
    fn max_recorded_body(&self) -> usize;
    fn cipher(&self) -> &Cipher;
    fn names(&self) -> Names<'_>;
    fn apart(&self) -> Apart;
}

impl<St: Store> Ledger for Granted<St> {
    fn grant(&self) -> &Grant {
        &self.grant
    }

    fn store(&self) -> &dyn Any {
        self.shared().store.as_any()
    }

    fn lease(&self) -> Duration {
        self.shared().settings.lease
    }

    fn ttl(&self) -> Duration {
        self.shared().settings.ttl
    }

    fn max_recorded_body(&self) -> usize {
        self.shared().settings.max_recorded_body
    }

    fn cipher(&self) -> &Cipher {
        &self.shared().settings.cipher
    }

    fn names(&self) -> Names<'_> {
        self.shared().settings.names()
    }

    fn apart(&self) -> Apart {
        self.shared().apart()
    }
}

impl Idempotency {
    /// Completes the claim with `response` in `transaction` and commits it: the effect and its record are there together, or not at all. Give the response
    /// that comes back to the layer; it files nothing more. Its body is read first, as far as it is recorded, while the transaction is open; of a stream of events nothing is
    /// ([`Keep`](crate::Keep)). Of a handler that answers something else the client gets what was filed, as a replay.
    ///
    /// # Errors
    ///
    /// Each of them says that the transaction was rolled back, but for [`CommitError::Unknown`].
    ///
    /// # Cancellation
    ///
    /// Dropped before it commits, it rolls back. Dropped while it commits, the layer asks the store how it ended before it trusts anything; the next request
    /// for the key learns the truth either way.
    pub async fn commit_with<T, B>(
        &self,
        mut transaction: T,
        response: Response<B>,
    ) -> Result<Response<IdempotentBody<B>>, CommitError>
    where
        T: Transaction,
        B: Body + Send,
        B::Error: Into<BoxError>,
    {
        let completed = async {
            let store = self.store::<T::Connection>()?;
            if transaction.is_nested() {
                return Err(CommitError::Nested);
            }
            let whole = Whole::read(response, self).await?;
            if !self.grant().settlement.begin() {
                return Err(self.settled_before());
            }
            let completed = self.complete(transaction.connection(), store, &whole.recorded);
            let completion = completed
                .await
                .inspect_err(|error| self.rolled_back(error))?;
            Ok((store, whole, completion))
        };
        match completed.await {
            Ok((store, whole, completion)) => {
                self.commit(transaction, store).await?;
                Ok(whole.response(&*self.ledger, completion))
            }
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Completes the claim with `response` in a transaction that its owner commits, or rolls back. When the handler has answered, the layer asks the store
    /// which: committed, it files nothing more; rolled back, the handler's answer is treated like any other.
    ///
    /// Answer with the response that comes back if it was committed, and with another one if it was rolled back. If the store says otherwise, the client of a handler that has committed gets what
    /// was filed, as a replay; and of one that has not, that nobody knows how its request ended, which is left to [`Recovery`](crate::Recovery).
    ///
    /// # Errors
    ///
    /// With any of them, roll back; after [`CommitError::Failed`] it may be tried again with a new transaction. [`CommitError::Settled`] says that a transaction before this one was
    /// committed, also where its owner has not heard so.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the transaction to its owner.
    pub async fn complete_in<C, B>(
        &self,
        connection: &mut C,
        response: Response<B>,
    ) -> Result<Response<IdempotentBody<B>>, CommitError>
    where
        C: Connection,
        B: Body + Send,
        B::Error: Into<BoxError>,
    {
        let store = self.store::<C>()?;
        let whole = Whole::read(response, self).await?;
        let is_first = self.grant().settlement.begin();
        if !is_first && self.grant().settlement.get() != Settled::Pending {
            return Err(self.settled_before());
        }
        let completed = self.complete(connection, store, &whole.recorded).await;
        // Of a transaction before this one nobody knows here how it ended, and it stays so.
        let completion = completed.inspect_err(|error| {
            if is_first {
                self.rolled_back(error);
            }
        })?;
        Ok(whole.response(&*self.ledger, completion))
    }

    fn store<C: Connection>(&self) -> Result<&C::Store, CommitError> {
        let store = self.ledger.store().downcast_ref();
        store.ok_or(CommitError::OtherStore)
    }

    async fn complete<C: Connection>(
        &self,
        connection: &mut C,
        store: &C::Store,
        response: &Option<Recorded>,
    ) -> Result<Completion, CommitError> {
        let (claim, ttl) = (&self.grant().claim, self.ledger.ttl());
        let names = self.ledger.names();
        let other = response.as_ref();
        let other = other.and_then(|response| names.without_fresh_trailers(response));
        let response = other.or_else(|| response.clone());
        let record = Record::of(response, self.grant().origin.clone());
        let record = self.ledger.cipher().seal(&claim.key, record);
        connection.complete(store, claim, &record, ttl).await?;
        Ok(Completion {
            token: claim.token,
            number: self.grant().settlement.completed(),
        })
    }

    async fn commit<T: Transaction>(
        &self,
        transaction: T,
        store: &impl Store,
    ) -> Result<(), CommitError> {
        let Err(error) = transaction.commit().await else {
            self.grant().settlement.set(Settled::Committed);
            return Ok(());
        };
        let ended = match ask(store, self).await {
            Ok(Standing::Done) => Ok(()),
            Ok(Standing::Running) => Err(CommitError::Failed(error)),
            Err(StoreError::Lost) => Err(CommitError::Lost),
            // It stays pending: the layer asks once more.
            Err(error) => return Err(CommitError::Unknown(error)),
        };
        match &ended {
            Ok(()) => self.grant().settlement.set(Settled::Committed),
            Err(error) => self.rolled_back(error),
        }
        ended
    }

    fn settled_before(&self) -> CommitError {
        match self.grant().settlement.get() {
            Settled::Lost => CommitError::Lost,
            _ => CommitError::Settled,
        }
    }

    fn rolled_back(&self, error: &CommitError) {
        self.grant().settlement.set(match error {
            CommitError::Lost => Settled::Lost,
            CommitError::Settled => Settled::Committed,
            _ => Settled::Open,
        });
    }
}

/// The store may be what has just crashed, and be back soon: some six seconds in all.
async fn ask(store: &impl Store, held: &Idempotency) -> Result<Standing, StoreError> {
    let mut pause = Duration::from_millis(50);
    for _ in 0..7 {
        match store.confirm(&held.grant().claim).await {
            Err(StoreError::Unavailable(_)) => {}
            known => return known,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    store.confirm(&held.grant().claim).await
}

/// A response that was read as far as it is recorded.
struct Whole<B> {
    head: response::Parts,
    /// Nothing when it is too large, or a stream of events.
    recorded: Option<Recorded>,
    /// What was read of a body that is not recorded, and the rest of it.
    rest: Option<(VecDeque<Frame<Bytes>>, Pin<Box<B>>)>,
}

impl<B> Whole<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    async fn read(response: Response<B>, held: &Idempotency) -> Result<Self, CommitError> {
        let (mut head, body) = response.into_parts();
        let (mut body, ledger) = (Box::pin(body), &*held.ledger);
        let names = ledger.names();
        let Fields { told, all_stay } = Fields::of(&head.headers, names);
        if told.is_event_stream() {
            // Its end may never come: with its head the work is done.
            return Ok(Self {
                head,
                recorded: None,
                rest: Some((VecDeque::new(), body)),
            });
        }
        let announced = told.announced_length(body.size_hint().exact());
        let headers = recorded_headers(&mut head.headers, all_stay, names);
        let mut recording =
            Recording::new(head.status, headers, ledger.max_recorded_body()).announced(announced);
        let mut read = VecDeque::new();
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = into_bytes(frame.map_err(|error| CommitError::Body(error.into()))?);
            let within = recording.frame(&frame);
            read.push_back(frame);
            if !within {
                return Ok(Self {
                    head,
                    recorded: None,
                    rest: Some((read, body)),
                });
            }
        }
        match recording.end() {
            Outcome::Complete(recorded) => Ok(Self {
                head,
                recorded: Some(recorded),
                rest: None,
            }),
            Outcome::Aborted | Outcome::Overflow => {
                Err(CommitError::Body("it was not as long as announced".into()))
            }
        }
    }

    fn response(
        mut self,
        ledger: &dyn Ledger,
        completion: Completion,
    ) -> Response<IdempotentBody<B>> {
        self.head.extensions.insert(completion);
        let body = match (self.rest, self.recorded) {
            (None, Some(recorded)) => IdempotentBody::recorded(recorded.replay_body()),
            (rest, _) => {
                let (read, body) = rest.expect("what was not recorded was not read to its end");
                IdempotentBody::streaming(Streaming::pass(read, body, ledger.apart()))
            }
        };
        Response::from_parts(self.head, body)
    }
}
