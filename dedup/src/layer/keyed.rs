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
    /// If others are asked. Behind a pointer, since every future has room for it twice.
    rare: Option<Box<Rare>>,
}

struct Rare {
    /// What the flight is called elsewhere.
    name: Vec<u8>,
    /// Of the others, if they wait for this process.
    lease: Option<Box<dyn Lease>>,
}

impl<K, T, E> Keyed<K, T, E> {
    pub(super) fn new(shared: &Arc<Shared<K, T, E>>, key: Option<&K>) -> Self {
        let elsewhere = shared.settings.elsewhere.as_ref();
        let rare = elsewhere.zip(key).map(|(elsewhere, key)| Rare {
            name: elsewhere.name(key),
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

    /// Leaves the flight to a follower, if one is to try again. Otherwise the error is everybody's.
    fn fail(&self, leader: Leader<K, Answer<T, E>>, error: &Arc<E>) -> bool {
        let leader = match self.shared.settings.on_failure {
            OnFailure::RetryOnce => leader.leave_to_retry(),
            OnFailure::Share => Err(leader),
        };
        leader.unwrap_or_else(|leader| {
            leader.complete(Err(Arc::clone(error)));
            false
        })
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
            key: &self.rare.as_ref()?.name,
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
                let is_retried = self.fail(leader, &error);
                self.shared.flights.tell(Event::Failed);
                if is_retried {
                    self.shared.flights.tell(Event::Retried);
                }
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
        Received::Done(value.map_err(DedupError::Call))
    }

    fn full(&mut self) -> Option<Self::Output> {
        match self.shared.settings.on_full {
            OnFull::Bypass => None,
            OnFull::Reject => Some(Err(DedupError::Full)),
        }
    }
}
