//! Choices, and the state that all services of a layer share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use buttress_wire::tape::{Laggards, Timer};
use http::{request, response};
use tower_layer::Layer;

use super::future::Landed;
use super::key::HttpKey;
use super::memory::ShortMemory;
use super::service::Dedup;
use super::share::{Share, is_shareable};
use crate::event::{Event, Observer};
use crate::flights::{Flights, FlightsBuilder, Snapshot};

/// Lets concurrent requests for the same share one call of the inner service.
///
/// A request with `GET` or `HEAD` and no body leads a flight or joins one; everything else passes. All services that this layer
/// makes share their flights, and so do its clones.
///
/// The inner service is cloned for each call and made ready inside the response future: the layer is always ready, so that
/// joining a flight does not wait behind a saturated backend.
///
/// A response whose body is under way is joined by newcomers only when it is young ([`landed_for`](Self::landed_for)) and has room:
/// a client that does not read its body does not keep an old answer in use.
///
/// Place it inside of layers that add per-request headers or extensions (trace context, request ids): followers get neither the leader's
/// extensions nor its ids, and those layers give each its own.
#[must_use]
pub struct DedupLayer<B> {
    flights: FlightsBuilder,
    settings: Settings,
    shared: std::sync::OnceLock<Arc<Shared<B>>>,
}

type KeyFn = dyn Fn(&request::Parts, HttpKey) -> Option<HttpKey> + Send + Sync;
type ShareFn = dyn Fn(&response::Parts) -> Share + Send + Sync;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) key: Option<Arc<KeyFn>>,
    pub(super) share: Option<Arc<ShareFn>>,
    pub(super) on_failure: OnFailure,
    pub(super) on_full: OnFull,
    pub(super) window: usize,
    pub(super) stall: Duration,
    private_memory: Duration,
    observer: Option<Arc<dyn Observer>>,
}

/// What followers get when the leader's call fails, without a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// A 502 problem.
    BadGateway,
    /// They call the inner service on their own, all at once.
    #[default]
    RunOwn,
}

/// What becomes of a request that finds no room in its flight, or no room for another flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFull {
    /// It calls the inner service on its own.
    #[default]
    Bypass,
    /// It is refused with a 503 problem.
    Reject,
}

impl<B> DedupLayer<B> {
    /// Shares responses to `GET` and `HEAD` by [`HttpKey`], with a window of 256 KiB for each streaming body.
    pub fn http() -> Self {
        Self {
            flights: FlightsBuilder::default(),
            settings: Settings {
                key: None,
                share: None,
                on_failure: OnFailure::default(),
                on_full: OnFull::default(),
                window: 256 * 1024,
                stall: Duration::from_secs(5),
                private_memory: Duration::from_secs(10),
                observer: None,
            },
            shared: std::sync::OnceLock::new(),
        }
    }

    /// Decides by what requests are the same: gets the request and its default key; `None` lets it pass alone.
    pub fn key<F>(self, key: F) -> Self
    where
        F: Fn(&request::Parts, HttpKey) -> Option<HttpKey> + Send + Sync + 'static,
    {
        self.set(|settings| settings.key = Some(Arc::new(key)))
    }

    /// Decides which responses are shared, in place of [`is_shareable`].
    pub fn share<F>(self, share: F) -> Self
    where
        F: Fn(&response::Parts) -> Share + Send + Sync + 'static,
    {
        self.set(|settings| settings.share = Some(Arc::new(share)))
    }

    /// What followers of a failed leader get. Default: they run their own.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.set(|settings| settings.on_failure = on_failure)
    }

    /// What becomes of a request that finds no room. Default: it passes alone.
    pub fn on_full(self, on_full: OnFull) -> Self {
        self.set(|settings| settings.on_full = on_full)
    }

    /// How many bytes of each streaming body are kept for readers that are behind. Default: 256 KiB.
    pub fn window(self, bytes: usize) -> Self {
        self.set(|settings| settings.window = bytes)
    }

    /// For how long in total a slow reader may hold up those it shares a body with, before it is cut off with an error. Default: 5 s.
    pub fn stall(self, total: Duration) -> Self {
        self.set(|settings| settings.stall = total)
    }

    /// For how long requests whose answer was private are let through at once. Default: 10 s.
    pub fn private_memory(self, keep: Duration) -> Self {
        self.set(|settings| settings.private_memory = keep)
    }

    /// How many keys may be in flight at once. Default: 65 536.
    pub fn max_flights(mut self, max: NonZeroUsize) -> Self {
        self.flights = self.flights.max_flights(max);
        self.set(|_| {})
    }

    /// How many followers one flight may have, and how many newcomers may join its response after its head is there; who comes after
    /// those starts a new flight. Default: 1024.
    pub fn max_waiters(mut self, max: NonZeroUsize) -> Self {
        self.flights = self.flights.max_waiters(max);
        self.set(|_| {})
    }

    /// How long a follower waits for the head of the response before it calls the inner service on its own. Default: as long as it
    /// takes.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.flights = self.flights.wait_timeout(timeout);
        self.set(|_| {})
    }

    /// For how long after its head is there a response can be joined, while the start of its body is still kept. Default: 1 s.
    pub fn landed_for(mut self, landed_for: Duration) -> Self {
        self.flights = self.flights.landed_for(landed_for);
        self.set(|_| {})
    }

    /// Who hears of it.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        let also = Arc::clone(&observer);
        self.flights = self
            .flights
            .observer(move |event: &Event| also.on_event(event));
        self.set(|settings| settings.observer = Some(observer))
    }

    /// What is in flight now, over all services of this layer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared().flights.snapshot()
    }

    /// A change of settings is a new layer: what was made before keeps its own state.
    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        Self {
            shared: std::sync::OnceLock::new(),
            ..self
        }
    }

    fn shared(&self) -> &Arc<Shared<B>> {
        self.shared.get_or_init(|| {
            Arc::new(Shared {
                flights: self.flights.clone().build(),
                private: ShortMemory::new(self.settings.private_memory),
                hasher: RandomState::new(),
                settings: self.settings.clone(),
            })
        })
    }
}

impl<S, B> Layer<S> for DedupLayer<B> {
    type Service = Dedup<S, B>;

    fn layer(&self, inner: S) -> Dedup<S, B> {
        Dedup::new(inner, Arc::clone(self.shared()))
    }
}

/// A clone shares its flights.
impl<B> Clone for DedupLayer<B> {
    fn clone(&self) -> Self {
        Self {
            flights: self.flights.clone(),
            settings: self.settings.clone(),
            shared: Arc::clone(self.shared()).into(),
        }
    }
}

impl<B> fmt::Debug for DedupLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupLayer")
            .field("flights", &self.flights)
            .finish_non_exhaustive()
    }
}

/// What the services of one layer share.
pub(super) struct Shared<B> {
    pub(super) flights: Flights<HttpKey, Landed<B>>,
    pub(super) settings: Settings,
    private: ShortMemory,
    hasher: RandomState,
}

impl<B> Shared<B> {
    /// The key of a request, if it may be shared.
    pub(super) fn key(&self, parts: &request::Parts) -> Option<HttpKey> {
        let key = HttpKey::new(parts);
        let key = match &self.settings.key {
            Some(choose) => choose(parts, key)?,
            None => key,
        };
        (!self.private.knows(self.hasher.hash_one(&key))).then_some(key)
    }

    pub(super) fn share(&self, head: &response::Parts) -> Share {
        self.settings
            .share
            .as_ref()
            .map_or_else(|| is_shareable(head), |share| share(head))
    }

    pub(super) fn remember_private(&self, key_hash: u64) {
        self.private.remember(key_hash);
    }

    pub(super) fn hash(&self, key: &HttpKey) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(super) fn laggards(&self) -> Laggards {
        let timer = Timer {
            now: || tokio::time::Instant::now().into_std(),
            sleep: |after| Box::pin(tokio::time::sleep(after)),
        };
        Laggards::HoldUp {
            total: self.settings.stall,
            timer,
        }
    }

    pub(super) fn emit(&self, event: Event) {
        if let Some(observer) = &self.settings.observer {
            observer.on_event(&event);
        }
    }
}
