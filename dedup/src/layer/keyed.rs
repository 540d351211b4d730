//! What the flights of a generic layer mean.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

use super::settings::{OnFailure, OnFull, Shared};
use crate::coordinate::Lease;
use crate::error::DedupError;
use crate::event::Event;
use crate::flying::{Others, Received, Shell};
use crate::leader::Leader;

/// What a leader gives to its followers.
pub type Answer<T, E> = Result<T, Arc<E>>;

/// One call.
pub struct Keyed<K, T, E> {
    shared: Arc<Shared<K, T, E>>,
    rare: Option<Box<Rare<K>>>,
}

/// What few layers ask for. Behind a pointer, since every future has room for it twice.
struct Rare<K> {
    /// By which the flight is joined again, where failures are retried. `None` once it has been.
    again: Option<K>,
    /// What the flight is called elsewhere, if others are asked.
    name: Option<Vec<u8>>,
    /// Of the others, if they wait for this process.
    lease: Option<Box<dyn Lease>>,
}

impl<K, T, E> Keyed<K, T, E> {
    /// `key` is asked for once more where failures are retried.
    pub(super) fn new(
        shared: &Arc<Shared<K, T, E>>,
        key: Option<&K>,
        again: impl FnOnce() -> Option<K>,
    ) -> Self {
        let retries = shared.settings.on_failure == OnFailure::RetryOnce;
        let elsewhere = shared.settings.elsewhere.as_ref();
        let has_rare = retries || elsewhere.is_some();
        let rare = key.filter(|_| has_rare).map(|key| Rare {
            again: if retries { again() } else { None },
            name: elsewhere.map(|elsewhere| elsewhere.name(key)),
            lease: None,
        });
        Self {
            shared: Arc::clone(shared),
            rare: rare.map(Box::new),
        }
    }

    fn take_lease(&mut self) -> Option<Box<dyn Lease>> {
        self.rare.as_mut()?.lease.take()
    }

    /// Tells other processes.
    fn publish(&mut self, response: &T) {
        let lease = self.take_lease();
        let (Some(lease), Some(elsewhere)) = (lease, &self.shared.settings.elsewhere) else {
            return;
        };
        match elsewhere.codec.encode(response) {
            Some(bytes) => lease.publish(bytes),
            None => lease.decline(),
        }
    }
}

impl<K: Eq + Hash, T: Clone, E> Shell for Keyed<K, T, E> {
    type Key = K;
    type Value = Answer<T, E>;
    type Result = Result<T, E>;
    type Output = Result<T, DedupError<E>>;

    fn tell(&self, event: Event<'_>) {
        self.shared.flights.tell(event);
    }

    fn coordination(&self) -> Option<Others<'_>> {
        let settings = &self.shared.settings;
        Some(Others {
            coordinator: &settings.elsewhere.as_ref()?.coordinator,
            key: self.rare.as_ref()?.name.as_deref()?,
            max_age: settings.flights.oldest(),
        })
    }

    /// There is a name where others are asked, and so a place for their lease.
    fn hold(&mut self, lease: Box<dyn Lease>) {
        if let Some(rare) = &mut self.rare {
            rare.lease = Some(lease);
        }
    }

    fn land(mut self, result: Result<T, E>, leader: Leader<K, Answer<T, E>>) -> Self::Output {
        match result {
            Ok(response) => {
                self.publish(&response);
                leader.complete(Ok(response.clone()));
                Ok(response)
            }
            Err(error) => {
                // Its own errors are each process's own.
                self.take_lease().into_iter().for_each(Lease::decline);
                let error = Arc::new(error);
                leader.complete(Err(Arc::clone(&error)));
                self.shared.flights.tell(Event::Failed);
                Err(DedupError::Call(error))
            }
        }
    }

    fn land_received(
        &mut self,
        value: Bytes,
        leader: &mut Option<Leader<K, Answer<T, E>>>,
    ) -> Option<Self::Output> {
        let elsewhere = self.shared.settings.elsewhere.as_ref()?;
        let response = elsewhere.codec.decode(value)?;
        leader.take()?.complete(Ok(response.clone()));
        Some(Ok(response))
    }

    fn alone(self, result: Result<T, E>) -> Self::Output {
        result.map_err(|error| DedupError::Call(Arc::new(error)))
    }

    fn receive(&mut self, value: Answer<T, E>) -> Received<Self> {
        let error = match value {
            Ok(response) => return Received::Done(Ok(response)),
            Err(error) => error,
        };
        match self.rare.as_mut().and_then(|rare| rare.again.take()) {
            Some(key) => {
                self.shared.flights.tell(Event::Retried);
                Received::Again(self.shared.flights.join(key))
            }
            None => Received::Done(Err(DedupError::Call(error))),
        }
    }

    fn full(&mut self) -> Option<Self::Output> {
        match self.shared.settings.on_full {
            OnFull::Bypass => None,
            OnFull::Reject => Some(Err(DedupError::Full)),
        }
    }
}
