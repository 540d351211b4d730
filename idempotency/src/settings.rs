//! Choices.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use buttress_wire::Protocol;
use buttress_wire::fields::Reach;
use buttress_wire::key::{Field, find};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, request, response};

use crate::cipher::Cipher;
use crate::fingerprint::{Beside, Fingerprint, FingerprintError};
use crate::keep::{Keep, Names};
use crate::key::{ClientKey, KeyError, MAX_KEY, Syntax};
use crate::layer::IdempotencyLayer;
use crate::reconcile::Reconcile;
use crate::scopes::Scopes;
use crate::store::{Recovery, Store};

pub(crate) type ScopeFn = dyn Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync;
type RouteFn = dyn Fn(&request::Parts) -> Cow<'_, str> + Send + Sync;
type KeepFn = dyn Fn(&response::Parts) -> Keep + Send + Sync;
type FingerprintFn =
    dyn Fn(&request::Parts, &[u8]) -> Result<Fingerprint, FingerprintError> + Send + Sync;

/// What becomes of a duplicate while the first request of its key is running.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnConflict {
    /// 409 with `Retry-After`.
    #[default]
    Reject,
    /// It waits for the first one, and is answered with its response.
    ///
    /// It hears at once of claims that this layer settles, and of others where the store tells ([`Store::changed`]); else it asks the store, first after 10 ms and
    /// then less and less often, once a second in the end.
    Wait {
        /// How long; then 409.
        at_most: Duration,
        /// How many requests of this layer may wait, each with its body in memory; further ones get 409.
        waiters: usize,
    },
}

/// Whose future the work runs in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Execution {
    /// The caller's. When the caller leaves in the middle of it, a task of the layer's goes on with it.
    #[default]
    DetachOnDrop,
    /// A task of the layer's, from its beginning: it does not depend on how often its caller polls, nor on the caller's runtime.
    Detached,
    /// The caller's alone. When it leaves in the middle, the work is dropped where it was, the claim is left, and [`Recovery`] decides. For handlers that are
    /// safe to stop anywhere.
    Inline,
}

/// What becomes of a keyed request when the store fails.
///
/// A record that is there and cannot be read is another matter: it is always a 503, for something was done. So is a store that has no room for another key: it works, and whoever
/// fills it does not get past it. And what was read before the store failed is the answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnStoreError {
    /// It goes to the inner service unprotected: it may happen twice.
    Bypass,
    /// A 503 problem.
    #[default]
    Reject,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) scope: Option<Arc<ScopeFn>>,
    pub(crate) route: Option<Arc<RouteFn>>,
    pub(crate) keep: Option<Arc<KeepFn>>,
    pub(crate) fingerprint: Option<Arc<FingerprintFn>>,
    pub(crate) reconcile: Option<Arc<dyn Reconcile>>,
    pub(crate) methods: Vec<Method>,
    pub(crate) header: HeaderName,
    pub(crate) replay_header: HeaderName,
    pub(crate) request_id: HeaderName,
    /// That name, unless all the world knows it to be of one exchange.
    own_id: Option<HeaderName>,
    pub(crate) syntax: Syntax,
    pub(crate) max_key: usize,
    pub(crate) required: bool,
    pub(crate) max_request_body: usize,
    pub(crate) max_recorded_body: usize,
    pub(crate) lease: Duration,
    pub(crate) ttl: Duration,
    pub(crate) recovery: Recovery,
    pub(crate) on_conflict: OnConflict,
    pub(crate) execution: Execution,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) running: Option<Scopes>,
    pub(crate) max_running: NonZeroUsize,
    pub(crate) secret: Secret,
    pub(crate) former_secrets: Vec<Secret>,
    pub(crate) cipher: Cipher,
}

/// How many claims a layer holds at once, unless something else is chosen.
const MAX_RUNNING: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

impl Default for Settings {
    fn default() -> Self {
        Self {
            scope: None,
            route: None,
            keep: None,
            fingerprint: None,
            reconcile: None,
            methods: vec![Method::POST, Method::PATCH],
            header: HeaderName::from_static("idempotency-key"),
            replay_header: HeaderName::from_static("idempotency-replayed"),
            request_id: HeaderName::from_static("x-request-id"),
            own_id: None,
            syntax: Syntax::default(),
            max_key: MAX_KEY,
            required: false,
            max_request_body: 1 << 20,
            max_recorded_body: 1 << 20,
            lease: Duration::from_secs(30),
            ttl: Duration::from_secs(24 * 60 * 60),
            recovery: Recovery::default(),
            on_conflict: OnConflict::default(),
            execution: Execution::default(),
            on_store_error: OnStoreError::default(),
            running: None,
            max_running: MAX_RUNNING,
            secret: Secret::none(),
            former_secrets: Vec::new(),
            cipher: Cipher::default(),
        }
    }
}

/// What tells a request from others.
pub(crate) struct Marks<'a> {
    pub(crate) key: Result<Option<ClientKey<'a>>, KeyError>,
    pub(crate) protocol: Protocol,
    pub(crate) content_type: Field<'a>,
    pub(crate) request_id: Option<&'a HeaderValue>,
}

impl Settings {
    /// The key of a request with these headers.
    pub(crate) fn key<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<Option<ClientKey<'a>>, KeyError> {
        self.marks(headers).key
    }

    /// What tells a request from others, found in one walk over its fields.
    pub(crate) fn marks<'a>(&self, headers: &'a HeaderMap) -> Marks<'a> {
        let place = |name: &HeaderName| match name {
            name if *name == self.header => Some(0),
            name if *name == CONTENT_TYPE => Some(1),
            name if *name == self.request_id => Some(2),
            _ => None,
        };
        let [key, content_type, request_id] = find(headers, place);
        Marks {
            key: ClientKey::of(key, self.syntax, self.max_key),
            protocol: match content_type {
                Field::Absent => Protocol::Http,
                Field::Once(content_type) => Protocol::of_type(Some(content_type)),
                Field::Repeated => Protocol::of(headers),
            },
            content_type,
            request_id: match request_id {
                Field::Once(id) => Some(id),
                // One field may be both.
                Field::Absent if ![&self.header, &CONTENT_TYPE].contains(&&self.request_id) => None,
                Field::Absent | Field::Repeated => headers.get(&self.request_id),
            },
        }
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            replay: &self.replay_header,
            own_id: self.own_id.as_ref(),
        }
    }

    pub(crate) fn scope<'a>(&self, head: &'a request::Parts) -> Cow<'a, [u8]> {
        let scope = self.scope.as_ref();
        scope.map(|scope| scope(head)).unwrap_or_default()
    }

    pub(crate) fn route<'a>(&self, head: &'a request::Parts) -> Cow<'a, str> {
        match &self.route {
            Some(route) => route(head),
            None => Cow::Borrowed(head.uri.path()),
        }
    }

    /// `beside` is what the body is hashed with where nothing else was chosen.
    pub(crate) fn fingerprint(
        &self,
        head: &request::Parts,
        body: &[u8],
        beside: &Beside,
    ) -> Result<Fingerprint, FingerprintError> {
        match &self.fingerprint {
            Some(fingerprint) => fingerprint(head, body),
            None => Ok(beside.fingerprint(body)),
        }
    }
}

/// What record keys and fingerprints are hashed with.
#[derive(Clone, Copy)]
pub(crate) struct Secret {
    bytes: [u8; 32],
    /// Whether it is none: where nobody has a secret, all the world knows this one.
    is_none: bool,
}

impl Secret {
    fn none() -> Self {
        Self {
            bytes: blake3::derive_key("buttress-idempotency 2026-11 record key", b""),
            is_none: true,
        }
    }

    fn new(bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            is_none: false,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// A fingerprint as it is stored: nobody who reads it can try out what the request may have said.
    pub(crate) fn hide(&self, fingerprint: Fingerprint) -> Fingerprint {
        if self.is_none {
            return fingerprint;
        }
        let hidden = blake3::keyed_hash(&self.bytes, fingerprint.as_bytes());
        Fingerprint::from_bytes(*hidden.as_bytes())
    }
}

/// Which requests, and what is a key.
impl<St: Store + Clone, Sc: Clone> IdempotencyLayer<St, Sc> {
    /// Which methods are looked at. Default: `POST` and `PATCH`.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.set(|settings| settings.methods = methods.into_iter().collect())
    }

    /// The field that carries the key. Default: `Idempotency-Key`.
    pub fn header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.header = name)
    }

    /// What tells one route from another: keys of different routes never meet. Default: the path of the request's URI, as this layer sees it.
    ///
    /// A router that strips a prefix before this layer, as axum's `nest` does, leaves the same path to all that are under prefixes: `/tenants/a/orders` and `/tenants/b/orders` are both
    /// `/orders` then, and one is answered with the other's response. Give the whole path; axum has it as `OriginalUri`.
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// use buttress_idempotency::{IdempotencyLayer, MemoryStore};
    /// use std::borrow::Cow;
    ///
    /// let layer = IdempotencyLayer::new(MemoryStore::new())
    ///     .single_tenant()
    ///     .route(|request| match request.extensions.get::<OriginalUri>() {
    ///         Some(uri) => Cow::Borrowed(uri.path()),
    ///         None => Cow::Borrowed(request.uri.path()),
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn route<F>(self, route: F) -> Self
    where
        F: Fn(&request::Parts) -> Cow<'_, str> + Send + Sync + 'static,
    {
        self.set(|settings| settings.route = Some(Arc::new(route)))
    }

    /// How a key may be spelled. Default: quoted or bare.
    pub fn syntax(self, syntax: Syntax) -> Self {
        self.set(|settings| settings.syntax = syntax)
    }

    /// How many characters a key may have; a longer one is refused before anything else is done. Default, and at most: 255.
    pub fn max_key_length(self, characters: usize) -> Self {
        self.set(|settings| settings.max_key = characters.min(MAX_KEY))
    }

    /// Whether a request without a key is refused with 400. Default: it passes, unprotected.
    pub fn required(self, required: bool) -> Self {
        self.set(|settings| settings.required = required)
    }

    /// What makes a second request under one key the same request; for another one the answer is 422. Default:
    /// [`raw_body`](crate::fingerprint::raw_body).
    ///
    /// A new way to tell takes all records for those of other requests: change the scope with it, or wait for a ttl without requests.
    pub fn fingerprint<F>(self, fingerprint: F) -> Self
    where
        F: Fn(&request::Parts, &[u8]) -> Result<Fingerprint, FingerprintError>
            + Send
            + Sync
            + 'static,
    {
        self.set(|settings| settings.fingerprint = Some(Arc::new(fingerprint)))
    }

    /// The largest request body, in bytes; a larger one is refused with 413. It is kept in memory while it is sent on, since its
    /// hash has to be known before. Default: 1 MiB.
    pub fn max_request_body(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_request_body = bytes)
    }

    /// The secret that record keys and fingerprints are hashed with: without it, nobody who reads the store can try out scopes, keys and bodies. Give all processes that share a store the
    /// same one. A new one alone forgets all records; see [`former_secret`](Self::former_secret).
    pub fn secret(self, secret: [u8; 32]) -> Self {
        self.set(|settings| settings.secret = Secret::new(secret))
    }

    /// A secret that keys may also be filed under, by processes that are older, or newer, than this one.
    ///
    /// To rotate without losing a record or a claim: give every process the new secret as a former one; when all have it, make the new one [`secret`](Self::secret) and the
    /// old one the former; after a ttl drop the old one. At each moment of this each key has one holder. Where they meet in the middle, a request may be told that
    /// another is in progress, and be right when it is sent again.
    ///
    /// A first request then costs one more round trip for each of them.
    pub fn former_secret(self, secret: [u8; 32]) -> Self {
        self.set(|settings| settings.former_secrets.push(Secret::new(secret)))
    }

    /// The same for the time when there was no [`secret`](Self::secret).
    pub fn formerly_without_secret(self) -> Self {
        self.set(|settings| settings.former_secrets.push(Secret::none()))
    }
}

/// How the work is done.
impl<St: Store + Clone, Sc: Clone> IdempotencyLayer<St, Sc> {
    /// Whose future the work runs in. Default: the caller's, and a task's when it leaves.
    pub fn execution(self, execution: Execution) -> Self {
        self.set(|settings| settings.execution = execution)
    }

    /// What becomes of a duplicate while the first request is running. Default: 409.
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        self.set(|settings| settings.on_conflict = on_conflict)
    }

    /// How many claims this layer may hold at once, or ask for, whoever they are for; a first request beyond that is refused with 503, and a duplicate is still answered. Default: 4096.
    ///
    /// Each has a request in memory, with its body. Work goes on without its caller, and clients that leave as soon as they have sent a request bring more of it than there are connections. A claim is
    /// held until its response is filed, so also by a reader who does not read: that one caller does not use up the whole layer is what [`max_running_per_scope`](Self::max_running_per_scope) is
    /// for, and a timeout inside. Layers that were made of one another by settings count together, as they do those who wait.
    pub fn max_running(self, claims: NonZeroUsize) -> Self {
        self.set(|settings| settings.max_running = claims)
    }

    /// How many claims a scope may hold at once in this process; a first request beyond that is refused with 429, and a duplicate is still answered. Default: no limit.
    pub fn max_running_per_scope(self, claims: NonZeroUsize) -> Self {
        self.set(|settings| settings.running = Some(Scopes::new(claims)))
    }

    /// How long a claim is good after its holder was last heard of, three milliseconds at least. Default: 30 s.
    ///
    /// A task of the layer's renews it three times as often, from the moment at which the work is first found pending: from then on it may
    /// block its thread, or be left unpolled, for as long as it likes.
    pub fn lease(self, lease: Duration) -> Self {
        self.set(|settings| settings.lease = lease.max(Duration::from_millis(3)))
    }

    /// What becomes of a request whose predecessor is gone without having said how it ended. Default: it is done again.
    pub fn recovery(self, recovery: Recovery) -> Self {
        self.set(|settings| settings.recovery = recovery)
    }

    /// Asks the downstream system how the work of a holder ended who is gone, instead of doing it again. Sets [`recovery`](Self::recovery) to [`Recovery::Reject`], which says what becomes of what the
    /// downstream system does not know either.
    ///
    /// The hook holds the claim while it asks, with a lease that is kept and a new fence: one request of a key asks at a time, and whoever held the claim before can
    /// settle nothing any more. When it panics, or its request is dropped under [`Execution::Inline`], nothing is known still. Give it a timeout of its own.
    ///
    /// ```
    /// use buttress_idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Reconciled};
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    ///
    /// # async fn payment_of(_: &str) -> Result<Option<Bytes>, ()> { Ok(None) }
    /// let layer = IdempotencyLayer::new(MemoryStore::new())
    ///     .single_tenant()
    ///     .reconcile(|request: Request<Bytes>| async move {
    ///         let claim: &Idempotency = request.extensions().get().expect("it is held");
    ///         match payment_of(&claim.downstream_key("payment")).await {
    ///             Ok(Some(receipt)) => Reconciled::Done(Response::new(receipt)),
    ///             Ok(None) => Reconciled::NotDone,
    ///             Err(_) => Reconciled::Unknown,
    ///         }
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn reconcile(self, reconcile: impl Reconcile) -> Self {
        self.set(|settings| {
            settings.reconcile = Some(Arc::new(reconcile));
            settings.recovery = Recovery::Reject;
        })
    }

    /// What becomes of a keyed request when the store fails. Default: 503.
    pub fn on_store_error(self, on_store_error: OnStoreError) -> Self {
        self.set(|settings| settings.on_store_error = on_store_error)
    }
}

/// What is recorded, and replayed.
impl<St: Store + Clone, Sc: Clone> IdempotencyLayer<St, Sc> {
    /// Which responses are recorded, and which say that nothing happened. Default: see [`Keep`].
    pub fn keep<F>(self, keep: F) -> Self
    where
        F: Fn(&response::Parts) -> Keep + Send + Sync + 'static,
    {
        self.set(|settings| settings.keep = Some(Arc::new(keep)))
    }

    /// The largest response body that is recorded, in bytes. A larger one streams to its client; a repetition of the request is then
    /// refused, and never done again. Default: 1 MiB.
    pub fn max_recorded_body(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_recorded_body = bytes)
    }

    /// How long a response is replayed, a second at least. Default: 24 h.
    pub fn ttl(self, ttl: Duration) -> Self {
        // A record that is over as it is filed would let the next request do it all again.
        let ttl = ttl.max(Duration::from_secs(1));
        self.set(|settings| settings.ttl = ttl)
    }

    /// The field that marks a replay, with the value `true`. Default: `Idempotency-Replayed`.
    pub fn replay_header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.replay_header = name)
    }

    /// The field of a request that holds its id, as a layer outside of this one has set it. A replay tells that of the first request, as `Original-Request`. Default:
    /// `X-Request-Id`. A response that says it too says it once: it is not replayed.
    pub fn request_id(self, name: HeaderName) -> Self {
        self.set(|settings| {
            settings.own_id = (Reach::of(&name) == Reach::Message).then(|| name.clone());
            settings.request_id = name;
        })
    }

    /// Encrypts records before they go to the store.
    #[cfg(feature = "encryption")]
    pub fn encryption(self, keyring: crate::Keyring) -> Self {
        self.set(|settings| settings.cipher.keyring = Some(Arc::new(keyring)))
    }
}
