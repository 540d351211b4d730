//! A body with a deadline.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::deadline::exceeded;

/// A body that ends at the deadline, in trailers that say so.
pub(crate) struct Until {
    /// `None` when it has come to its end.
    body: Option<Body>,
    over: Pin<Box<Sleep>>,
}

impl Until {
    pub(crate) fn new(deadline: Instant, body: Body) -> Self {
        Self {
            body: Some(body),
            over: Box::pin(sleep_until(deadline)),
        }
    }
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        // First: a body that always has something to say would never be over.
        if this.over.as_mut().poll(cx).is_pending() {
            return Pin::new(body).poll_frame(cx);
        }
        this.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(exceeded().headers().clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end early: no exact size is promised.
        SizeHint::default()
    }
}
