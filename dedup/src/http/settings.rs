//! What was chosen, and what the services of a layer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buttress_wire::ShortMemory;
use buttress_wire::key::with_buffer;
use buttress_wire::tape::{Laggards, Timer};
use http::{HeaderName, request, response};
use tokio::time::Instant;

use super::answer::Landed;
use super::key::HttpKey;
use super::share::{Share, is_conversation, is_shareable_by};
use crate::builder::FlightsBuilder;
use crate::coordinate::Coordinator;
use crate::event::Event;
use crate::flights::{Flights, Snapshot};
use crate::layer::OnFull;

type KeyFn = dyn Fn(&request::Parts, HttpKey) -> Option<HttpKey> + Send + Sync;
type ShareFn = dyn Fn(&response::Parts) -> Share + Send + Sync;

/// What followers get when the leader's call fails, without a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnLeaderFailure {
    /// A 502 problem.
    BadGateway,
    /// They call the inner service on their own, all at once.
    #[default]
    RunOwn,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) flights: FlightsBuilder,
    pub(super) key: Option<Arc<KeyFn>>,
    pub(super) share: Option<Arc<ShareFn>>,
    pub(super) on_failure: OnLeaderFailure,
    pub(super) on_full: OnFull,
    pub(super) window: usize,
    pub(super) stall: Duration,
    pub(super) private_memory: Duration,
    pub(super) elsewhere: Option<Elsewhere>,
}

/// The other processes.
#[derive(Clone)]
pub(super) struct Elsewhere {
    pub(super) namespace: Arc<str>,
    pub(super) coordinator: Arc<dyn Coordinator>,
    /// Of a body that they are given.
    pub(super) max_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flights: FlightsBuilder::default(),
            key: None,
            share: None,
            on_failure: OnLeaderFailure::default(),
            on_full: OnFull::default(),
            window: 256 * 1024,
            stall: Duration::from_secs(5),
            private_memory: Duration::from_secs(10),
            elsewhere: None,
        }
    }
}

impl Settings {
    /// How long other processes may wait for a body whose head is there: as long as anybody here may hold up anybody.
    pub(super) fn patience(&self) -> Duration {
        self.flights.landed().saturating_add(self.stall)
    }

    pub(super) fn laggards(&self) -> Laggards {
        let timer = Timer {
            now: || tokio::time::Instant::now().into_std(),
            sleep: |after| Box::pin(tokio::time::sleep(after)),
        };
        Laggards::HoldUp {
            total: self.stall,
            timer,
        }
    }
}

/// What the services of one layer share.
pub struct Shared<B> {
    pub(super) flights: Flights<HttpKey, Landed<B>>,
    pub(super) settings: Settings,
    private: ShortMemory,
    began: Instant,
    passed: AtomicU64,
}

impl<B> Shared<B> {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            flights: settings.flights.clone().build(),
            private: ShortMemory::new(settings.private_memory),
            began: Instant::now(),
            passed: AtomicU64::new(0),
            settings,
        }
    }

    pub(super) fn key_of(&self, parts: &request::Parts) -> Option<HttpKey> {
        let key = HttpKey::new(parts);
        match &self.settings.key {
            Some(choose) => choose(parts, key),
            None => Some(key),
        }
    }

    /// The key of a request, if it may be shared. For one that passes nothing is allocated, unless somebody else chooses the keys.
    pub(super) fn key(&self, parts: &request::Parts) -> Option<HttpKey> {
        if self.settings.key.is_some() {
            return self
                .key_of(parts)
                .filter(|key| !self.passes(key.as_bytes()));
        }
        with_buffer(|key| {
            HttpKey::write(key, parts);
            (!self.passes(key)).then(|| HttpKey::of_bytes(&key[..]))
        })
    }

    /// Whether what was asked for by this key was private a short while ago.
    fn passes(&self, key: &[u8]) -> bool {
        let passes = self
            .private
            .knows(self.private.hash(key), self.began.elapsed());
        if passes {
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.flights.tell(Event::Passed);
        }
        passes
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            passed: self.passed.load(Ordering::Relaxed),
            ..self.flights.snapshot()
        }
    }

    /// `covered` are the request fields that were put into the key.
    pub(super) fn share(&self, head: &response::Parts, covered: &[HeaderName]) -> Share {
        match &self.settings.share {
            Some(_) if is_conversation(head) => Share::Private,
            Some(share) => share(head),
            None => is_shareable_by(head, covered),
        }
    }

    pub(super) fn remember_private(&self, key_hash: u64) {
        self.private.remember(key_hash, self.began.elapsed());
    }

    pub(super) fn hash(&self, key: &HttpKey) -> u64 {
        self.private.hash(key.as_bytes())
    }
}
