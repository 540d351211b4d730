#![doc = include_str!("../README.md")]

mod body;
mod event;
mod fingerprint;
mod future;
mod handler;
mod held;
mod key;
mod layer;
mod record;
mod refusal;
mod service;
mod store;
mod streaming;
pub mod transaction;
mod work;

pub use buttress_wire::BodyError;

pub use body::{IdempotentBody, RequestBody};
pub use event::{Event, Observer};
pub use fingerprint::Fingerprint;
pub use future::ResponseFuture;
pub use handler::Idempotency;
pub use key::{RecordKey, Syntax};
pub use layer::{IdempotencyLayer, OnStoreError, Scoped, Unscoped};
pub use record::{Keep, NoEffect};
pub use service::Idempotent;
#[cfg(feature = "test-util")]
pub use store::conformance;
#[cfg(feature = "postgres")]
pub use store::postgres::{self, PostgresStore};
#[cfg(feature = "redis")]
pub use store::redis::{self, RedisStore};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{self, SqliteStore};
pub use store::{
    Begin, BeginRequest, Claim, MemoryStore, MemoryStoreBuilder, Purge, Record, Recovery, Snapshot,
    Standing, Store, StoreError, Token,
};
