//! Bodies on both sides of the layer.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::{BodyError, ReplayBody, into_bytes};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::streaming::Streaming;

pin_project! {
    /// A response body: recorded, being recorded, passing by, or that of a refusal.
    ///
    /// A body that is recorded while it streams is filed before its reader learns that it has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping a body that is being recorded hands the rest of it to a task of the layer's, which reads it to its end and files it.
    pub struct IdempotentBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Pass { #[pin] body: B },
        Recorded { #[pin] body: ReplayBody },
        Refusal { #[pin] body: Full<Bytes> },
        Streaming { body: Streaming<B> },
    }
}

impl<B> IdempotentBody<B> {
    pub(crate) fn pass(body: B) -> Self {
        Self {
            kind: Kind::Pass { body },
        }
    }

    pub(crate) fn recorded(body: ReplayBody) -> Self {
        Self {
            kind: Kind::Recorded { body },
        }
    }

    pub(crate) fn refusal(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Refusal { body },
        }
    }

    pub(crate) fn streaming(body: Streaming<B>) -> Self {
        Self {
            kind: Kind::Streaming { body },
        }
    }
}

impl<B> Body for IdempotentBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.project().kind.project() {
            KindProjection::Pass { body } => ready!(body.poll_frame(cx))
                .map(|frame| frame.map(into_bytes).map_err(BodyError::new)),
            KindProjection::Recorded { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
            KindProjection::Refusal { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
            KindProjection::Streaming { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(BodyError::new))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Pass { body } => body.is_end_stream(),
            Kind::Recorded { body } => body.is_end_stream(),
            Kind::Refusal { body } => body.is_end_stream(),
            // Not before the record is filed; then it is polled once more.
            Kind::Streaming { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Pass { body } => body.size_hint(),
            Kind::Recorded { body } => body.size_hint(),
            Kind::Refusal { body } => body.size_hint(),
            Kind::Streaming { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for IdempotentBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Pass { .. } => "IdempotentBody::Pass",
            Kind::Recorded { .. } => "IdempotentBody::Recorded",
            Kind::Refusal { .. } => "IdempotentBody::Refusal",
            Kind::Streaming { .. } => "IdempotentBody::Streaming",
        })
    }
}

pin_project! {
    /// The request body that the inner service gets: whole and in memory for a keyed request, else the client's own.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        kind: RequestKind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = RequestProjection]
    enum RequestKind<B> {
        Own { #[pin] body: B },
        Whole { #[pin] body: ReplayBody },
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn own(body: B) -> Self {
        Self {
            kind: RequestKind::Own { body },
        }
    }

    pub(crate) fn whole(body: ReplayBody) -> Self {
        Self {
            kind: RequestKind::Whole { body },
        }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = match self.project().kind.project() {
            RequestProjection::Own { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map(into_bytes))
            }
            RequestProjection::Whole { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            RequestKind::Own { body } => body.is_end_stream(),
            RequestKind::Whole { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            RequestKind::Own { body } => body.size_hint(),
            RequestKind::Whole { body } => body.size_hint(),
        }
    }
}
