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

/// A service of requests with this body, without its type. A clone costs one reference, however many layers are in it: what is called is a clone, made ready first, of the outermost alone.
pub(crate) struct Erased<R = Body>(Arc<dyn Answers<R>>);

pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

trait Answers<R>: Send + Sync {
    fn answer(&self, request: Request<R>) -> Answering;
}

impl<S, R, B> Answers<R> for S
where
    R: Send + 'static,
    S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn answer(&self, request: Request<R>) -> Answering {
        let mut service = self.clone();
        // Most are ready at once. One that is not is asked again by who waits for it.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Box::pin(service.call(request).map(forget)),
            Poll::Ready(Err(error)) => Box::pin(ready(Err(error.into()))),
            Poll::Pending => Box::pin(service.oneshot(request).map(forget)),
        }
    }
}

fn forget<B, E>(answered: Result<Response<B>, E>) -> Result<Response<Body>, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    E: Into<BoxError>,
{
    answered.map(boxed).map_err(Into::into)
}

impl<R> Clone for Erased<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Send + 'static> Erased<R> {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(service))
    }

    pub(crate) fn answer(&self, request: Request<R>) -> Answering {
        self.0.answer(request)
    }
}

impl<R: Send + 'static> Service<Request<R>> for Erased<R> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Answering {
        self.answer(request)
    }
}
