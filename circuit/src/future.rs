//! The future of a call.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::error::Rejected;
use crate::observe::Watch;
use crate::permit::{Panicked, Permit};

pin_project! {
    /// The answer of a [`Circuit`](crate::Circuit).
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future first, and then settles by the breaker's [`Cancel`](crate::Cancel) policy; a probe's slot is free
    /// again at once.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, W> {
        #[pin]
        step: Step<F>,
        watch: Option<W>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<F> {
        Called {
            #[pin]
            inner: F,
            permit: Option<Permit>,
        },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F, W> ResponseFuture<F, W> {
    pub(crate) fn called(inner: F, permit: Option<Permit>, watch: W) -> Self {
        Self {
            step: Step::Called { inner, permit },
            watch: Some(watch),
        }
    }

    pub(crate) fn rejected(rejected: Rejected, watch: W) -> Self {
        Self {
            step: Step::Rejected {
                rejected: Some(rejected),
            },
            watch: Some(watch),
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";

impl<F, W, Res, E> Future for ResponseFuture<F, W>
where
    F: Future<Output = Result<Res, E>>,
    W: Watch<Res, E>,
{
    type Output = Result<W::Response, W::Error>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match this.step.project() {
            StepProj::Called { inner, permit } => {
                let panicked = Panicked::unless_returned(permit);
                let polled = inner.poll(cx);
                panicked.returned();
                let result = ready!(polled);
                let watch = this.watch.take().expect(POLLED_AGAIN);
                watch.end(result, permit.take().expect(POLLED_AGAIN))
            }
            StepProj::Rejected { rejected } => {
                let watch = this.watch.take().expect(POLLED_AGAIN);
                watch.refuse(rejected.take().expect(POLLED_AGAIN))
            }
        })
    }
}

impl<F, W> fmt::Debug for ResponseFuture<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
