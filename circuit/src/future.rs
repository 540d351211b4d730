//! The future of a call.

use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::adapter::Exchange;
use crate::error::{Rejected, TimedOut};
use crate::event::Event;
use crate::fallback::{Outcome, Spare};
use crate::permit::{Panicked, Permit};
use crate::timeout::Timer;

pin_project! {
    /// The answer of a [`Circuit`](crate::Circuit): of the inner service, of the fallback, or a refusal.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future first, and then settles by the breaker's [`Cancel`](crate::Cancel) policy; a probe's slot is free
    /// again at once. So it is with a timeout, which is a failure. While the fallback answers, the breaker has no part in it any more.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<I, X, K, D, T> {
        #[pin]
        step: Step<I, D, T>,
        // Until it has said what the answer is.
        exchange: Option<X>,
        // Only of a call.
        spare: Option<K>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<I, D, T> {
        Called {
            #[pin]
            inner: I,
            #[pin]
            timer: T,
            permit: Option<Permit>,
        },
        Rejected { rejected: Rejected },
        Diverted {
            #[pin]
            detour: D,
            rejected: Option<Rejected>,
        },
        Over,
    }
}

impl<I, X, K, D, T> ResponseFuture<I, X, K, D, T> {
    pub(crate) fn called(
        inner: I,
        timer: T,
        permit: Option<Permit>,
        exchange: X,
        spare: K,
    ) -> Self {
        Self {
            step: Step::Called {
                inner,
                timer,
                permit,
            },
            exchange: Some(exchange),
            spare: Some(spare),
        }
    }

    pub(crate) fn rejected(rejected: Rejected, exchange: X) -> Self {
        Self {
            step: Step::Rejected { rejected },
            exchange: Some(exchange),
            spare: None,
        }
    }

    pub(crate) fn diverted(detour: D, rejected: Rejected) -> Self {
        let rejected = Some(rejected);
        Self {
            step: Step::Diverted { detour, rejected },
            exchange: None,
            spare: None,
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";

impl<I, X, K, D, T, Res, E> Future for ResponseFuture<I, X, K, D, T>
where
    I: Future<Output = Result<Res, E>>,
    X: Exchange<Res, E>,
    K: Spare<Res, E, Future = D>,
    D: Future<Output = Result<Res, E>>,
    T: Timer,
{
    type Output = Result<X::Response, X::Error>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StepProj::Called {
            inner,
            timer,
            permit,
        } = this.step.as_mut().project()
        {
            let ended = ready!(poll_in_time(inner, timer, permit, cx));
            let permit = permit.take().expect(POLLED_AGAIN);
            let exchange = this.exchange.take().expect(POLLED_AGAIN);
            let spare = this.spare.take().expect(POLLED_AGAIN);
            let cut = || this.step.set(Step::Over);
            match settle(ended, permit, exchange, spare, cut) {
                Break(answer) => return Poll::Ready(answer),
                Continue(detour) => {
                    let rejected = None;
                    this.step.set(Step::Diverted { detour, rejected });
                }
            }
        }
        Poll::Ready(match this.step.project() {
            StepProj::Rejected { rejected } => {
                let exchange = this.exchange.take().expect(POLLED_AGAIN);
                // Read word by word: what was just written so and is moved as a whole has to be waited for.
                exchange.refuse(rejected.clone())
            }
            StepProj::Diverted { detour, rejected } => {
                let result = ready!(detour.poll(cx));
                X::instead(result, rejected.take())
            }
            StepProj::Called { .. } | StepProj::Over => panic!("{POLLED_AGAIN}"),
        })
    }
}

/// What a call that has ended, or was too late, is answered with; or who answers instead.
#[inline(always)]
fn settle<X, K, Res, E>(
    ended: Result<Result<Res, E>, Duration>,
    permit: Permit,
    exchange: X,
    spare: K,
    cut: impl FnOnce(),
) -> ControlFlow<Result<X::Response, X::Error>, K::Future>
where
    X: Exchange<Res, E>,
    K: Spare<Res, E>,
{
    let outcome = ended.as_ref().map_or(Outcome::TimedOut, Outcome::from);
    let detour = spare.after(outcome);
    if detour.is_some() {
        permit.breaker().watch(|breaker| Event::FellBack(breaker));
    }
    let answer = match ended {
        Ok(result) if detour.is_some() => {
            exchange.discard(result, permit);
            None
        }
        Ok(result) => Some(exchange.end(result, permit)),
        Err(limit) => {
            // What was being done ends before its probe's slot is free.
            cut();
            Some(exchange.time_out(late(permit, limit)))
        }
    };
    match detour {
        Some(detour) => Continue(detour),
        None => Break(answer.expect("nobody answers instead")),
    }
}

/// The result of the inner future, or the time that was not enough for it. A panic is a failure.
#[inline]
fn poll_in_time<I: Future, T: Timer>(
    inner: Pin<&mut I>,
    mut timer: Pin<&mut T>,
    permit: &mut Option<Permit>,
    cx: &mut Context<'_>,
) -> Poll<Result<I::Output, Duration>> {
    let late = timer.as_mut().poll_armed(cx);
    let panicked = Panicked::unless_returned(permit);
    let polled = inner.poll(cx);
    panicked.returned();
    if let Poll::Ready(result) = polled {
        return Poll::Ready(Ok(result));
    }
    let limit = match late {
        Poll::Ready(limit) => limit,
        Poll::Pending => ready!(timer.arm(cx)),
    };
    Poll::Ready(Err(limit))
}

fn late(permit: Permit, limit: Duration) -> TimedOut {
    let timed_out = TimedOut::new(permit.breaker().name(), limit);
    permit
        .breaker()
        .watch(|breaker| Event::TimedOut(breaker, limit));
    permit.failure();
    timed_out
}

impl<I, X, K, D, T> fmt::Debug for ResponseFuture<I, X, K, D, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
