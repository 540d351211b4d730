//! How a request is refused (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).

use std::time::Duration;

use buttress_wire::{Refusal, grpc::Code};
use http::StatusCode;

use crate::fingerprint::FingerprintError;
use crate::key::KeyError;
use crate::store::{Origin, StoreError};

pub(crate) fn key_missing() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:buttress:problem:idempotency-key-missing",
        "This request needs an idempotency key",
        Code::InvalidArgument,
    )
}

pub(crate) fn key_invalid(error: KeyError) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:buttress:problem:idempotency-key-invalid",
        "The idempotency key cannot be read",
        Code::InvalidArgument,
    )
    .detail(error.to_string())
}

pub(crate) fn key_reused() -> Refusal {
    Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "urn:buttress:problem:idempotency-key-reused",
        "The idempotency key was used for another request",
        Code::InvalidArgument,
    )
}

pub(crate) fn in_progress(lease_left: Duration) -> Refusal {
    // The lease says when the key is free at the latest; most work is done long before.
    let delay = lease_left.clamp(Duration::from_secs(1), Duration::from_secs(5));
    Refusal::new(
        StatusCode::CONFLICT,
        "urn:buttress:problem:idempotency-in-progress",
        "A request with this idempotency key is being processed",
        Code::Aborted,
    )
    .retry_after(delay)
}

pub(crate) fn outcome_unknown() -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "urn:buttress:problem:idempotency-outcome-unknown",
        "It is not known how the first request with this idempotency key ended",
        Code::Aborted,
    )
}

pub(crate) fn response_not_stored(origin: &Origin) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::CONFLICT,
        "urn:buttress:problem:idempotency-response-not-stored",
        "The first request with this idempotency key was processed; its response was not kept",
        Code::Aborted,
    );
    match origin.request_id().and_then(|id| id.to_str().ok()) {
        Some(id) => refusal.with("original-request", id),
        None => refusal,
    }
}

pub(crate) fn no_fingerprint(error: FingerprintError) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:buttress:problem:idempotency-request-invalid",
        "The request cannot be told from others",
        Code::InvalidArgument,
    )
    .detail(error.into_detail())
}

pub(crate) fn crowded() -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "urn:buttress:problem:idempotency-too-many-running",
        "Too many requests with an idempotency key are being processed for this caller",
        Code::ResourceExhausted,
    )
    .retry_after(Duration::from_secs(1))
}

pub(crate) fn full() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:buttress:problem:idempotency-layer-full",
        "Too many requests with an idempotency key are being processed",
        Code::Unavailable,
    )
    .retry_after(Duration::from_secs(1))
}

pub(crate) fn request_too_large(limit: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "urn:buttress:problem:idempotency-request-too-large",
        "The body is too large for a request with an idempotency key",
        Code::ResourceExhausted,
    )
    .with("limit", limit)
}

pub(crate) fn body_broke() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:buttress:problem:idempotency-request-incomplete",
        "The body of the request did not arrive whole",
        Code::InvalidArgument,
    )
}

pub(crate) fn store_failed(error: &StoreError) -> Refusal {
    let kind = match error {
        StoreError::Corrupt(_) => "urn:buttress:problem:idempotency-record-unreadable",
        StoreError::Full => "urn:buttress:problem:idempotency-store-full",
        _ => "urn:buttress:problem:idempotency-store-unavailable",
    };
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        kind,
        "It cannot be made sure now that this request happens only once",
        Code::Unavailable,
    )
    .retry_after(Duration::from_secs(5))
}
