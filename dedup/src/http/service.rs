//! The service: always ready, and thin.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer::{Answer, Landed, alone};
use super::body::DedupBody;
use super::settings::Shared;
use crate::flying::{Call, Inline, Leading, Mode, Ready, Run};

/// Made by [`DedupLayer`](super::DedupLayer).
pub struct Dedup<S, B, M = Inline> {
    inner: S,
    shared: Arc<Shared<B>>,
    mode: M,
}

impl<S, B, M> Dedup<S, B, M> {
    pub(super) fn new(inner: S, shared: Arc<Shared<B>>, mode: M) -> Self {
        Self {
            inner,
            shared,
            mode,
        }
    }
}

type Work<S, ReqB, B, E> = Leading<Ready<S, Request<ReqB>>, Answer<B, E>>;

impl<S, ReqB, B, M> Service<Request<ReqB>> for Dedup<S, B, M>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    ReqB: Body,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    M: Mode<Work<S, ReqB, B, S::Error>> + Clone,
{
    type Response = Response<DedupBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, B, M>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let key = if is_shareable(&parts, &body) {
            self.shared.key(&parts)
        } else {
            None
        };
        let Some(key) = key else {
            return ResponseFuture::pass(self.inner.clone(), Request::from_parts(parts, body));
        };
        let answer = Answer::new(&self.shared, &parts, &key);
        let work = Ready(self.inner.clone(), Request::from_parts(parts, body));
        let role = self.shared.flights.join_by(key, Landed::of_newcomer);
        ResponseFuture::run(Run::new(Some(role), work, answer, self.mode.clone()))
    }
}

/// Safe methods without a body. An upgrade is a conversation with one client.
fn is_shareable(parts: &http::request::Parts, body: &impl Body) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && body.is_end_stream()
        && !parts.headers.contains_key(http::header::UPGRADE)
}

pin_project! {
    /// The response of a [`Dedup`] service.
    ///
    /// # Cancellation
    ///
    /// Dropping a leader drops the inner call, then makes one follower the leader, which calls the inner service with its own
    /// request; in a [detached](super::DedupLayer::detached) layer the call goes on instead. Dropping a follower gives its place back. Dropping
    /// one that is alone drops its inner call.
    pub struct ResponseFuture<S, ReqB, B, M = Inline>
    where
        S: Service<Request<ReqB>, Response = Response<B>>,
        B: Body,
        B: Send,
        B: 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        M: Mode<Work<S, ReqB, B, S::Error>>,
    {
        #[pin]
        state: State<S, ReqB, B, M>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B, M>
    where
        S: Service<Request<ReqB>, Response = Response<B>>,
        B: Body,
        B: Send,
        B: 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        M: Mode<Work<S, ReqB, B, S::Error>>,
    {
        // Of no flight, and so without anything of one.
        Pass { #[pin] call: Call<S, Request<ReqB>> },
        Run { #[pin] run: Run<Ready<S, Request<ReqB>>, Answer<B, S::Error>, M> },
    }
}

impl<S, ReqB, B, M> ResponseFuture<S, ReqB, B, M>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    M: Mode<Work<S, ReqB, B, S::Error>>,
{
    fn pass(inner: S, request: Request<ReqB>) -> Self {
        Self {
            state: State::Pass {
                call: Call::new(inner, request),
            },
        }
    }

    fn run(run: Run<Ready<S, Request<ReqB>>, Answer<B, S::Error>, M>) -> Self {
        Self {
            state: State::Run { run },
        }
    }
}

impl<S, ReqB, B, M> Future for ResponseFuture<S, ReqB, B, M>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    M: Mode<Work<S, ReqB, B, S::Error>>,
{
    type Output = Result<Response<DedupBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Pass { call } => Poll::Ready(Ok(alone(ready!(call.poll(cx))?))),
            StateProjection::Run { run } => run.poll(cx),
        }
    }
}

impl<S: Clone, B, M: Clone> Clone for Dedup<S, B, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            mode: self.mode.clone(),
        }
    }
}

impl<S: fmt::Debug, B, M> fmt::Debug for Dedup<S, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, ReqB, B, M> fmt::Debug for ResponseFuture<S, ReqB, B, M>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    M: Mode<Work<S, ReqB, B, S::Error>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Pass { .. } => f.write_str("Run(\"alone\")"),
            State::Run { run } => run.fmt(f),
        }
    }
}
