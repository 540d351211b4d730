//! Choices, and what all services of a layer share.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use buttress_wire::tasks::{Spawn, Tasks};
use http::header::HeaderName;
use http::{Method, request, response};
use tower_layer::Layer;

use crate::event::{Event, Observer};
use crate::key::Syntax;
use crate::record::{Keep, default_keep};
use crate::service::Idempotent;
use crate::store::{Recovery, Store};

type ScopeFn = dyn Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync;
type KeepFn = dyn Fn(&response::Parts) -> Keep + Send + Sync;

/// Makes unsafe requests with an `Idempotency-Key` happen once, and answers their repetitions with the first response.
///
/// It is a layer only once it knows whom a key belongs to: two users may send the same key.
///
/// ```
/// use buttress_idempotency::{IdempotencyLayer, MemoryStore};
/// use std::borrow::Cow;
///
/// let layer = IdempotencyLayer::new(MemoryStore::new())
///     .scope(|request| match request.extensions.get::<String>() {
///         Some(user) => Cow::Owned(user.clone().into_bytes()),
///         None => Cow::Borrowed(b"anonymous"),
///     })
///     .required(true);
/// # fn is_layer<S>(_: impl tower_layer::Layer<S>) {}
/// # is_layer::<()>(layer);
/// ```
///
/// ```compile_fail,E0277
/// use buttress_idempotency::{IdempotencyLayer, MemoryStore};
///
/// let layer = IdempotencyLayer::new(MemoryStore::new());
/// # fn is_layer<S>(_: impl tower_layer::Layer<S>) {}
/// # is_layer::<()>(layer);
/// ```
///
/// Place it inside of what authenticates: a record is replayed to whoever is in its scope.
#[must_use]
pub struct IdempotencyLayer<St, Scoped = Unscoped> {
    shared: Arc<Shared<St>>,
    scoped: Scoped,
}

/// Nobody has said yet whom a key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Unscoped(());

/// It is known whom a key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Scoped(());

/// What becomes of a keyed request when the store fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnStoreError {
    /// It goes to the inner service unprotected: it may happen twice.
    Bypass,
    /// A 503 problem.
    #[default]
    Reject,
}

pub(crate) struct Shared<St> {
    pub(crate) store: St,
    pub(crate) settings: Settings,
    pub(crate) tasks: Tasks,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) scope: Option<Arc<ScopeFn>>,
    pub(crate) keep: Option<Arc<KeepFn>>,
    pub(crate) methods: Vec<Method>,
    pub(crate) header: HeaderName,
    pub(crate) replay_header: HeaderName,
    pub(crate) syntax: Syntax,
    pub(crate) required: bool,
    pub(crate) max_request_body: usize,
    pub(crate) max_recorded_body: usize,
    pub(crate) lease: Duration,
    pub(crate) ttl: Duration,
    pub(crate) recovery: Recovery,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) secret: [u8; 32],
    observer: Option<Arc<dyn Observer>>,
}

impl<St: Store> IdempotencyLayer<St> {
    /// Keeps claims and records in `store`. Say next whom a key belongs to: [`scope`](Self::scope), or
    /// [`single_tenant`](Self::single_tenant).
    pub fn new(store: St) -> Self {
        let settings = Settings {
            scope: None,
            keep: None,
            methods: vec![Method::POST, Method::PATCH],
            header: HeaderName::from_static("idempotency-key"),
            replay_header: HeaderName::from_static("idempotency-replayed"),
            syntax: Syntax::default(),
            required: false,
            max_request_body: 1 << 20,
            max_recorded_body: 1 << 20,
            lease: Duration::from_secs(30),
            ttl: Duration::from_secs(24 * 60 * 60),
            recovery: Recovery::default(),
            on_store_error: OnStoreError::default(),
            secret: blake3::derive_key("buttress-idempotency 2026-11 record key", b""),
            observer: None,
        };
        let tasks = Tasks::new(|task| {
            // A call may be dropped after its runtime, where a panic would be one in a drop.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(task);
            }
        });
        Self {
            shared: Arc::new(Shared {
                store,
                settings,
                tasks,
            }),
            scoped: Unscoped(()),
        }
    }

    /// Says whom a key belongs to: the principal, the tenant, or both. Keys of different scopes never meet.
    pub fn scope<F>(self, scope: F) -> IdempotencyLayer<St, Scoped>
    where
        F: Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync + 'static,
        St: Clone,
    {
        self.set(|settings| settings.scope = Some(Arc::new(scope)))
            .into_scoped()
    }

    /// Says that all requests come from one party, which may see each response.
    pub fn single_tenant(self) -> IdempotencyLayer<St, Scoped> {
        self.into_scoped()
    }

    fn into_scoped(self) -> IdempotencyLayer<St, Scoped> {
        IdempotencyLayer {
            shared: self.shared,
            scoped: Scoped(()),
        }
    }
}

impl<St: Store + Clone, Sc> IdempotencyLayer<St, Sc> {
    /// Which methods are looked at. Default: `POST` and `PATCH`.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.set(|settings| settings.methods = methods.into_iter().collect())
    }

    /// The field that carries the key. Default: `Idempotency-Key`.
    pub fn header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.header = name)
    }

    /// The field that marks a replay, with the value `true`. Default: `Idempotency-Replayed`.
    pub fn replay_header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.replay_header = name)
    }

    /// How a key may be spelled. Default: quoted or bare.
    pub fn syntax(self, syntax: Syntax) -> Self {
        self.set(|settings| settings.syntax = syntax)
    }

    /// Whether a request without a key is refused with 400. Default: it passes, unprotected.
    pub fn required(self, required: bool) -> Self {
        self.set(|settings| settings.required = required)
    }

    /// The largest request body, in bytes; a larger one is refused with 413. It is kept in memory while it is sent on, since its
    /// hash has to be known before. Default: 1 MiB.
    pub fn max_request_body(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_request_body = bytes)
    }

    /// The largest response body that is recorded, in bytes. A larger one streams to its client; a repetition of the request is then
    /// refused, and never done again. Default: 1 MiB.
    pub fn max_recorded_body(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_recorded_body = bytes)
    }

    /// How long a claim is good after its holder was last heard of. Default: 30 s.
    ///
    /// A task of the layer's renews it three times as often, from the moment at which the work is first found pending: from then on it may
    /// block its thread, or be left unpolled, for as long as it likes.
    pub fn lease(self, lease: Duration) -> Self {
        self.set(|settings| settings.lease = lease.max(Duration::from_millis(3)))
    }

    /// How long a response is replayed. Default: 24 h.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.ttl = ttl)
    }

    /// What becomes of a request whose predecessor is gone without having said how it ended. Default: it is done again.
    pub fn recovery(self, recovery: Recovery) -> Self {
        self.set(|settings| settings.recovery = recovery)
    }

    /// Which responses are recorded, and which say that nothing happened. Default: see [`Keep`].
    pub fn keep<F>(self, keep: F) -> Self
    where
        F: Fn(&response::Parts) -> Keep + Send + Sync + 'static,
    {
        self.set(|settings| settings.keep = Some(Arc::new(keep)))
    }

    /// What becomes of a keyed request when the store fails. Default: 503.
    pub fn on_store_error(self, on_store_error: OnStoreError) -> Self {
        self.set(|settings| settings.on_store_error = on_store_error)
    }

    /// The secret that record keys are hashed with. Give all processes that share a store the same one; a new one forgets all records.
    pub fn secret(self, secret: [u8; 32]) -> Self {
        self.set(|settings| settings.secret = secret)
    }

    /// Who runs work that has lost its caller, and keeps leases. Default: the tokio runtime that it happens in. What is dropped outside of
    /// one ends there, and its claim is left to its lease.
    pub fn spawner(self, spawn: impl Spawn) -> Self {
        let shared = Shared {
            store: self.shared.store.clone(),
            settings: self.shared.settings.clone(),
            tasks: Tasks::new(spawn),
        };
        Self {
            shared: Arc::new(shared),
            ..self
        }
    }

    /// Who hears of it.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.set(|settings| settings.observer = Some(Arc::new(observer)))
    }

    /// The work that has lost its caller and goes on, and the leases that are kept: wait for them at shutdown.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        let (store, tasks) = (self.shared.store.clone(), self.shared.tasks.clone());
        Self {
            shared: Arc::new(Shared {
                store,
                settings,
                tasks,
            }),
            ..self
        }
    }
}

impl<S, St> Layer<S> for IdempotencyLayer<St, Scoped> {
    type Service = Idempotent<S, St>;

    fn layer(&self, inner: S) -> Idempotent<S, St> {
        Idempotent::new(inner, Arc::clone(&self.shared))
    }
}

impl<St> Shared<St> {
    pub(crate) fn emit(&self, event: Event) {
        if let Some(observer) = &self.settings.observer {
            observer.on_event(&event);
        }
    }

    pub(crate) fn apart(&self) -> Apart {
        Apart {
            tasks: self.tasks.clone(),
            observer: self.settings.observer.clone(),
        }
    }

    pub(crate) fn keep(&self, head: &response::Parts) -> Keep {
        self.settings
            .keep
            .as_ref()
            .map_or_else(|| default_keep(head), |keep| keep(head))
    }
}

/// Takes work that has lost its caller.
#[derive(Clone)]
pub(crate) struct Apart {
    tasks: Tasks,
    observer: Option<Arc<dyn Observer>>,
}

impl Apart {
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
        if let Some(observer) = &self.observer {
            observer.on_event(&Event::Detached);
        }
    }
}

impl<St, Sc: Copy> Clone for IdempotencyLayer<St, Sc> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            scoped: self.scoped,
        }
    }
}

impl<St, Sc> fmt::Debug for IdempotencyLayer<St, Sc> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("methods", &self.shared.settings.methods)
            .field("required", &self.shared.settings.required)
            .finish_non_exhaustive()
    }
}
