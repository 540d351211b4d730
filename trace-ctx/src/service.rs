//! The services: as ready as what is inside, and thin.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::exchange::Exchange;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::{ResponseFuture, Sink, TraceBody};

/// Made by [`ServerLayer`](crate::ServerLayer). A clone costs one reference count beyond the inner service's.
pub struct ServerService<S, K = ()> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<K>>,
}

/// Made by [`ClientLayer`](crate::ClientLayer). A clone costs one reference count beyond the inner service's.
pub struct ClientService<S, K = ()> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<K>>,
}

impl<S, K, A, B> Service<Request<A>> for ServerService<S, K>
where
    S: Service<Request<A>, Response = Response<B>>,
    K: Sink,
    B: Body,
{
    type Response = Response<TraceBody<B, K>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let context = Slot::of(self.shared.policy.accept(&mut request));
        if let Some(context) = context.get() {
            request.extensions_mut().insert(context.clone());
        }
        let mut exchange = Exchange::begin(&self.shared, context, &request);
        let inner = if let Some(_entered) = exchange.enter_silently() {
            self.inner.call(request)
        } else {
            exchange.enter(|| self.inner.call(request))
        };
        ResponseFuture::new(Some(inner), exchange)
    }
}

impl<S, K, A, B> Service<Request<A>> for ClientService<S, K>
where
    S: Service<Request<A>, Response = Response<B>>,
    K: Sink,
    B: Body,
{
    type Response = Response<TraceBody<B, K>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let context = self.shared.policy.descend_in(&mut request);
        if let Some(context) = context.get() {
            self.shared.policy.send(context, &mut request);
        }
        let mut exchange = Exchange::begin(&self.shared, context, &request);
        let inner = if let Some(_entered) = exchange.enter_silently() {
            self.inner.call(request)
        } else {
            exchange.enter(|| self.inner.call(request))
        };
        ResponseFuture::new(Some(inner), exchange)
    }
}

macro_rules! shared_by_clones {
    ($service:ident) => {
        impl<S: Clone, K> Clone for $service<S, K> {
            fn clone(&self) -> Self {
                Self {
                    inner: self.inner.clone(),
                    shared: self.shared.clone(),
                }
            }
        }

        impl<S: fmt::Debug, K> fmt::Debug for $service<S, K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($service))
                    .field("inner", &self.inner)
                    .finish_non_exhaustive()
            }
        }
    };
}

shared_by_clones!(ServerService);
shared_by_clones!(ClientService);
