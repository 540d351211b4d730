//! The service: always ready, and thin.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Keyed;
use super::settings::Entrance;
use crate::error::DedupError;
use crate::flying::{Inline, Leading, Mode, Ready, Run};

/// Made by [`DedupLayer`](super::DedupLayer).
pub struct Dedup<S, F, K, T, E, M = Inline> {
    pub(super) inner: S,
    pub(super) entrance: Arc<Entrance<F, K, T, E>>,
    pub(super) mode: M,
}

type Work<S, Req, K, T, E> = Leading<Ready<S, Req>, Keyed<K, T, E>>;

impl<S, F, K, T, E, M, Req> Service<Req> for Dedup<S, F, K, T, E, M>
where
    S: Service<Req, Response = T, Error = E> + Clone,
    F: Fn(&Req) -> Option<K>,
    K: Eq + Hash,
    T: Clone,
    M: Mode<Work<S, Req, K, T, E>> + Clone,
{
    type Response = T;
    type Error = DedupError<E>;
    type Future = ResponseFuture<S, Req, K, T, E, M>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DedupError<E>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Entrance { key: of, shared } = &*self.entrance;
        let key = of(&request);
        let shell = Keyed::new(shared, key.as_ref());
        let work = Ready(self.inner.clone(), request);
        let role = key.map(|key| shared.flights.join(key));
        ResponseFuture {
            run: Run::new(role, work, shell, self.mode.clone()),
        }
    }
}

pin_project! {
    /// The response of a [`Dedup`] service.
    ///
    /// # Cancellation
    ///
    /// Dropping a leader drops the inner call, then makes one follower the leader, which calls the inner service with its own
    /// request; in a [detached](super::DedupLayer::detached) layer the call goes on instead. Dropping a follower gives its place back. Dropping
    /// one that is alone drops its inner call.
    pub struct ResponseFuture<S, Req, K, T, E, M = Inline>
    where
        S: Service<Req, Response = T, Error = E>,
        K: Eq,
        K: Hash,
        T: Clone,
        M: Mode<Work<S, Req, K, T, E>>,
    {
        #[pin]
        run: Run<Ready<S, Req>, Keyed<K, T, E>, M>,
    }
}

impl<S, Req, K, T, E, M> Future for ResponseFuture<S, Req, K, T, E, M>
where
    S: Service<Req, Response = T, Error = E>,
    K: Eq + Hash,
    T: Clone,
    M: Mode<Work<S, Req, K, T, E>>,
{
    type Output = Result<T, DedupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().run.poll(cx)
    }
}

impl<S: Clone, F, K, T, E, M: Clone> Clone for Dedup<S, F, K, T, E, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            entrance: Arc::clone(&self.entrance),
            mode: self.mode.clone(),
        }
    }
}

impl<S: fmt::Debug, F, K, T, E, M> fmt::Debug for Dedup<S, F, K, T, E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, Req, K, T, E, M> fmt::Debug for ResponseFuture<S, Req, K, T, E, M>
where
    S: Service<Req, Response = T, Error = E>,
    K: Eq + Hash,
    T: Clone,
    M: Mode<Work<S, Req, K, T, E>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.run.fmt(f)
    }
}
