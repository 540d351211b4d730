//! The body of a response that may be somebody else's.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use buttress_wire::fields::strip_exchange;
use buttress_wire::tape::TapeReader;
use buttress_wire::{BodyError, ReplayBody, into_bytes};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// A response body: the inner service's own, a shared one, another process's, or that of a refusal.
    ///
    /// Frames, trailers, hints and errors are those of the inner body, and arrive as it sends them.
    ///
    /// # Cancellation
    ///
    /// Dropping a shared body never disturbs the others; dropping the last reader drops the inner body.
    #[derive(Debug)]
    pub struct DedupBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Own { #[pin] body: B },
        Received { #[pin] body: ReplayBody },
        Refusal { #[pin] body: Full<Bytes> },
        Shared { #[pin] reader: TapeReader<B>, joined: bool },
    }
}

impl<B> DedupBody<B> {
    pub(super) fn own(body: B) -> Self {
        Self {
            kind: Kind::Own { body },
        }
    }

    pub(super) fn received(body: ReplayBody) -> Self {
        Self {
            kind: Kind::Received { body },
        }
    }

    pub(super) fn refusal(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Refusal { body },
        }
    }

    /// Of the leader.
    pub(super) fn shared(reader: TapeReader<B>) -> Self {
        let joined = false;
        Self {
            kind: Kind::Shared { reader, joined },
        }
    }

    /// Of a follower.
    pub(super) fn joined(reader: TapeReader<B>) -> Self {
        let joined = true;
        Self {
            kind: Kind::Shared { reader, joined },
        }
    }
}

/// Without what is about the leader's exchange alone, in the trailers too.
fn for_follower(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip_exchange(trailers);
    }
    frame
}

impl<B> Body for DedupBody<B>
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
            KindProjection::Own { body } => std::task::ready!(body.poll_frame(cx))
                .map(|frame| frame.map(into_bytes).map_err(BodyError::new)),
            KindProjection::Received { body } => {
                let frame = std::task::ready!(body.poll_frame(cx));
                frame.map(|frame| frame.map(for_follower).map_err(|never| match never {}))
            }
            KindProjection::Refusal { body } => std::task::ready!(body.poll_frame(cx))
                .map(|frame| frame.map_err(|never| match never {})),
            KindProjection::Shared { reader, joined } => {
                let frame = std::task::ready!(reader.poll_frame(cx));
                frame.map(|frame| match frame {
                    Ok(frame) if *joined => Ok(for_follower(frame)),
                    Ok(frame) => Ok(frame),
                    Err(error) => Err(BodyError::new(error)),
                })
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { body } => body.is_end_stream(),
            Kind::Received { body } => body.is_end_stream(),
            Kind::Refusal { body } => body.is_end_stream(),
            Kind::Shared { reader, .. } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { body } => body.size_hint(),
            Kind::Received { body } => body.size_hint(),
            Kind::Refusal { body } => body.size_hint(),
            Kind::Shared { reader, .. } => reader.size_hint(),
        }
    }
}
