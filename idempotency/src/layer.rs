//! The layer, which knows whom a key belongs to.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use buttress_wire::tasks::{Spawn, Tasks};
use http::request;
use tower_layer::Layer;

use crate::event::{Observer, Snapshot};
use crate::service::Idempotent;
use crate::settings::Settings;
use crate::shared::{Common, Shared};
use crate::store::Store;

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
/// Place it inside of what authenticates: a record is replayed to whoever is in its scope. Inside of a router that strips prefixes from paths, say which [`route`](Self::route) a
/// request is for.
///
/// A clone is the same layer: it shares store, counts, waiters and tasks. Choices are made before it is cloned; afterwards each makes a layer of its own on the same
/// store.
#[must_use]
pub struct IdempotencyLayer<St, Scoped = Unscoped> {
    pub(crate) shared: Arc<Shared<St>>,
    scoped: Scoped,
}

/// Nobody has said yet whom a key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Unscoped(());

/// It is known whom a key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Scoped(());

impl<St: Store> IdempotencyLayer<St> {
    /// Keeps claims and records in `store`. Say next whom a key belongs to: [`scope`](Self::scope), or
    /// [`single_tenant`](Self::single_tenant).
    pub fn new(store: St) -> Self {
        let tasks = Tasks::new(|task| {
            // A call may be dropped after its runtime, where a panic would be one in a drop.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(task);
            }
        });
        let common = Arc::new(Common::new(tasks));
        Self {
            shared: Arc::new(Shared::new(store, Settings::default(), common)),
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

impl<St: Store + Clone, Sc: Clone> IdempotencyLayer<St, Sc> {
    /// Who runs work that has lost its caller, and keeps leases. Default: the tokio runtime that it happens in. What is dropped outside of
    /// one ends there, and its claim is left to its lease.
    ///
    /// Another one has to be a tokio runtime too, with its timer enabled: leases are kept, and stores that fail are asked again, by the clock of the runtime that they are spawned on.
    ///
    /// What belongs to the task of the caller does not come along by itself. So that work that goes on alone keeps its trace, have the task keep it: with `buttress-trace-ctx`, and its trait `InTrace`,
    /// `.spawner(|task| drop(tokio::spawn(task.in_current_trace())))`. Such a spawner panics outside of a runtime, where the default gives up: if calls may be dropped there, ask
    /// `tokio::runtime::Handle::try_current` first.
    pub fn spawner(self, spawn: impl Spawn) -> Self {
        self.set_common(|common| common.tasks = Tasks::new(spawn))
    }

    /// Who hears of it. Several may.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.set_common(|common| common.audience.add(observer))
    }

    pub(crate) fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        self.with(settings, Arc::clone(&self.shared.common))
    }

    fn set_common(self, change: impl FnOnce(&mut Common)) -> Self {
        let mut common = Common::new(self.shared.common.tasks.clone());
        common.audience = self.shared.common.audience.clone();
        change(&mut common);
        self.with(self.shared.settings.clone(), Arc::new(common))
    }

    fn with(&self, settings: Settings, common: Arc<Common>) -> Self {
        Self {
            shared: Arc::new(Shared::new(self.shared.store.clone(), settings, common)),
            scoped: self.scoped.clone(),
        }
    }
}

impl<St, Sc> IdempotencyLayer<St, Sc> {
    /// The work that has lost its caller and goes on, the leases that are kept, and what a store that failed is to be asked again: wait for them at shutdown, and not without end, if the
    /// store may stay away.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.shared.common.tasks
    }

    /// What it has seen, and what it is doing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let common = &self.shared.common;
        Snapshot {
            running: common.running.load(std::sync::atomic::Ordering::Relaxed),
            waiting: common.waiting.load(std::sync::atomic::Ordering::Relaxed),
            tasks: common.tasks.running(),
            ..common.tally.snapshot()
        }
    }
}

impl<S, St> Layer<S> for IdempotencyLayer<St, Scoped> {
    type Service = Idempotent<S, St>;

    fn layer(&self, inner: S) -> Idempotent<S, St> {
        Idempotent::new(inner, Arc::clone(&self.shared))
    }
}

impl<St, Sc: Clone> Clone for IdempotencyLayer<St, Sc> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            scoped: self.scoped.clone(),
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
