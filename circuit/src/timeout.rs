//! How long a call may take.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a call may take. Made by `CircuitLayer::timeout`; by default for ever: [`NoTimeout`].
pub trait Limit {
    /// Runs beside one call.
    type Timer: Timer;

    /// A call begins.
    fn start(&self) -> Self::Timer;
}

/// Runs beside one call.
pub trait Timer {
    /// Looks whether the time is up, if it was ever asked to [`arm`](Self::arm): a call that keeps its task busy must not starve it.
    fn poll_armed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration>;

    /// Looks whether the time, which it tells, is up, and wakes the task when it is. Only what has to wait comes here.
    fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration>;
}

/// A call may take for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTimeout;

impl Limit for NoTimeout {
    type Timer = Self;

    #[inline]
    fn start(&self) -> Self {
        Self
    }
}

impl Timer for NoTimeout {
    #[inline]
    fn poll_armed(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Duration> {
        Poll::Pending
    }

    #[inline]
    fn arm(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Duration> {
        Poll::Pending
    }
}

#[cfg(feature = "tokio")]
pub use with_tokio::{Timeout, TokioTimer};

#[cfg(feature = "tokio")]
mod with_tokio {
    use std::fmt;

    use pin_project_lite::pin_project;
    use tokio::time::Sleep;

    use super::*;
    use crate::breaker::Breaker;
    use crate::error::{Error, TimedOut};
    use crate::event::Event;

    /// A call may take so long.
    #[derive(Clone, Copy, Debug)]
    pub struct Timeout(pub(crate) Duration);

    pin_project! {
        /// Sleeps by tokio's clock. It bothers the runtime only if the call has to wait.
        pub struct TokioTimer {
            #[pin]
            sleep: Sleep,
            limit: Duration,
            armed: bool,
        }
    }

    impl Limit for Timeout {
        type Timer = TokioTimer;

        fn start(&self) -> TokioTimer {
            TokioTimer {
                sleep: tokio::time::sleep(self.0),
                limit: self.0,
                armed: false,
            }
        }
    }

    impl Timer for TokioTimer {
        fn poll_armed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
            if self.armed {
                self.arm(cx)
            } else {
                Poll::Pending
            }
        }

        fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
            let this = self.project();
            *this.armed = true;
            this.sleep.poll(cx).map(|()| *this.limit)
        }
    }

    impl fmt::Debug for TokioTimer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("TokioTimer")
                .field("limit", &self.limit)
                .finish_non_exhaustive()
        }
    }

    impl Breaker {
        /// As [`call`](Self::call), but the work may take only so long: then it is dropped, which is a failure.
        ///
        /// # Errors
        ///
        /// [`Error::Rejected`] if `work` was not started, [`Error::Inner`] if it failed, [`Error::TimedOut`] if it took too long.
        ///
        /// # Panics
        ///
        /// When polled outside of a tokio runtime with time enabled.
        ///
        /// # Cancellation
        ///
        /// As [`call`](Self::call).
        pub async fn call_within<T, E, F>(
            &self,
            limit: Duration,
            work: impl FnOnce() -> F,
        ) -> Result<T, Error<E>>
        where
            F: Future<Output = Result<T, E>>,
        {
            let work = || {
                let work = tokio::time::timeout(limit, work());
                async { work.await.map_err(|_elapsed| None)?.map_err(Some) }
            };
            self.call(work).await.map_err(|error| match error {
                Error::Inner(Some(error)) => Error::Inner(error),
                Error::Inner(None) => {
                    self.watch(|breaker| Event::TimedOut(breaker, limit));
                    Error::TimedOut(TimedOut::new(self.name(), limit))
                }
                Error::Rejected(rejected) => Error::Rejected(rejected),
                Error::TimedOut(timed_out) => Error::TimedOut(timed_out),
            })
        }
    }
}
