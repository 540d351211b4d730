//! The layer.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::{request, response};
use tower_layer::Layer;

use super::key::HttpKey;
use super::service::Dedup;
use super::settings::{Elsewhere, OnLeaderFailure, Settings, Shared};
use super::share::Share;
use crate::builder::FlightsBuilder;
use crate::coordinate::Coordinator;
use crate::event::Observer;
use crate::flights::Snapshot;
#[cfg(feature = "detached")]
use crate::flying::Detached;
use crate::flying::Inline;
use crate::layer::OnFull;

/// Lets concurrent requests for the same share one call of the inner service.
///
/// `B` is the body of the inner service's responses: `axum::body::Body` around a handler of axum.
///
/// A request with `GET` or `HEAD` and no body leads a flight or joins one; everything else passes. All services that this layer
/// makes share their flights, and so do its clones. A change of settings is a new layer, with flights of its own; only
/// `detached` shares them with the layer that it was called on.
///
/// The inner service is cloned for each call and made ready inside the response future: the layer is always ready, so that
/// joining a flight does not wait behind a saturated backend.
///
/// A response whose body is under way is joined by newcomers only when it is young ([`landed_for`](Self::landed_for)) and has room:
/// a client that does not read its body does not keep an old answer in use.
///
/// Place it inside of layers that add per-request headers or extensions (trace context, request ids): followers get neither the leader's
/// extensions nor its ids, [as far as they are known](buttress_wire::fields::is_of_one_exchange), and those layers give each its own.
///
/// # Who shares
///
/// Callers are told apart by `Authorization`, `Cookie` and `Origin`. Those who are known by something else, like an `X-Api-Key`, a client certificate or the peer's address, share, and so do
/// requests whose answers are made from `Forwarded` or `X-Forwarded-*`: unless the [key](Self::key) says so, or each such answer does, by `Vary`, `private` or `no-store`.
///
/// ```
/// use buttress_dedup::DedupLayer;
/// use http::HeaderName;
///
/// let api_key = HeaderName::from_static("x-api-key");
/// let layer = DedupLayer::http::<String>().key(move |request, key| Some(key.with_field(request, &api_key)));
/// ```
#[must_use]
pub struct DedupLayer<B, M = Inline> {
    shared: Arc<Shared<B>>,
    mode: M,
}

impl<B> DedupLayer<B> {
    /// Shares responses to `GET` and `HEAD` by [`HttpKey`], with a window of 256 KiB for each streaming body.
    pub fn http() -> Self {
        Self {
            shared: Arc::new(Shared::new(Settings::default())),
            mode: Inline,
        }
    }
}

impl<B, M> DedupLayer<B, M> {
    /// Decides by what requests are the same: gets the request and its default key; `None` lets it pass alone.
    pub fn key<F>(self, key: F) -> Self
    where
        F: Fn(&request::Parts, HttpKey) -> Option<HttpKey> + Send + Sync + 'static,
    {
        self.set(|settings| settings.key = Some(Arc::new(key)))
    }

    /// Decides which responses are shared, in place of [`is_shareable`](super::is_shareable). It is not asked of event streams and of switches of protocols, which
    /// are conversations with one client and never shared.
    pub fn share<F>(self, share: F) -> Self
    where
        F: Fn(&response::Parts) -> Share + Send + Sync + 'static,
    {
        self.set(|settings| settings.share = Some(Arc::new(share)))
    }

    /// What followers of a failed leader get. Default: they run their own.
    pub fn on_failure(self, on_failure: OnLeaderFailure) -> Self {
        self.set(|settings| settings.on_failure = on_failure)
    }

    /// What becomes of a request that finds no room. Default: it passes alone. A refusal is a 503 problem.
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

    /// For how long requests whose answer was private are let through at once, in whole seconds and perhaps one more. Zero remembers nothing. Default: 10 s.
    pub fn private_memory(self, keep: Duration) -> Self {
        self.set(|settings| settings.private_memory = keep)
    }

    /// How many keys may be in flight at once; see [`FlightsBuilder::max_flights`]. Default: 65 536.
    pub fn max_flights(self, max: NonZeroUsize) -> Self {
        self.flights(|flights| flights.max_flights(max))
    }

    /// How many followers one flight may have, and how many newcomers may join its response after its head is there; who comes after
    /// those starts a new flight. Default: 1024.
    pub fn max_waiters(self, max: NonZeroUsize) -> Self {
        self.flights(|flights| flights.max_waiters(max))
    }

    /// How long a follower waits for the head of the response before it calls the inner service on its own; see [`FlightsBuilder::wait_timeout`]. Default: as
    /// long as it takes.
    pub fn wait_timeout(self, timeout: Duration) -> Self {
        self.flights(|flights| flights.wait_timeout(timeout))
    }

    /// How old a call may be that is joined, here or by this process in another one, so that across processes a response may have been begun twice as long ago; see
    /// [`FlightsBuilder::max_age`]. Default: any age.
    pub fn max_age(self, max_age: Duration) -> Self {
        self.flights(|flights| flights.max_age(max_age))
    }

    /// For how long after its head is there a response can be joined, while the start of its body is still kept. Default: 1 s.
    pub fn landed_for(self, landed_for: Duration) -> Self {
        self.flights(|flights| flights.landed_for(landed_for))
    }

    /// Closes the flight of requests like this one to newcomers: who comes from now on starts anew. For a caller that has changed what they read.
    ///
    /// It is of this process. With a [coordinator](Self::coordinator) who starts anew here may still be given what another process had begun to read before: bound that by
    /// [`max_age`](Self::max_age), or put a version of what is read into the [key](Self::key).
    pub fn forget(&self, parts: &request::Parts) {
        if let Some(key) = self.shared.key_of(parts) {
            self.shared.flights.forget(&key);
        }
    }

    /// One more who hears of it.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.flights(|flights| flights.observer(observer))
    }

    /// Shares responses with other processes as well, with layers of the same `namespace` there: name what is behind this one, since requests to two services may look
    /// alike. Shared are responses that may be, and that are complete with a body of at most so many bytes. What is larger streams on to those who
    /// share it here, and each other process asks on its own; and so it does where the body is not complete within
    /// [`landed_for`](Self::landed_for) and [`stall`](Self::stall): a client that does not read is waited for by nobody.
    pub fn coordinator(
        self,
        namespace: &str,
        coordinator: Arc<dyn Coordinator>,
        max_bytes: usize,
    ) -> Self {
        let elsewhere = Elsewhere {
            namespace: namespace.into(),
            coordinator,
            max_bytes,
        };
        self.set(|settings| settings.elsewhere = Some(elsewhere))
    }

    /// Calls that have begun go on in a task when their caller goes away before the response's head is there, and followers get the
    /// response. Wait for these [`tasks`](Self::tasks) at shutdown. A body goes on as long as somebody reads it.
    /// Requires of the service, its future and its requests that they can be sent.
    #[cfg(feature = "detached")]
    pub fn detached(self, spawn: impl buttress_wire::tasks::Spawn) -> DedupLayer<B, Detached> {
        DedupLayer {
            shared: self.shared,
            mode: Detached::new(spawn),
        }
    }

    /// What is in flight now, and what has been so far, over all services of this layer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    fn flights(self, change: impl FnOnce(FlightsBuilder) -> FlightsBuilder) -> Self {
        self.set(|settings| settings.flights = change(settings.flights.clone()))
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self {
            shared: Arc::new(Shared::new(settings)),
            ..self
        }
    }
}

#[cfg(feature = "detached")]
impl<B> DedupLayer<B, Detached> {
    /// The work that has lost its caller and goes on: wait for it at shutdown, by [`Tasks::drain`](buttress_wire::tasks::Tasks::drain).
    #[must_use]
    pub fn tasks(&self) -> &buttress_wire::tasks::Tasks {
        &self.mode.0
    }
}

impl<S, B, M: Clone> Layer<S> for DedupLayer<B, M> {
    type Service = Dedup<S, B, M>;

    fn layer(&self, inner: S) -> Dedup<S, B, M> {
        Dedup::new(inner, Arc::clone(&self.shared), self.mode.clone())
    }
}

/// A clone shares its flights.
impl<B, M: Clone> Clone for DedupLayer<B, M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            mode: self.mode.clone(),
        }
    }
}

impl<B, M> fmt::Debug for DedupLayer<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupLayer")
            .field("flights", &self.shared.settings.flights)
            .finish_non_exhaustive()
    }
}
