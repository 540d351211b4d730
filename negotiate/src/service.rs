//! The service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::NegotiateBody;
use crate::decode::DecodeError;
use crate::formats::Formats;
use crate::future::{Finish, Refused, ResponseFuture};
use crate::negotiated::{Negotiated, OriginalAccept};
use crate::offers::NotAcceptable;
use crate::problem;
use crate::shared::Shared;

/// Made by [`NegotiateLayer`](crate::NegotiateLayer). A clone costs one reference count beyond the inner service's.
///
/// It is ready when the inner service is.
pub struct Negotiate<S, F> {
    inner: S,
    shared: Arc<Shared<F>>,
}

impl<S, F> Negotiate<S, F> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<F>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, F, A, B> Service<Request<A>> for Negotiate<S, F>
where
    S: Service<Request<A>, Response = Response<B>>,
    F: Formats,
    B: Body<Data = Bytes>,
{
    type Response = Response<NegotiateBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let finish = Finish {
            is_head: request.method() == Method::HEAD,
            xml_problems: problem::prefers_xml(&self.shared.problems, request.headers()),
        };
        match self.choose(&mut request) {
            Ok(chosen) => {
                self.tell(&mut request, chosen);
                let inner = self.inner.call(request);
                ResponseFuture::chosen(inner, Arc::clone(&self.shared), chosen, finish)
            }
            Err(refusal) => ResponseFuture::refused(refusal, finish),
        }
    }
}

impl<S, F: Formats> Negotiate<S, F> {
    /// What is served: what the target names, or else what the fields want most.
    fn choose<A>(&self, request: &mut Request<A>) -> Result<usize, Refused> {
        self.check_readable(request)?;
        if let Some(named) = self.shared.named(request.uri()) {
            if let Some(target) = named.target {
                *request.uri_mut() = target;
            }
            return Ok(named.chosen);
        }
        let chosen = self.shared.choose(request.headers());
        chosen.map_err(|NotAcceptable| Box::new(self.shared.refuse(request.headers())))
    }

    fn check_readable<A>(&self, request: &Request<A>) -> Result<(), Refused> {
        let headers = request.headers();
        if !self.shared.only_readable || !means_its_body(request) {
            return Ok(());
        }
        match self.shared.readers.find(headers, self.shared.suffixes) {
            Ok(_) => Ok(()),
            Err(kind) => {
                let error = DecodeError::new(kind, &self.shared.readers, request.method());
                Err(Box::new(error.refuse(headers)))
            }
        }
    }

    /// Leaves the choice in the request.
    fn tell<A>(&self, request: &mut Request<A>, chosen: usize) {
        let original = request.headers().get_all(ACCEPT).iter().cloned().collect();
        let accept = self.shared.variant(chosen).accept.clone();
        request.headers_mut().insert(ACCEPT, accept);
        let negotiated = Negotiated::new(Arc::clone(&self.shared), chosen);
        let extensions = request.extensions_mut();
        extensions.insert(negotiated);
        // Of two such layers, the outer one saw what the client sent.
        extensions.get_or_insert_with(|| OriginalAccept(original));
    }
}

/// Whether a request has a body that anybody could mean: it says what it is, is not empty, and the method has a use for one (RFC 9110,
/// sections 9.3.1 and 9.3.2).
fn means_its_body<A>(request: &Request<A>) -> bool {
    let headers = request.headers();
    let is_empty = headers.get(CONTENT_LENGTH).is_some_and(|v| v == "0");
    let has_use = !matches!(*request.method(), Method::GET | Method::HEAD);
    headers.contains_key(CONTENT_TYPE) && !is_empty && has_use
}

impl<S: Clone, F> Clone for Negotiate<S, F> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.shared))
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Negotiate<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiate")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
