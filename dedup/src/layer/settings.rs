//! What was chosen, and what the services of a layer share.

use std::sync::Arc;

use bytes::Bytes;

use super::Answer;
use crate::builder::FlightsBuilder;
use crate::coordinate::{Coordinator, named};
use crate::flights::Flights;

/// What followers get when the call that they share fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// One of them calls the inner service once more, with its own request, and the others wait for that, as does who comes meanwhile. What comes of it is final,
    /// for all of them.
    RetryOnce,
    /// The same error.
    #[default]
    Share,
}

/// What becomes of a call that finds no room in its flight, or no room for another flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFull {
    /// It calls the inner service on its own.
    #[default]
    Bypass,
    /// It is refused.
    Reject,
}

/// How keys and responses travel between processes.
pub trait Codec<K, T>: Send + Sync {
    /// A key: equal for equal keys and for no others, in every process.
    fn key(&self, key: &K) -> Vec<u8>;

    /// A response. `None` when it is not for other processes: they do their own work.
    fn encode(&self, response: &T) -> Option<Bytes>;

    /// A response from another process. `None` when it cannot be read: this process then does its own work.
    fn decode(&self, bytes: Bytes) -> Option<T>;
}

pub(super) struct Settings<K, T> {
    pub(super) flights: FlightsBuilder,
    pub(super) on_failure: OnFailure,
    pub(super) on_full: OnFull,
    pub(super) elsewhere: Option<Elsewhere<K, T>>,
}

/// The other processes.
pub(super) struct Elsewhere<K, T> {
    pub(super) namespace: Arc<str>,
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) codec: Arc<dyn Codec<K, T>>,
}

impl<K, T> Elsewhere<K, T> {
    /// What the flight of a key is called there.
    pub(super) fn name(&self, key: &K) -> Vec<u8> {
        named(&self.namespace, &self.codec.key(key))
    }
}

impl<K, T> Clone for Elsewhere<K, T> {
    fn clone(&self) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            coordinator: Arc::clone(&self.coordinator),
            codec: Arc::clone(&self.codec),
        }
    }
}

/// What the services of a layer share: one count of references for each.
pub(super) struct Entrance<F, K, T, E> {
    pub(super) key: Arc<F>,
    pub(super) shared: Arc<Shared<K, T, E>>,
}

impl<F, K, T, E> Entrance<F, K, T, E> {
    pub(super) fn new(key: Arc<F>, settings: Settings<K, T>) -> Arc<Self> {
        let shared = Arc::new(Shared::new(settings));
        Arc::new(Self { key, shared })
    }
}

/// What each of their calls shares, whatever its key is made by.
pub(super) struct Shared<K, T, E> {
    pub(super) flights: Flights<K, Answer<T, E>>,
    pub(super) settings: Settings<K, T>,
}

impl<K, T, E> Shared<K, T, E> {
    pub(super) fn new(settings: Settings<K, T>) -> Self {
        Self {
            flights: settings.flights.clone().build(),
            settings,
        }
    }
}

impl<K, T> Default for Settings<K, T> {
    fn default() -> Self {
        Self {
            flights: FlightsBuilder::default(),
            on_failure: OnFailure::default(),
            on_full: OnFull::default(),
            elsewhere: None,
        }
    }
}

impl<K, T> Clone for Settings<K, T> {
    fn clone(&self) -> Self {
        Self {
            flights: self.flights.clone(),
            on_failure: self.on_failure,
            on_full: self.on_full,
            elsewhere: self.elsewhere.clone(),
        }
    }
}
