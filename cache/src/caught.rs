//! A panic as a result.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// A future whose panic is a result. What has panicked is not polled again by us, and is dropped with this.
    pub(crate) struct Caught<F> {
        #[pin]
        future: F,
    }
}

/// What was thrown.
pub(crate) type Thrown = Box<dyn Any + Send>;

pub(crate) fn caught<F>(future: F) -> Caught<F> {
    Caught { future }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Thrown>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // Whatever is left broken is dropped, and not looked at.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(thrown) => Poll::Ready(Err(thrown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use tokio_test::block_on;

    use super::*;

    #[test]
    fn a_value_or_what_was_thrown() {
        assert_eq!(block_on(caught(async { 1 })).unwrap(), 1);
        let panics = async { resume_unwind(Box::new("on purpose")) };
        let thrown: Result<(), Thrown> = block_on(caught(panics));
        assert_eq!(thrown.unwrap_err().downcast_ref(), Some(&"on purpose"));
    }
}
