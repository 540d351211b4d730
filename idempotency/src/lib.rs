#![doc = include_str!("../README.md")]

// A request's way: `service` sees whether it has a `key` that has to be honoured; `work` is all that is done for it, and is polled by `future`, or by a task when its caller leaves (`progress`,
// `spawned`). `opening` claims the key, or waits with the `waiters`; a claim is `held` while the `handler` works under it, and ends in a record (`keep`, `streaming`) or a `withdrawal`. Whoever comes
// second gets a `reply` or a `refusal`. What no machine can decide is for `operate` and `reconcile`. Records are kept by a `store`, alone or with the effect in one `transaction`.
mod body;
mod cipher;
mod event;
pub mod fingerprint;
mod future;
mod handler;
mod held;
mod keep;
mod key;
mod layer;
mod observe;
mod opening;
mod operate;
mod pauses;
mod progress;
mod reconcile;
mod refusal;
mod reply;
mod scopes;
mod service;
mod settings;
mod shared;
mod spawned;
mod store;
mod streaming;
pub mod transaction;
mod waiters;
mod withdrawal;
mod work;

pub use buttress_wire::BodyError;

pub use body::{IdempotentBody, RequestBody};
#[cfg(feature = "encryption")]
pub use cipher::Keyring;
pub use event::{Event, Observer, Snapshot};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use future::ResponseFuture;
pub use handler::Idempotency;
pub use keep::{Keep, NoEffect, Trailers};
pub use key::{KeyError, RecordKey, Syntax};
pub use layer::{IdempotencyLayer, Scoped, Unscoped};
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Tracing;
pub use reconcile::{Reconcile, Reconciled};
pub use service::Idempotent;
pub use settings::{Execution, OnConflict, OnStoreError};
#[cfg(feature = "test-util")]
pub use store::conformance;
#[cfg(feature = "postgres")]
pub use store::postgres::{self, PostgresStore};
#[cfg(feature = "redis")]
pub use store::redis::{self, RedisStore};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{self, SqliteStore};
pub use store::{
    Begin, BeginRequest, Claim, MemorySnapshot, MemoryStore, MemoryStoreBuilder, Origin, Purge,
    Record, Recovery, Standing, Store, StoreError, Token,
};
