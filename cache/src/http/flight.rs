//! Requests that are forwarded once for all who ask at the same time (RFC 9111, section 4; RFC 9211, 2.6).

use std::error::Error;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buttress_dedup::Flights;
use buttress_wire::key::KeyBuilder;
use buttress_wire::tape::{Laggards, Tape, TapeReader, Timer};
use buttress_wire::{BodyError, into_bytes};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Version, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::place::Place;
use super::stored::Made;
use super::variants::{Normalize, Variant, write_value};
use crate::Stamp;

/// The flights of a layer, by what [`write_key`] writes.
pub(super) type Leader = buttress_dedup::Leader<Arc<[u8]>, Landed>;
pub(super) type Wait = buttress_dedup::Wait<Arc<[u8]>, Landed>;

pub(super) fn flights() -> Flights<Arc<[u8]>, Landed> {
    Flights::builder()
        // A waiter is a caller's own future: there are never more of them than callers.
        .max_waiters(NonZeroUsize::MAX)
        // What is joined is as fresh as it says itself, however long its body takes.
        .landed_for(Duration::MAX)
        .build()
}

/// What a leader leaves to those who joined it.
#[derive(Clone)]
pub(super) enum Landed {
    /// The call failed, with this status or without a response.
    Failed(Option<StatusCode>),
    /// The response is the leader's own.
    Private,
    /// It is in the store.
    Stored,
    /// For those who waited: their place is kept.
    Response(Arc<Head>, TapeReader<Live>),
    /// For newcomers, while the start of the body is still there.
    Streaming(Arc<Head>, Tape<Live>),
}

/// What followers have of a response before its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// As they are stored.
    pub(super) headers: HeaderMap,
    pub(super) primary: Vec<u8>,
    /// What it goes with, beside its own key and those that it depends on.
    pub(super) under: Vec<Vec<u8>>,
    pub(super) made: Made,
    pub(super) stamp: Stamp,
    /// The selecting fields, and the key that the leader's values of them give.
    pub(super) variant: Option<Variant>,
}

impl Head {
    /// Of a response with these fields, which is to be stored at `place`.
    pub(super) fn new(of: &response::Parts, headers: HeaderMap, place: &Place) -> Self {
        Self {
            status: of.status,
            version: of.version,
            headers,
            primary: place.primary.clone(),
            under: place.under.clone(),
            made: place.made.clone(),
            stamp: place.stamp,
            variant: place.variant.clone(),
        }
    }

    /// The keys that it goes with.
    pub(super) fn goes_with(&self) -> impl Iterator<Item = &[u8]> {
        let others = self.under.iter().chain(self.made.depends_on.iter());
        std::iter::once(&self.primary)
            .chain(others)
            .map(Vec::as_slice)
    }

    /// Its age by RFC 9111, 4.2.3.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.made.policy.initial_age + now.saturating_duration_since(self.made.received)
    }
}

/// Writes what two requests have to have in common to wait for each other: the target, the fields that its responses are known to
/// vary by, or else those that they usually do, and those that say who asks.
pub(super) fn write_key<'a>(
    key: &mut Vec<u8>,
    primary: &[u8],
    selecting: Option<impl Iterator<Item = &'a HeaderName>>,
    request: &HeaderMap,
    normalize: Option<&Normalize>,
    who: &[HeaderName],
) {
    key.extend_from_slice(primary);
    let mut builder = KeyBuilder::new(key);
    let mut write = |name: &HeaderName| {
        builder.part(name.as_str());
        write_value(&mut builder, request, name, normalize);
    };
    who.iter().for_each(&mut write);
    match selecting {
        Some(names) => names.for_each(write),
        None => USUAL.iter().for_each(write),
    }
}

/// The fields that say who asks.
pub(super) const WHO: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

const USUAL: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ORIGIN,
];

/// Who is a window behind may hold the others up for so long in total.
pub(super) fn laggards(total: Duration) -> Laggards {
    let timer = Timer {
        now: || Instant::now().into_std(),
        sleep: |after| Box::pin(tokio::time::sleep(after)),
    };
    Laggards::HoldUp { total, timer }
}

/// A body on a tape: of one type, so that a layer has one table of flights whatever it is put before.
pub(super) type Live = UnsyncBoxBody<Bytes, BodyError>;

pub(super) fn live<B>(body: B) -> Live
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    UnsyncBoxBody::new(Unified { body })
}

pin_project! {
    /// A body with our data and our error. Everything else is as it was.
    struct Unified<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for Unified<B>
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
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(into_bytes).map_err(BodyError::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
