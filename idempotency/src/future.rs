//! A request on its way, and what goes on when its caller leaves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::{Protocol, Refusal};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use crate::body::{IdempotentBody, RequestBody};
use crate::opening::Call;
use crate::progress::Progress;
use crate::shared::Apart;
use crate::store::Store;

type Answer<B, E> = Result<Response<IdempotentBody<B>>, E>;

pin_project! {
    /// The response of an [`Idempotent`](crate::Idempotent) service.
    ///
    /// # Cancellation
    ///
    /// Before the key is claimed, dropping it undoes everything. From then on the work is not the caller's alone: dropping it hands the work
    /// to a task of the layer's, which brings it to its end and files the record.
    pub struct ResponseFuture<S, ReqB, B>
    where
        S: Service<Request<RequestBody<ReqB>>>,
    {
        #[pin]
        state: State<S, ReqB, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B>
    where
        S: Service<Request<RequestBody<ReqB>>>,
    {
        Pass { #[pin] call: Oneshot<S, Request<RequestBody<ReqB>>> },
        Refuse { response: Option<Response<IdempotentBody<B>>> },
        Work { work: Detachable<Answer<B, S::Error>> },
    }
}

impl<S, ReqB, B> ResponseFuture<S, ReqB, B>
where
    S: Service<Request<RequestBody<ReqB>>>,
{
    pub(crate) fn pass(inner: S, request: Request<RequestBody<ReqB>>) -> Self {
        Self {
            state: State::Pass {
                call: Oneshot::new(inner, request),
            },
        }
    }

    pub(crate) fn refuse(refusal: &Refusal, protocol: Protocol) -> Self {
        let response = refusal.render(protocol).map(IdempotentBody::refusal);
        Self {
            state: State::Refuse {
                response: Some(response),
            },
        }
    }

    /// In a box, for it must be able to move to another task.
    pub(crate) fn work(
        work: Pin<Box<dyn Future<Output = Answer<B, S::Error>> + Send>>,
        call: Arc<dyn Leave>,
    ) -> Self
    where
        B: 'static,
        S::Error: 'static,
    {
        let detach = |work: Pin<Box<dyn Future<Output = _> + Send>>, call: &dyn Leave| {
            call.apart().spawn(async move { drop(work.await) });
        };
        let work = Detachable {
            work: Some(work),
            call,
            detach,
        };
        Self {
            state: State::Work { work },
        }
    }
}

impl<S, ReqB, B> Future for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<RequestBody<ReqB>>, Response = Response<B>>,
{
    type Output = Answer<B, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Pass { call } => {
                Poll::Ready(Ok(ready!(call.poll(cx))?.map(IdempotentBody::pass)))
            }
            StateProjection::Refuse { response } => {
                let response = response.take();
                Poll::Ready(Ok(
                    response.expect("a future is not polled after it was ready")
                ))
            }
            StateProjection::Work { work } => work.poll(cx),
        }
    }
}

/// A call, to whoever may drop it.
pub(crate) trait Leave: Send + Sync {
    fn progress(&self) -> &Progress;
    /// Takes its work when its caller leaves.
    fn apart(&self) -> Apart;
}

impl<St: Store> Leave for Call<St> {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn apart(&self) -> Apart {
        self.shared.apart()
    }
}

/// Work that goes on without its caller once it has begun.
struct Detachable<T> {
    /// `None` when it is done, and while it is polled: what panics is not polled again.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    call: Arc<dyn Leave>,
    detach: fn(Pin<Box<dyn Future<Output = T> + Send>>, &dyn Leave),
}

impl<T> Detachable<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let mut work = self
            .work
            .take()
            .expect("a future is not polled after it was ready");
        let poll = work.as_mut().poll(cx);
        if poll.is_pending() {
            self.work = Some(work);
        }
        poll
    }
}

impl<T> Drop for Detachable<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && self.call.progress().leave()
        {
            (self.detach)(work, &*self.call);
        }
    }
}

impl<S, ReqB, B> fmt::Debug for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<RequestBody<ReqB>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
