//! What axum knows, and what its handlers ask for.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{Extensions, StatusCode};

use crate::current::caught_up;
use crate::{FastIds, Head, Route, RouteName, TraceContext, current};

/// Finds the template in axum's `MatchedPath`: of a request inside the router, or of a [`RouteName`] in the response.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatchedPath;

impl Route for MatchedPath {
    fn of_request(&self, head: &Head<'_>) -> Option<RouteName> {
        let matched: &axum::extract::MatchedPath = head.extensions.get()?;
        Some(matched.as_str().into())
    }

    fn of_response(&self, _: StatusCode, extensions: &Extensions) -> Option<RouteName> {
        extensions.get().cloned()
    }
}

/// The request's context. Where no layer of ours is, a new trace of which nothing is recorded.
impl<S: Sync> FromRequestParts<S> for TraceContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(known(parts).unwrap_or_else(|| Self::root(&FastIds)))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for TraceContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(known(parts))
    }
}

fn known(parts: &Parts) -> Option<TraceContext> {
    let known = parts.extensions.get().cloned();
    known.map(caught_up).or_else(current)
}
