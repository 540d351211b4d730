//! The stores outside of the process, over real servers.
#![allow(clippy::unwrap_used)]

mod conformance;
mod history;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod patient;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod round_trips;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transaction;

/// The first request for a key that nobody else has.
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
fn order() -> buttress_idempotency::BeginRequest {
    use buttress_idempotency::{Fingerprint, RecordKey, Recovery, Token};

    let token = Token::random();
    let hour = std::time::Duration::from_secs(3600);
    buttress_idempotency::BeginRequest {
        key: RecordKey::from_bytes([token.0.to_be_bytes(); 2].concat().try_into().unwrap()),
        fingerprint: Fingerprint::from_bytes([7; 32]),
        token,
        lease: hour,
        ttl: hour,
        recovery: Recovery::Reject,
    }
}
