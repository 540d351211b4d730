//! Bodies of requests, which come in time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tower::BoxError;

/// How long the next piece of a request's body may take: who uploads may stall, and who has gone away without a word is not waited for. No program here is sent streams
/// that may rest for longer.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// A request's body, whose next piece is not waited for for ever.
pub(crate) struct InTime {
    body: Incoming,
    /// While one is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

impl InTime {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, until: None }
    }
}

impl http_body::Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.until = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let begin = || Box::pin(tokio::time::sleep(STALL));
        ready!(this.until.get_or_insert_with(begin).as_mut().poll(cx));
        Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
