//! A body that may hold the permit of its call.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
    /// [`Cancel`](crate::Cancel) policy decides, and a probe's slot is free again at once.
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
        },
        Refusal { body: Full<Bytes> },
    }
}

impl<B, End> CircuitBody<B, End> {
    pub(crate) fn told(body: B) -> Self {
        let (permit, end) = (None, None);
        Self {
            kind: Kind::Inner { body, permit, end },
        }
    }

    pub(crate) fn refusal(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Refusal { body },
        }
    }
}

impl<B: Body, End: ClassifyEnd> CircuitBody<B, End> {
    /// Nobody may ever poll a body that is empty.
    pub(crate) fn watched(body: B, permit: Permit, end: End) -> Self {
        if body.is_end_stream() {
            permit.record(end.end(None));
            return Self::told(body);
        }
        let (permit, end) = (Some(permit), Some(end));
        Self {
            kind: Kind::Inner { body, permit, end },
        }
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
            } => {
                let panicked = Panicked::unless_returned(permit);
                let polled = body.as_mut().poll_frame(cx);
                panicked.returned();
                let frame = ready!(polled);
                if let Some(verdict) = verdict(&frame, || body.is_end_stream(), end)
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
    is_end: impl FnOnce() -> bool,
    end: &mut Option<End>,
) -> Option<Verdict> {
    match frame {
        Some(Err(_)) => Some(end.take()?.broken()),
        None => Some(end.take()?.end(None)),
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => Some(end.take()?.end(Some(trailers))),
            None if end.is_some() && is_end() => Some(end.take()?.end(None)),
            None => None,
        },
    }
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
