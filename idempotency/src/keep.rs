//! What is recorded of a response, and what a replay looks like.

use buttress_wire::Recorded;
use buttress_wire::fields::{Reach, Told, end_to_end_where};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, response};

use crate::store::Origin;

/// What a response says about the work.
///
/// By default, [`Forget`](Self::Forget) for 425 and 429, which promise that nothing was done, and for responses with the extension
/// [`NoEffect`]; everything else, errors included, is [`Record`](Self::Record)ed: a repetition must not do again what may have been done.
///
/// Of a stream of events (`text/event-stream`) nothing is recorded but that there was one, before its body runs, since that need not end: the work counts as done with its head, and a repetition is told that
/// the response was not kept. When its reader leaves, nobody reads on, as with any body that is not recorded: what is done while it streams may stop there, and no [`Recovery`](crate::Recovery) sees to it. Answer with such a stream once all is
/// done that must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// Nothing was done: the key is free again. Of attempts before this one it says nothing: where there were any, they are left to [`Recovery`](crate::Recovery).
    Forget,
    /// It is the answer, also for repetitions.
    Record,
    /// Nobody knows whether something was done: [`Recovery`](crate::Recovery) decides what becomes of a repetition.
    Unknown,
}

/// Put into a response's extensions by a handler that knows that nothing was done: the key may be used again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoEffect;

pub(crate) fn default_keep(head: &response::Parts) -> Keep {
    let nothing_done = matches!(
        head.status,
        StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    ) || head.extensions.get::<NoEffect>().is_some();
    if nothing_done {
        Keep::Forget
    } else {
        Keep::Record
    }
}

/// On a replay: the id of the request that it was the answer to first.
const ORIGINAL_REQUEST: HeaderName = HeaderName::from_static("original-request");
/// On a replay: when that came.
const ORIGINAL_DATE: HeaderName = HeaderName::from_static("original-date");

/// Fields that were given a name, as far as records have to do with them.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The one that marks a replay.
    pub(crate) replay: &'a HeaderName,
    /// That of a request's id, where it has a name that nobody knows it by.
    pub(crate) own_id: Option<&'a HeaderName>,
}

impl Names<'_> {
    /// Says that a response is a replay, and of what. Done when it is sent again and not when it is recorded: most are never sent again.
    pub(crate) fn mark(self, replay: &mut HeaderMap, origin: &Origin) {
        replay.insert(self.replay, HeaderValue::from_static("true"));
        if let Some(id) = origin.request_id() {
            replay.insert(ORIGINAL_REQUEST, id.clone());
        }
        if let Some(date) = origin.http_date() {
            replay.insert(ORIGINAL_DATE, date);
        }
    }

    /// Whether it belongs to one exchange, one moment or one client.
    fn is_fresh(self, name: &HeaderName) -> bool {
        is_of_one_moment(name) || self.own_id == Some(name)
    }

    /// The response as it is replayed, if that has other trailers than it. Most have none.
    pub(crate) fn without_fresh_trailers(self, recorded: &Recorded) -> Option<Recorded> {
        let stays = |name: &HeaderName| Reach::of(name) == Reach::Message && !self.is_fresh(name);
        let trailers = recorded.trailers()?;
        if trailers.keys().all(stays) {
            return None;
        }
        let kept = trailers.iter().filter(|(name, _)| stays(name));
        let kept: HeaderMap = kept
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let (headers, body) = (recorded.headers().clone(), recorded.body().clone());
        let kept = Some(kept).filter(|kept| !kept.is_empty());
        Some(Recorded::new(recorded.status(), headers, body, kept))
    }
}

/// What there is to know of the fields of a response before its body is read, found in one walk.
pub(crate) struct Fields<'a> {
    pub(crate) told: Told<'a>,
    /// Whether none of them has to be left out of a record.
    pub(crate) all_stay: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(headers: &'a HeaderMap, names: Names<'_>) -> Self {
        let (mut told, mut all_stay) = (Told::default(), true);
        for (name, value) in headers {
            // What tells of the body stays. A field that `Connection` names is looked for where there is a `Connection`.
            all_stay &=
                told.see(name, value) || !names.is_fresh(name) && Reach::of(name) == Reach::Message;
        }
        Self { told, all_stay }
    }
}

/// The fields that are replayed: those of the response, without what belongs to one connection, one exchange, one moment or one client.
///
/// Where all of them stay, the record takes them, and the response goes on with a copy: of a copy nobody can tell how much memory it takes.
pub(crate) fn recorded_headers(
    headers: &mut HeaderMap,
    all_stay: bool,
    names: Names<'_>,
) -> HeaderMap {
    if all_stay {
        let copy = headers.clone();
        return std::mem::replace(headers, copy);
    }
    let stays = |name: &HeaderName| Reach::of(name) != Reach::Exchange && !names.is_fresh(name);
    end_to_end_where(headers, stays)
}

fn is_of_one_moment(name: &HeaderName) -> bool {
    *name == header::AGE || *name == header::DATE || *name == header::SET_COOKIE
}

/// In the extensions of a response that is [marked done](crate::IdempotencyLayer::mark_done), or comes of [`Reconciled::Done`](crate::Reconciled::Done): what its body ends with, as `grpc-status`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trailers(pub HeaderMap);

/// A response that somebody else knows, as it is recorded.
pub(crate) fn recorded(response: Response<Bytes>, names: Names<'_>) -> Recorded {
    let (mut head, body) = response.into_parts();
    let all_stay = Fields::of(&head.headers, names).all_stay;
    let headers = recorded_headers(&mut head.headers, all_stay, names);
    let trailers = head.extensions.remove().map(|Trailers(trailers)| trailers);
    Recorded::new(head.status, headers, body, trailers)
}
