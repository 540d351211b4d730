//! A body that may hold the permit of its call.

use std::fmt;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::classify::ClassifyEnd;
use crate::permit::{Panicked, Permit};
use crate::verdict::Verdict;

pin_project! {
    /// The body of an answer that came through a [`Circuit`](crate::Circuit): that of the inner service, frame by frame as it comes, or a refusal.
    ///
    /// # Cancellation
    ///
    /// If the verdict falls at the end of the body, dropping the body before means that the caller went away: the breaker's
    /// [`Cancel`](crate::Cancel) policy decides, and a probe's slot is free again at once. A body that has given all that it
    /// [announced](super::Classified::AtEnd) is at its end.
    pub struct CircuitBody<B, End> {
        #[pin]
        kind: Kind<B, End>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B, End> {
        Inner {
            #[pin]
            body: B,
            permit: Option<Permit>,
            end: Option<End>,
            // How much of what was announced is still to come.
            left: Option<NonZeroU64>,
        },
        Refusal { body: Full<Bytes> },
    }
}

impl<B, End> CircuitBody<B, End> {
    pub(crate) fn told(body: B) -> Self {
        Self::inner(body, None, None, None)
    }

    fn inner(body: B, permit: Option<Permit>, end: Option<End>, left: Option<NonZeroU64>) -> Self {
        Self {
            kind: Kind::Inner {
                body,
                permit,
                end,
                left,
            },
        }
    }

    pub(crate) fn refusal(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Refusal { body },
        }
    }
}

impl<B: Body, End: ClassifyEnd> CircuitBody<B, End> {
    /// Nobody may ever poll a body that is empty, nor one whose `announced` bytes have all come: a server over HTTP/1.1 drops it then.
    pub(crate) fn watched(body: B, permit: Permit, end: End, announced: Option<u64>) -> Self {
        if announced == Some(0) || body.is_end_stream() {
            permit.record(end.end(None));
            return Self::told(body);
        }
        let left = announced.and_then(NonZeroU64::new);
        Self::inner(body, Some(permit), Some(end), left)
    }
}

impl<B, End> Body for CircuitBody<B, End>
where
    B: Body,
    B::Data: From<Bytes>,
    End: ClassifyEnd,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner {
                mut body,
                permit,
                end,
                left,
            } => {
                let panicked = Panicked::unless_returned(permit);
                let polled = body.as_mut().poll_frame(cx);
                panicked.returned();
                let frame = ready!(polled);
                let is_end = |data: &_| is_last(left, data) || body.is_end_stream();
                if let Some(verdict) = verdict(&frame, is_end, end)
                    && let Some(permit) = permit.take()
                {
                    permit.record(verdict);
                }
                Poll::Ready(frame)
            }
            KindProj::Refusal { body } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(B::Data::from)),
                    Err(never) => match never {},
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } => body.is_end_stream(),
            Kind::Refusal { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body, .. } => body.size_hint(),
            Kind::Refusal { body } => body.size_hint(),
        }
    }
}

/// What a frame says, if it is the last. A body may be known to end with a data frame, and then is not polled again.
fn verdict<D, E, End: ClassifyEnd>(
    frame: &Option<Result<Frame<D>, E>>,
    is_end: impl FnOnce(&Frame<D>) -> bool,
    end: &mut Option<End>,
) -> Option<Verdict> {
    match frame {
        Some(Err(_)) => Some(end.take()?.broken()),
        None => Some(end.take()?.end(None)),
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => Some(end.take()?.end(Some(trailers))),
            None if end.is_some() && is_end(frame) => Some(end.take()?.end(None)),
            None => None,
        },
    }
}

/// Whether the last of what is `left` has come with this frame.
fn is_last<D: Buf>(left: &mut Option<NonZeroU64>, frame: &Frame<D>) -> bool {
    let (Some(before), Some(data)) = (*left, frame.data_ref()) else {
        return false;
    };
    *left = NonZeroU64::new(before.get().saturating_sub(data.remaining() as u64));
    left.is_none()
}

impl<B: fmt::Debug, End> fmt::Debug for CircuitBody<B, End> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("CircuitBody");
        match &self.kind {
            Kind::Inner { body, .. } => debug.field(body),
            Kind::Refusal { body } => debug.field(body),
        };
        debug.finish()
    }
}
