//! The service: always ready, and thin.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::DedupBody;
use super::future::ResponseFuture;
use super::layer::Shared;

/// Made by [`DedupLayer`](super::DedupLayer).
pub struct Dedup<S, B> {
    inner: S,
    shared: Arc<Shared<B>>,
}

impl<S, B> Dedup<S, B> {
    pub(super) fn new(inner: S, shared: Arc<Shared<B>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqB, B> Service<Request<ReqB>> for Dedup<S, B>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    ReqB: Body,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<DedupBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, B>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let inner = self.inner.clone();
        let (parts, body) = request.into_parts();
        let key = if is_shareable(&parts, &body) {
            self.shared.key(&parts)
        } else {
            None
        };
        ResponseFuture::new(key, Request::from_parts(parts, body), inner, &self.shared)
    }
}

/// Safe methods without a body. An upgrade is a conversation with one client.
fn is_shareable(parts: &http::request::Parts, body: &impl Body) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && body.is_end_stream()
        && !parts.headers.contains_key(http::header::UPGRADE)
}

impl<S: Clone, B> Clone for Dedup<S, B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Dedup<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
