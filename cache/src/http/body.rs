//! The body of a response that was stored, is being stored, or passes.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::tape::TapeReader;
use buttress_wire::{BodyError, Outcome, Recorder, ReplayBody, into_bytes};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::flight::Live;

type OnEnd = Box<dyn FnOnce(Outcome) + Send>;

pin_project! {
    /// A response body: from the store, on its way into the store, shared with others, passing by, or that of a refusal.
    ///
    /// Frames, trailers, hints and errors are those of the inner body, and arrive as it sends them, also while they are stored.
    ///
    /// # Cancellation
    ///
    /// Dropping a body before its end drops the inner body, and nothing is stored. One that is shared goes on as long as anybody reads it.
    pub struct CacheBody<B> {
        #[pin]
        kind: BodyKind<B>,
    }
}

pin_project! {
    #[project = BodyProjection]
    enum BodyKind<B> {
        // The last chunk comes first.
        Chunks { left: Vec<Bytes> },
        Hit { #[pin] body: ReplayBody },
        Pass { #[pin] body: B },
        Refusal { #[pin] body: Full<Bytes> },
        Shared { #[pin] body: TapeReader<Live> },
        // In a box, since a hit is moved as often as a miss, and is not to be as large.
        Store { body: Pin<Box<Recorder<B, OnEnd>>> },
    }
}

impl<B> CacheBody<B> {
    /// Of these, in order.
    pub(super) fn chunks(mut chunks: Vec<Bytes>) -> Self {
        chunks.retain(|chunk| !chunk.is_empty());
        chunks.reverse();
        Self {
            kind: BodyKind::Chunks { left: chunks },
        }
    }

    /// Whether reading it is of use to the store, or to somebody else.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.kind, BodyKind::Shared { .. } | BodyKind::Store { .. })
    }

    pub(super) fn shared(body: TapeReader<Live>) -> Self {
        Self {
            kind: BodyKind::Shared { body },
        }
    }

    pub(super) fn hit(body: ReplayBody) -> Self {
        Self {
            kind: BodyKind::Hit { body },
        }
    }

    pub(super) fn pass(body: B) -> Self {
        Self {
            kind: BodyKind::Pass { body },
        }
    }

    /// Of a response that has none, like a 304, or to a `HEAD`.
    pub(super) fn empty() -> Self {
        Self::refusal(Full::default())
    }

    pub(super) fn refusal(body: Full<Bytes>) -> Self {
        Self {
            kind: BodyKind::Refusal { body },
        }
    }

    pub(super) fn store(body: Recorder<B, OnEnd>) -> Self {
        Self {
            kind: BodyKind::Store {
                body: Box::pin(body),
            },
        }
    }
}

impl<B> Body for CacheBody<B>
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
            BodyProjection::Chunks { left } => left.pop().map(|chunk| Ok(Frame::data(chunk))),
            BodyProjection::Hit { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
            BodyProjection::Pass { body } => ready!(body.poll_frame(cx))
                .map(|frame| frame.map(into_bytes).map_err(BodyError::new)),
            BodyProjection::Refusal { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
            BodyProjection::Shared { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(BodyError::new))
            }
            BodyProjection::Store { body } => {
                ready!(body.as_mut().poll_frame(cx)).map(|frame| frame.map_err(BodyError::new))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Chunks { left } => left.is_empty(),
            BodyKind::Hit { body } => body.is_end_stream(),
            BodyKind::Pass { body } => body.is_end_stream(),
            BodyKind::Refusal { body } => body.is_end_stream(),
            BodyKind::Shared { body } => body.is_end_stream(),
            BodyKind::Store { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Chunks { left } => {
                SizeHint::with_exact(left.iter().map(|chunk| chunk.len() as u64).sum())
            }
            BodyKind::Hit { body } => body.size_hint(),
            BodyKind::Pass { body } => body.size_hint(),
            BodyKind::Refusal { body } => body.size_hint(),
            BodyKind::Shared { body } => body.size_hint(),
            BodyKind::Store { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyKind::Chunks { .. } => "CacheBody::Chunks",
            BodyKind::Hit { .. } => "CacheBody::Hit",
            BodyKind::Pass { .. } => "CacheBody::Pass",
            BodyKind::Refusal { .. } => "CacheBody::Refusal",
            BodyKind::Shared { .. } => "CacheBody::Shared",
            BodyKind::Store { .. } => "CacheBody::Store",
        })
    }
}
