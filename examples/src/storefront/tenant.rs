//! Whom a request is for: the `x-tenant` header.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use buttress_wire::{Refusal, grpc::Code};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

/// A tenant's name: up to 32 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Tenant(String);

impl Tenant {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A tag that no other tenant has.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}/{tag}", self.0)
    }
}

/// The partition that a request's cache entries, flights and idempotency records are kept in.
pub(crate) fn partition(parts: &Parts) -> Cow<'_, [u8]> {
    Cow::Borrowed(name(&parts.headers).as_bytes())
}

/// Lets only requests with a tenant's name pass, before anything is keyed by it.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let once = headers.get_all(HEADER).iter().count() <= 1;
    if once && is_name(name(headers)) {
        return next.run(request).await;
    }
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:storefront:problem:tenant",
        "The tenant's name cannot be read",
        Code::InvalidArgument,
    )
    .detail("x-tenant is one name of up to 32 lower-case letters, digits and hyphens")
    .response(request.headers())
    .into_response()
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(name(&parts.headers).to_owned()))
    }
}

pub(crate) const HEADER: &str = "x-tenant";

fn name(headers: &HeaderMap) -> &str {
    match headers.get(HEADER) {
        None => "main",
        // What is no text is no name either.
        Some(name) => name.to_str().unwrap_or_default(),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}
