//! A collection on its way: records in, batches of bytes out.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::Response;
use pin_project_lite::pin_project;

use crate::body::ReplyBody;
use crate::format::{EncodeError, Record, RowEncoder};
use crate::negotiated::Negotiated;

/// How many bytes are gathered before they are sent.
const BATCH: usize = 16 * 1024;

/// A collection whose records and errors are forgotten: what a body holds.
pub trait Batches: Send {
    /// The next bytes; `None` only where the collection is whole.
    fn poll_batch(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ReplyError>>>;

    /// How many bytes are still to come: those that are there at least, and whether that is all.
    fn rest(&self) -> (usize, bool);
}

/// A collection of which nothing has been sent.
pub trait Opening<E>: Batches {
    /// Is ready when there are bytes to send, or when it is clear that there never will be.
    fn poll_open(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError<E>>>;
}

pin_project! {
    /// Writes the records of `rows` as they come.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the source. The source is dropped as early as it is done with: at its end, and at an error. After a panic that
    /// was caught, it is dropped at the next poll, and the body breaks off.
    pub(crate) struct Encoding<S, R> {
        #[pin]
        rows: Option<S>,
        encoder: R,
        has_begun: bool,
        // Whether a record, or the end, is in the buffer: what stands before the first record is not sent alone.
        is_fresh: bool,
        buffer: Vec<u8>,
        // How much of the buffer is whole records.
        whole: usize,
        // Whether the source or the encoder was called and has not come back: it panicked, if anybody asks.
        is_away: bool,
        // What is told after the records before it.
        failed: Option<ReplyError>,
    }
}

impl<S, R> Encoding<S, R> {
    pub(crate) fn new(rows: S, encoder: R) -> Self {
        Self {
            rows: Some(rows),
            encoder,
            has_begun: false,
            is_fresh: false,
            buffer: Vec::new(),
            whole: 0,
            is_away: false,
            failed: None,
        }
    }
}

impl<S, R, T, E> Encoding<S, R>
where
    S: Stream<Item = Result<T, E>>,
    R: RowEncoder,
    T: Record,
{
    /// Takes records until there is a batch, the source has none for now, or has none any more. Whoever gets `Pending` is woken by the
    /// source.
    fn poll_fill(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError<E>>> {
        *self.as_mut().project().is_away = true;
        let filled = self.as_mut().poll_records(cx);
        *self.project().is_away = false;
        filled
    }

    fn poll_records(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError<E>>> {
        let mut this = self.project();
        if !std::mem::replace(this.has_begun, true) {
            this.encoder.begin(this.buffer)?;
            *this.whole = this.buffer.len();
        }
        while this.buffer.len() < BATCH
            && let Some(rows) = this.rows.as_mut().as_pin_mut()
        {
            match rows.poll_next(cx) {
                Poll::Pending if *this.is_fresh => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(row)) => {
                    this.encoder
                        .row(&row.map_err(StreamError::Rows)?, this.buffer)?;
                }
                Poll::Ready(None) => {
                    this.rows.set(None);
                    this.encoder.end(this.buffer)?;
                }
            }
            *this.whole = this.buffer.len();
            *this.is_fresh = true;
        }
        Poll::Ready(Ok(()))
    }

    /// After an error, nothing more is asked of the source.
    fn break_off(self: Pin<&mut Self>, error: ReplyError) {
        let mut this = self.project();
        this.rows.set(None);
        // What an encoder began and could not end is no record.
        this.buffer.truncate(*this.whole);
        if !this.encoder.break_off(this.buffer) {
            *this.failed = Some(error);
        }
    }

    /// What panicked once is not asked again: nobody knows what state it is in.
    fn break_off_if_away(mut self: Pin<&mut Self>) {
        if std::mem::take(self.as_mut().project().is_away) {
            self.break_off(ReplyError::new("a record or its source panicked".into()));
        }
    }

    fn take(self: Pin<&mut Self>) -> Bytes {
        let this = self.project();
        *this.is_fresh = false;
        *this.whole = 0;
        // The next batch is most likely as long as this one: from a fast source full, from a slow one a record.
        let room = if this.rows.is_some() {
            this.buffer.len().min(BATCH)
        } else {
            0
        };
        let next = Vec::with_capacity(room + room / 8);
        std::mem::replace(this.buffer, next).into()
    }
}

impl<S, R, T, E> Batches for Encoding<S, R>
where
    S: Stream<Item = Result<T, E>> + Send,
    R: RowEncoder,
    T: Record,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_batch(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ReplyError>>> {
        self.as_mut().break_off_if_away();
        if self.failed.is_none()
            && let Err(error) = ready!(self.as_mut().poll_fill(cx))
        {
            self.as_mut().break_off(ReplyError::new(error.into_inner()));
        }
        if self.buffer.is_empty() {
            return Poll::Ready(self.project().failed.take().map(Err));
        }
        Poll::Ready(Some(Ok(self.take())))
    }

    fn rest(&self) -> (usize, bool) {
        let is_all = self.rows.is_none() && self.failed.is_none();
        (self.buffer.len(), is_all)
    }
}

impl<S, R, T, E> Opening<E> for Encoding<S, R>
where
    S: Stream<Item = Result<T, E>> + Send,
    R: RowEncoder,
    T: Record,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_open(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError<E>>> {
        self.poll_fill(cx)
    }
}

/// A response that waits for its first record: see [`Negotiated::stream`].
///
/// # Cancellation
///
/// Dropping it drops the source. Nothing else is held, and no one waits.
#[must_use = "futures do nothing unless polled"]
pub struct Streaming<F, E> {
    negotiated: Negotiated<F>,
    opening: Option<Result<Pin<Box<dyn Opening<E>>>, EncodeError>>,
    errors: PhantomData<fn() -> E>,
}

impl<F, E> Streaming<F, E> {
    pub(crate) fn new(
        negotiated: Negotiated<F>,
        opening: Result<Pin<Box<dyn Opening<E>>>, EncodeError>,
    ) -> Self {
        Self {
            negotiated,
            opening: Some(opening),
            errors: PhantomData,
        }
    }
}

impl<F, E: 'static> Future for Streaming<F, E> {
    type Output = Result<Response<ReplyBody>, StreamError<E>>;

    /// # Panics
    ///
    /// It is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut opening = match self
            .opening
            .take()
            .expect("a future is polled to its end once")
        {
            Ok(opening) => opening,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        match opening.as_mut().poll_open(cx) {
            Poll::Pending => {
                self.opening = Some(Ok(opening));
                Poll::Pending
            }
            Poll::Ready(opened) => {
                Poll::Ready(opened.map(|()| self.negotiated.respond(ReplyBody::rows(opening))))
            }
        }
    }
}

/// Nothing of a `Streaming` is pinned in it: the source has a place of its own.
impl<F, E> Unpin for Streaming<F, E> {}

impl<F, E> fmt::Debug for Streaming<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

/// Why there is no response with a collection. Nothing has been sent: answer with what status you like.
#[derive(Debug)]
pub enum StreamError<E> {
    /// The source failed.
    Rows(E),
    /// The format that was chosen has no way to write one of the records.
    Encode(EncodeError),
}

impl<E> StreamError<E> {
    /// A 500 problem. The reason is not in it: it is the server's own.
    #[must_use]
    pub fn response(&self) -> Response<ReplyBody> {
        match self {
            Self::Rows(_) => crate::refusal::broken_off(),
            Self::Encode(error) => error.response(),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> StreamError<E> {
    fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Rows(error) => error.into(),
            Self::Encode(error) => error.into(),
        }
    }
}

impl<E> From<EncodeError> for StreamError<E> {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl<E> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows(_) => "the source of the records failed",
            Self::Encode(_) => "a record cannot be written in the format that was chosen",
        })
    }
}

impl<E: Error + 'static> Error for StreamError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rows(error) => Some(error),
            Self::Encode(error) => error.source(),
        }
    }
}

/// A body broke off after its head was sent. Its [source](Error::source) is the error of the records' source, or an [`EncodeError`].
#[derive(Debug)]
pub struct ReplyError(Box<dyn Error + Send + Sync>);

impl ReplyError {
    fn new(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(error)
    }

    /// The inner error, if it is of this type.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the collection broke off")
    }
}

impl Error for ReplyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
