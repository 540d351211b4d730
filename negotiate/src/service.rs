//! The service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
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
        let is_head = request.method() == Method::HEAD;
        let finish = |may_be_xml| Finish {
            is_head,
            may_be_xml,
        };
        let shared = Arc::clone(&self.shared);
        match self.choose(&mut request) {
            Ok(chosen) => {
                let finish = finish(self.tell(&mut request, chosen));
                let inner = self.inner.call(request);
                ResponseFuture::chosen(inner, shared, chosen, finish)
            }
            Err(refusal) => {
                let accept = OriginalAccept::of(request.headers());
                ResponseFuture::refused(refusal, shared, finish(Some(accept)))
            }
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

    /// Leaves the choice in the request. Gives what the client sent if that may be about problems in XML.
    fn tell<A>(&self, request: &mut Request<A>, chosen: usize) -> Option<OriginalAccept> {
        let accept = self.shared.variant(chosen).accept.clone();
        let original = OriginalAccept::replace(request.headers_mut(), accept);
        let may_be_xml = problem::may_be_xml(&original).then(|| original.clone());
        let negotiated = Negotiated::new(Arc::clone(&self.shared), chosen);
        let extensions = request.extensions_mut();
        extensions.insert(negotiated);
        // Of two such layers, the outer one saw what the client sent.
        extensions.get_or_insert_with(|| original);
        may_be_xml
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
