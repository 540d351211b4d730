//! Requests that are forwarded once for all who ask at the same time (RFC 9111, section 4; RFC 9211, 2.6).

use std::error::Error;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buttress_dedup::Flights;
use buttress_wire::key::{Field, KeyBuilder};
use buttress_wire::tape::{Laggards, Tape, TapeReader, Timer};
use buttress_wire::{BodyError, Recorded, into_bytes};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::glance::Glance;
use super::memory::Memory;
use super::place::Place;
use super::variants::{Normalize, Selecting, write_lines, write_value};

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

/// Who refreshes what is stored: one at a time for each response, whoever asks and however.
pub(super) type Refreshing = buttress_dedup::Leader<Arc<[u8]>, ()>;

pub(super) fn refreshes() -> Flights<Arc<[u8]>, ()> {
    // Nobody waits.
    Flights::builder().build()
}

/// By what others who ask for the same know a request, and how that is remembered where they wait for nobody.
#[derive(Clone, Debug)]
pub(super) struct FlightKey {
    pub(super) key: Arc<[u8]>,
    pub(super) hash: u64,
}

impl FlightKey {
    pub(super) fn new(key: &[u8], private: &Memory) -> Self {
        Self::hashed(key, private.hash(key))
    }

    pub(super) fn hashed(key: &[u8], hash: u64) -> Self {
        let key = key.into();
        Self { key, hash }
    }
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

/// What is had of a response before its body, by followers and by the store.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) version: Version,
    /// As it is stored, with no body.
    pub(super) recorded: Recorded,
    /// No cache nearer to the origin has told anything.
    pub(super) is_only_teller: bool,
    pub(super) place: Place,
}

impl Head {
    /// The keys that it goes with, beside that of its variant.
    pub(super) fn goes_with(&self) -> impl Iterator<Item = &[u8]> {
        let place = &self.place;
        let others = place.under.iter().chain(place.made.depends_on.iter());
        std::iter::once(&*place.primary).chain(others.map(Vec::as_slice))
    }

    /// Its age by RFC 9111, 4.2.3.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let made = &self.place.made;
        made.policy.initial_age + now.saturating_duration_since(made.received)
    }
}

/// Appends to a target's key what two requests have to have in common beside it to wait for each other: the fields that its responses are known to
/// vary by, or else those that they usually do, and those that say who asks.
pub(super) fn write_key(
    key: &mut Vec<u8>,
    selecting: Option<&[Selecting]>,
    request: &Glance<'_>,
    normalize: Option<&Normalize>,
    ignore_cookie: bool,
) {
    let mut builder = KeyBuilder::new(key);
    let headers = request.headers();
    for name in &FIELDS {
        let counts = match *name {
            header::AUTHORIZATION => true,
            // Where cookies say nothing, they keep nobody apart.
            header::COOKIE => !ignore_cookie,
            _ => selecting.is_none(),
        };
        match request.field(name) {
            _ if !counts => {}
            // Most are; and nobody has a word for that.
            Field::Absent if normalize.is_none() => {}
            Field::Once(line) if normalize.is_none() => {
                write_lines(builder.part(name.as_str()), name, [line.as_bytes()]);
            }
            _ => write_value(builder.part(name.as_str()), headers, name, normalize),
        }
    }
    if let Some(sets) = selecting {
        builder.part("vary");
        for name in sets.iter().flat_map(|set| set.iter()) {
            write_value(builder.part(name.as_str()), headers, name, normalize);
        }
    }
}

/// The fields that say who asks, and those that responses usually vary by.
static FIELDS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::COOKIE,
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
pub(super) type Live = dyn Body<Data = Bytes, Error = BodyError> + Send;

pub(super) fn live<B>(body: B) -> Pin<Box<Live>>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    Box::pin(Unified { body })
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

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn key(fields: &[(&'static str, &'static str)], selecting: Option<&[Selecting]>) -> Vec<u8> {
        let mut request = Request::new(());
        for (name, value) in fields {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        let mut key = Vec::new();
        let parts = request.into_parts().0;
        write_key(&mut key, selecting, &Glance::at(&parts), None, false);
        key
    }

    #[test]
    fn who_asks_and_what_for_keeps_requests_apart() {
        let plain = key(&[], None);
        assert_eq!(plain, key(&[("host", "h"), ("user-agent", "x")], None));
        let others = [
            key(&[("authorization", "a")], None),
            key(&[("cookie", "a")], None),
            key(&[("accept", "a")], None),
            key(&[("accept", "")], None),
            key(&[("accept-encoding", "a")], None),
            key(&[("accept", "a"), ("accept", "b")], None),
            key(&[], Some(&[])),
            key(&[], Some(&[[header::ACCEPT].into()])),
            key(&[("accept", "a")], Some(&[[header::ACCEPT].into()])),
        ];
        for (at, one) in others.iter().enumerate() {
            assert_ne!(*one, plain, "{at}");
            assert!(others[at + 1..].iter().all(|other| other != one), "{at}");
        }
        let lines = [("accept", "a"), ("accept", "b")];
        assert_eq!(key(&lines, None), key(&[("accept", "a ,b")], None));
    }
}
