//! The bodies of responses.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::stream::{Batches, ReplyError};

/// What a handler replies with: a value that is there, or a collection on its way.
///
/// A collection is taken from its source only as fast as this is polled, a batch at a time. When it breaks off, so does this.
///
/// # Cancellation
///
/// Dropping it drops the source of the collection.
pub struct ReplyBody(Reply);

enum Reply {
    Whole(Full<Bytes>),
    Rows(Pin<Box<dyn Batches>>),
}

impl ReplyBody {
    pub(crate) fn rows(rows: Pin<Box<dyn Batches>>) -> Self {
        Self(Reply::Rows(rows))
    }
}

impl Default for ReplyBody {
    fn default() -> Self {
        Full::default().into()
    }
}

impl From<Full<Bytes>> for ReplyBody {
    fn from(body: Full<Bytes>) -> Self {
        Self(Reply::Whole(body))
    }
}

impl From<Bytes> for ReplyBody {
    fn from(body: Bytes) -> Self {
        Full::from(body).into()
    }
}

impl From<Vec<u8>> for ReplyBody {
    fn from(body: Vec<u8>) -> Self {
        Full::from(body).into()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match &mut self.0 {
            Reply::Whole(body) => known(Pin::new(body).poll_frame(cx)),
            Reply::Rows(rows) => rows
                .as_mut()
                .poll_batch(cx)
                .map(|batch| batch.map(|batch| batch.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Reply::Whole(body) => body.is_end_stream(),
            Reply::Rows(rows) => rows.rest() == (0, true),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Reply::Whole(body) => body.size_hint(),
            Reply::Rows(rows) => {
                let (len, is_all) = rows.rest();
                let mut hint = SizeHint::new();
                hint.set_lower(len as u64);
                if is_all {
                    hint.set_upper(len as u64);
                }
                hint
            }
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size_hint();
        f.debug_struct("ReplyBody")
            .field("at_least", &size.lower())
            .field("at_most", &size.upper())
            .finish()
    }
}

pin_project! {
    /// The inner service's body as it is; that of a refusal; or none, in answer to HEAD.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner body.
    #[derive(Debug)]
    pub struct NegotiateBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { #[pin] body: Full<Bytes> },
    }
}

impl<B> NegotiateBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Own { body },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for NegotiateBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Own { body } => known(body.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { body } => body.size_hint(),
        }
    }
}

/// A body that is there cannot fail.
fn known<E>(
    frame: Poll<Option<Result<Frame<Bytes>, Infallible>>>,
) -> Poll<Option<Result<Frame<Bytes>, E>>> {
    frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
}
