//! The future of a response, polled and dropped in its request's context.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::exchange::Exchange;
use crate::{Outcome, Sink, TraceBody};

pin_project! {
    /// A request under way, polled with its context [current](crate::current).
    ///
    /// # Cancellation
    ///
    /// Dropping it before it is ready drops the inner future, with the context still current, and tells the sink
    /// [`Outcome::FutureDropped`]; after a panic, [`Outcome::Panic`]. Where it is ready the inner future has gone in the same way.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, K: Sink> {
        #[pin]
        inner: Option<F>,
        // Behind `inner`: the record is told after everything of the request is gone.
        exchange: Option<Exchange<K>>,
    }

    impl<F, K: Sink> PinnedDrop for ResponseFuture<F, K> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(exchange) = this.exchange {
                exchange.enter(|| this.inner.set(None));
            }
        }
    }
}

impl<F, K: Sink> ResponseFuture<F, K> {
    #[inline]
    pub(crate) fn new(inner: Option<F>, exchange: Exchange<K>) -> Self {
        Self {
            inner,
            exchange: Some(exchange),
        }
    }
}

impl<F, K, B, E> Future for ResponseFuture<F, K>
where
    F: Future<Output = Result<Response<B>, E>>,
    K: Sink,
    B: Body,
{
    type Output = Result<Response<TraceBody<B, K>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let exchange = this.exchange.as_mut().expect("polled after it was ready");
        let mut polled;
        if let Some(_entered) = exchange.enter_silently() {
            polled = this.inner.as_mut().as_pin_mut().expect(THERE).poll(cx);
            // While its context is current, and before its record is told.
            if polled.is_ready() {
                this.inner.set(None);
            }
        } else {
            polled = exchange.enter(|| {
                let polled = this.inner.as_mut().as_pin_mut().expect(THERE).poll(cx);
                if polled.is_ready() {
                    this.inner.set(None);
                }
                polled
            });
        }
        match &mut polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(response)) => exchange.on_head(response),
            Poll::Ready(Err(_)) => exchange.finish(Outcome::Error),
        }
        let exchange = this.exchange.take().expect("just borrowed");
        polled.map_ok(|response| response.map(|body| TraceBody::new(body, exchange)))
    }
}

const THERE: &str = "there until it is ready";

impl<F, K: Sink> fmt::Debug for ResponseFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
