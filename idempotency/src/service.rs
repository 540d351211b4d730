//! The service: always ready, and thin.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::{IdempotentBody, RequestBody};
use crate::fingerprint::Beside;
use crate::future::ResponseFuture;
use crate::opening::Keyed;
use crate::refusal;
use crate::settings::Marks;
use crate::shared::Shared;
use crate::store::Store;
use crate::work::{Incoming, Work};

/// Made by [`IdempotencyLayer`](crate::IdempotencyLayer).
pub struct Idempotent<S, St> {
    inner: S,
    shared: Arc<Shared<St>>,
}

impl<S, St> Idempotent<S, St> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<St>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, St, ReqB, B> Service<Request<ReqB>> for Idempotent<S, St>
where
    S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    St: Store,
    ReqB: Body + Send + 'static,
    ReqB::Data: Send,
    ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<IdempotentBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, B>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let settings = &self.shared.settings;
        let inner = self.inner.clone();
        if !settings.methods.contains(request.method()) {
            return ResponseFuture::pass(inner, request.map(RequestBody::own));
        }
        let (parts, body) = request.into_parts();
        let Marks {
            key,
            protocol,
            content_type,
            request_id,
        } = settings.marks(&parts.headers);
        let key = match key {
            Ok(Some(key)) => key,
            Ok(None) if settings.required => {
                return ResponseFuture::refuse(&refusal::key_missing(), protocol);
            }
            Ok(None) => {
                let request = Request::from_parts(parts, RequestBody::own(body));
                return ResponseFuture::pass(inner, request);
            }
            Err(error) => return ResponseFuture::refuse(&refusal::key_invalid(error), protocol),
        };
        let beside = Beside::of(&parts, content_type);
        let shared = Arc::clone(&self.shared);
        let keyed = Keyed::new(shared, &parts, &key, beside, protocol, request_id);
        let call = Arc::clone(&keyed.call) as _;
        let work = Work { inner, keyed };
        ResponseFuture::work(Box::pin(work.run(Incoming::new(parts), body)), call)
    }
}

impl<S: Clone, St> Clone for Idempotent<S, St> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for Idempotent<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotent")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
