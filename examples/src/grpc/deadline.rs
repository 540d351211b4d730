//! Deadlines: `grpc-timeout` on the wire, a point in time in here. Whoever is called for a caller gets what is left of his time.

use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::HeaderName;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tower::Service;

use crate::timeout;
use crate::until::Until;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call is over, whatever it has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Honours what a caller asks for: what is not done by then is dropped, and answered with DEADLINE_EXCEEDED.
pub(crate) async fn honour(mut request: Request, next: Next) -> Response {
    let Some(limit) = request.headers().get(GRPC_TIMEOUT).and_then(timeout::parse) else {
        return next.run(request).await;
    };
    let deadline = Deadline::after(limit);
    request.extensions_mut().insert(deadline);
    match timeout_at(deadline.0, next.run(request)).await {
        Ok(response) => response.map(|body| Body::new(Until::new(deadline.0, body))),
        Err(_) => exceeded(),
    }
}

/// A connection that tells the deadline of each call to who is called, and does not wait for longer.
#[derive(Clone, Debug)]
pub(crate) struct Keep<S>(pub(crate) S);

impl<S, B> Service<http::Request<B>> for Keep<S>
where
    S: Service<http::Request<B>, Response = Response, Future: Send + 'static>,
    S::Error: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let Some(deadline) = request.extensions().get::<Deadline>().copied() else {
            return Box::pin(self.0.call(request));
        };
        let headers = request.headers_mut();
        headers.insert(GRPC_TIMEOUT, timeout::write(deadline.left()));
        let answer = timeout_at(deadline.0, self.0.call(request));
        Box::pin(async move {
            let Ok(answer) = answer.await else {
                return Ok(exceeded());
            };
            Ok(answer?.map(|body| Body::new(Until::new(deadline.0, body))))
        })
    }
}

/// The deadline of the call with these parts, in a call that is made for it.
pub(crate) fn passed_on<M>(from: &tonic::Extensions, message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    if let Some(deadline) = from.get::<Deadline>() {
        request.extensions_mut().insert(*deadline);
    }
    request
}

/// What a call is answered with whose deadline has passed.
pub(crate) fn exceeded() -> Response {
    Status::deadline_exceeded("the deadline passed first").into_http()
}
