//! The future of a call.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::adapter::Exchange;
use crate::error::Rejected;
use crate::permit::{Panicked, Permit};

pin_project! {
    /// The answer of a [`Circuit`](crate::Circuit).
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future first, and then settles by the breaker's [`Cancel`](crate::Cancel) policy; a probe's slot is free
    /// again at once.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, X> {
        #[pin]
        step: Step<F>,
        exchange: Option<X>,
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

impl<F, X> ResponseFuture<F, X> {
    pub(crate) fn called(inner: F, permit: Option<Permit>, exchange: X) -> Self {
        Self {
            step: Step::Called { inner, permit },
            exchange: Some(exchange),
        }
    }

    pub(crate) fn rejected(rejected: Rejected, exchange: X) -> Self {
        Self {
            step: Step::Rejected {
                rejected: Some(rejected),
            },
            exchange: Some(exchange),
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";

impl<F, X, Res, E> Future for ResponseFuture<F, X>
where
    F: Future<Output = Result<Res, E>>,
    X: Exchange<Res, E>,
{
    type Output = Result<X::Response, X::Error>;

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
                let exchange = this.exchange.take().expect(POLLED_AGAIN);
                exchange.end(result, permit.take().expect(POLLED_AGAIN))
            }
            StepProj::Rejected { rejected } => {
                let exchange = this.exchange.take().expect(POLLED_AGAIN);
                exchange.refuse(rejected.take().expect(POLLED_AGAIN))
            }
        })
    }
}

impl<F, X> fmt::Debug for ResponseFuture<F, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
