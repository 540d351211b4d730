//! The body of a response, polled and dropped in its request's context.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::exchange::Exchange;
use crate::{Outcome, Sink};

pin_project! {
    /// A response body, polled with its request's context [current](crate::current): every frame, trailer, error
    /// and hint is the inner body's.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner body, with the context still current, and tells the sink
    /// [`Outcome::Complete`] if nothing was missing, or else [`Outcome::BodyDropped`]; after a panic,
    /// [`Outcome::Panic`].
    pub struct TraceBody<B, K: Sink> {
        #[pin]
        inner: Option<B>,
        // Behind `inner`: the record is told after everything of the request is gone.
        exchange: Exchange<K>,
    }

    impl<B, K: Sink> PinnedDrop for TraceBody<B, K> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.exchange.enter(|| this.inner.set(None));
        }
    }
}

impl<B, K: Sink> TraceBody<B, K> {
    pub(crate) fn new(inner: B, exchange: Exchange<K>) -> Self {
        Self {
            inner: Some(inner),
            exchange,
        }
    }

    fn inner(&self) -> &B {
        self.inner.as_ref().expect("present until dropped")
    }
}

impl<B: Body, K: Sink> Body for TraceBody<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut inner = this.inner.as_pin_mut().expect("present until dropped");
        let polled;
        if let Some(_entered) = this.exchange.enter_silently() {
            polled = inner.as_mut().poll_frame(cx);
        } else {
            polled = this.exchange.enter(|| inner.as_mut().poll_frame(cx));
        }
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => this.exchange.on_frame(frame, &*inner),
            Poll::Ready(Some(Err(_))) => this.exchange.finish(Outcome::BodyError),
            Poll::Ready(None) => this.exchange.finish(Outcome::Complete),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().size_hint()
    }
}

impl<B, K: Sink> fmt::Debug for TraceBody<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceBody")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
