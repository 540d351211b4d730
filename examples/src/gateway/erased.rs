//! Services whose types are forgotten, since which layers there are is said on the command line.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use tower::{BoxError, Service, ServiceExt};

use crate::gateway::proxy::{Body, boxed};

/// A service of requests with body `R` and errors `E`, without its type. A clone costs one reference, however many layers are in it: what is called is a clone, made ready first, of the outermost alone.
pub(crate) struct Erased<R = Body, E = BoxError>(Arc<dyn Answers<R, E>>);

pub(crate) type Answering<E = BoxError> =
    Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

trait Answers<R, E>: Send + Sync {
    fn answer(&self, request: Request<R>) -> Answering<E>;
}

impl<S, R, B, E> Answers<R, E> for S
where
    R: Send + 'static,
    E: Send + 'static,
    S: Service<Request<R>, Response = Response<B>, Error: Into<E>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn answer(&self, request: Request<R>) -> Answering<E> {
        let mut service = self.clone();
        // Most are ready at once. One that is not is asked again by who waits for it.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Box::pin(service.call(request).map(forget)),
            Poll::Ready(Err(error)) => Box::pin(ready(Err(error.into()))),
            Poll::Pending => Box::pin(service.oneshot(request).map(forget)),
        }
    }
}

fn forget<B, E, F: Into<E>>(answered: Result<Response<B>, F>) -> Result<Response<Body>, E>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    answered.map(boxed).map_err(Into::into)
}

impl<R, E> Clone for Erased<R, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Send + 'static, E: Send + 'static> Erased<R, E> {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<R>, Response = Response<B>, Error: Into<E>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(service))
    }

    pub(crate) fn answer(&self, request: Request<R>) -> Answering<E> {
        self.0.answer(request)
    }
}

impl<R: Send + 'static, E: Send + 'static> Service<Request<R>> for Erased<R, E> {
    type Response = Response<Body>;
    type Error = E;
    type Future = Answering<E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Answering<E> {
        self.answer(request)
    }
}
