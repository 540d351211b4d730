//! Services whose types are forgotten, since which layers there are is said on the command line.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower::{BoxError, Service, ServiceExt};

use crate::gateway::proxy::{Body, boxed};

/// A service without its type. A clone costs one reference, however many layers are in it: what is called is a clone, made ready first, of the outermost alone.
#[derive(Clone)]
pub(crate) struct Erased(Arc<dyn Answers>);

pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

trait Answers: Send + Sync {
    fn answer(&self, request: Request<Body>) -> Answering;
}

impl<S, B> Answers for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn answer(&self, request: Request<Body>) -> Answering {
        let answer = self.clone().oneshot(request);
        Box::pin(async { answer.await.map(boxed).map_err(Into::into) })
    }
}

impl Erased {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(service))
    }

    pub(crate) fn answer(&self, request: Request<Body>) -> Answering {
        self.0.answer(request)
    }
}

impl Service<Request<Body>> for Erased {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        self.answer(request)
    }
}
