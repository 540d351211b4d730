//! Asking the origin anew while a stale response is used (RFC 5861, section 3).

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::tasks::Tasks;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::CacheBody;
use super::future::Forward;

/// Who refreshes what is used while it is stale: [`Inline`] or [`Detached`].
pub trait Mode<W> {
    /// Takes the work, or gives it back to be done by the caller.
    #[doc(hidden)]
    fn spawn(&self, work: W) -> Option<W>;
}

/// One of those who ask refreshes, and waits; all others get what is stale meanwhile. Asks nothing of the service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl<W> Mode<W> for Inline {
    fn spawn(&self, work: W) -> Option<W> {
        Some(work)
    }
}

/// Everybody gets what is stale, and a task refreshes it.
#[derive(Clone, Debug)]
pub struct Detached(pub(super) Tasks);

impl<W: Future<Output = ()> + Send + 'static> Mode<W> for Detached {
    fn spawn(&self, work: W) -> Option<W> {
        self.0.spawn(work);
        None
    }
}

pin_project! {
    /// A request that is forwarded for the store's sake, and its response read to its end.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner call or its body, and nothing is stored.
    pub struct Refresh<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        Ask { #[pin] forward: Forward<S, ReqB> },
        Read { #[pin] body: CacheBody<B> },
        Done,
    }
}

impl<S, ReqB, B> Refresh<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    pub(super) fn new(forward: Forward<S, ReqB>) -> Self {
        Self {
            state: State::Ask { forward },
        }
    }

    /// The request, to be done by its caller.
    pub(super) fn into_forward(self) -> Option<Forward<S, ReqB>> {
        match self.state {
            State::Ask { forward } => Some(forward),
            State::Read { .. } | State::Done => None,
        }
    }
}

impl<S, ReqB, B> Future for Refresh<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                // ## Ask => (Read | Done)
                StateProjection::Ask { forward } => match ready!(forward.poll(cx)) {
                    // What is not kept may have no end.
                    Ok(response) if response.body().is_kept() => State::Read {
                        body: response.into_body(),
                    },
                    Ok(_) | Err(_) => State::Done,
                },
                // ## Read => (Read | Done)
                StateProjection::Read { body } => match ready!(body.poll_frame(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => State::Done,
                },
                StateProjection::Done => return Poll::Ready(()),
            };
            state.set(next);
        }
    }
}

impl<S, ReqB, B> fmt::Debug for Refresh<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}
