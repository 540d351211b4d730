//! Single flight for any tower service, by a key function.

#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "in the bounds of what is public, and named by nobody else"
)]
mod keyed;
mod service;
mod settings;

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use self::keyed::{Answer, Keyed};
pub use self::service::{Dedup, ResponseFuture};
pub use self::settings::{Codec, OnFailure, OnFull};
use self::settings::{Elsewhere, Entrance, Settings};
use crate::builder::FlightsBuilder;
use crate::coordinate::Coordinator;
use crate::event::Observer;
use crate::flights::Snapshot;
#[cfg(feature = "detached")]
use crate::flying::Detached;
use crate::flying::Inline;

/// Lets concurrent calls of a service with the same key share one.
///
/// The key function says by what requests are the same; `None` lets one pass alone. Responses are shared by `Clone`, errors as `Arc`
/// ([`DedupError`](crate::DedupError)). Keys partition: whatever may tell two callers apart belongs into the key. For HTTP there is
/// `http::DedupLayer` (feature `http`), which knows what may be shared and does so as it streams.
///
/// ```
/// use buttress_dedup::DedupLayer;
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let layer = DedupLayer::new(|product: &u32| Some(*product));
/// let service = layer.layer(tower::service_fn(async |product: u32| {
///     Ok::<_, std::io::Error>(format!("product {product}"))
/// }));
/// assert_eq!(service.oneshot(7).await?, "product 7");
/// # Ok::<_, buttress_dedup::DedupError<std::io::Error>>(())
/// # }).unwrap();
/// ```
///
/// All services that this layer makes share their flights, and so do its clones. A change of settings is a new layer, with flights of its own; only
/// `detached` shares them with the layer that it was called on.
///
/// The inner service is cloned for each call and made ready inside the response future: the layer is always ready, so that joining a
/// flight does not wait behind a saturated backend, and a follower holds no permit of it.
#[must_use]
pub struct DedupLayer<F, K, T, E, M = Inline> {
    entrance: Arc<Entrance<F, K, T, E>>,
    mode: M,
}

#[cfg(feature = "http")]
impl DedupLayer<(), (), (), ()> {
    /// Shares responses to `GET` and `HEAD`: [`http::DedupLayer`](crate::http::DedupLayer).
    pub fn http<B>() -> crate::http::DedupLayer<B> {
        crate::http::DedupLayer::http()
    }
}

impl<F, K, T, E> DedupLayer<F, K, T, E> {
    /// A layer that shares calls by this key.
    pub fn new<Req>(key: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            entrance: Entrance::new(Arc::new(key), Settings::default()),
            mode: Inline,
        }
    }
}

impl<F, K, T, E, M> DedupLayer<F, K, T, E, M> {
    /// What followers of a failed call get. Default: the same error.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.set(|settings| settings.on_failure = on_failure)
    }

    /// What becomes of a call that finds no room. Default: it passes alone.
    pub fn on_full(self, on_full: OnFull) -> Self {
        self.set(|settings| settings.on_full = on_full)
    }

    /// How many keys may be in flight at once. Default: 65 536.
    pub fn max_flights(self, max: NonZeroUsize) -> Self {
        self.flights(|flights| flights.max_flights(max))
    }

    /// How many followers one flight may have. Default: 1024.
    pub fn max_waiters(self, max: NonZeroUsize) -> Self {
        self.flights(|flights| flights.max_waiters(max))
    }

    /// How long a follower waits before it calls the inner service on its own. Default: as long as it takes.
    pub fn wait_timeout(self, timeout: Duration) -> Self {
        self.flights(|flights| flights.wait_timeout(timeout))
    }

    /// How old a call may be that is joined, here or by this process in another one, so that across processes a response may have been begun twice as long ago; see
    /// [`FlightsBuilder::max_age`]. Default: any age.
    pub fn max_age(self, max_age: Duration) -> Self {
        self.flights(|flights| flights.max_age(max_age))
    }

    /// Closes the call of `key` to newcomers: who comes from now on starts anew. For a caller that has changed what the call is reading.
    ///
    /// It is of this process. With a [coordinator](Self::coordinator) who starts anew here may still be given what another process had begun to read before: bound that by
    /// [`max_age`](Self::max_age), or put a version of what is read into the key.
    pub fn forget(&self, key: &K)
    where
        K: Eq + Hash,
    {
        self.entrance.shared.flights.forget(key);
    }

    /// One more who hears of it.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.flights(|flights| flights.observer(observer))
    }

    /// Shares calls with other processes as well, with layers of the same `namespace` there: name what is behind this one, and the version of its responses,
    /// since keys of two services may look alike. `codec` says how keys and responses travel.
    pub fn coordinator<C>(
        self,
        namespace: &str,
        coordinator: Arc<dyn Coordinator>,
        codec: C,
    ) -> Self
    where
        C: Codec<K, T> + 'static,
    {
        let elsewhere = Elsewhere {
            namespace: namespace.into(),
            coordinator,
            codec: Arc::new(codec),
        };
        self.set(|settings| settings.elsewhere = Some(elsewhere))
    }

    /// Calls that have begun go on in a task when their caller goes away, and followers get their result. Wait for these [`tasks`](Self::tasks) at
    /// shutdown. Requires of the service, its future and its requests that they can be sent.
    #[cfg(feature = "detached")]
    pub fn detached(
        self,
        spawn: impl buttress_wire::tasks::Spawn,
    ) -> DedupLayer<F, K, T, E, Detached> {
        DedupLayer {
            entrance: self.entrance,
            mode: Detached::new(spawn),
        }
    }

    /// What is in flight now, and what has been so far, over all services of this layer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.entrance.shared.flights.snapshot()
    }

    fn flights(self, change: impl FnOnce(FlightsBuilder) -> FlightsBuilder) -> Self {
        self.set(|settings| settings.flights = change(settings.flights.clone()))
    }

    fn set(self, change: impl FnOnce(&mut Settings<K, T>)) -> Self {
        let mut settings = self.entrance.shared.settings.clone();
        change(&mut settings);
        Self {
            entrance: Entrance::new(Arc::clone(&self.entrance.key), settings),
            ..self
        }
    }
}

#[cfg(feature = "detached")]
impl<F, K, T, E> DedupLayer<F, K, T, E, Detached> {
    /// The work that has lost its caller and goes on: wait for it at shutdown, by [`Tasks::drain`](buttress_wire::tasks::Tasks::drain).
    #[must_use]
    pub fn tasks(&self) -> &buttress_wire::tasks::Tasks {
        &self.mode.0
    }
}

impl<S, F, K, T, E, M: Clone> Layer<S> for DedupLayer<F, K, T, E, M> {
    type Service = Dedup<S, F, K, T, E, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Dedup {
            inner,
            entrance: Arc::clone(&self.entrance),
            mode: self.mode.clone(),
        }
    }
}

/// A clone shares its flights.
impl<F, K, T, E, M: Clone> Clone for DedupLayer<F, K, T, E, M> {
    fn clone(&self) -> Self {
        Self {
            entrance: Arc::clone(&self.entrance),
            mode: self.mode.clone(),
        }
    }
}

impl<F, K, T, E, M> fmt::Debug for DedupLayer<F, K, T, E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupLayer")
            .field("flights", &self.entrance.shared.settings.flights)
            .finish_non_exhaustive()
    }
}
