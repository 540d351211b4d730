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

/// What there is to know of the fields of a response before its body is read, found in one walk.
pub(crate) struct Fields<'a> {
    pub(crate) told: Told<'a>,
    /// Whether none of them has to be left out of a record.
    pub(crate) all_stay: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let (mut told, mut all_stay) = (Told::default(), true);
        for (name, value) in headers {
            // What tells of the body stays. A field that `Connection` names is looked for where there is a `Connection`.
            all_stay &= told.see(name, value)
                || !is_of_one_moment(name) && Reach::of(name) == Reach::Message;
        }
        Self { told, all_stay }
    }
}

/// The fields that are replayed: those of the response, without what belongs to one connection, one exchange, one moment or one client, and those
/// that say that it is a replay, and of what.
///
/// Where all of them stay, the record takes them, for its handler has most often made room for more; the response goes on with a copy.
pub(crate) fn recorded_headers(
    headers: &mut HeaderMap,
    all_stay: bool,
    replay_header: &HeaderName,
    origin: &Origin,
) -> HeaderMap {
    let mut recorded = if all_stay {
        let copy = headers.clone();
        std::mem::replace(headers, copy)
    } else {
        end_to_end_where(headers, 3, is_replayed)
    };
    recorded.insert(replay_header, HeaderValue::from_static("true"));
    if let Some(id) = origin.request_id() {
        recorded.insert(ORIGINAL_REQUEST, id.clone());
    }
    if let Some(date) = origin.http_date() {
        recorded.insert(ORIGINAL_DATE, date);
    }
    recorded
}

fn is_of_one_moment(name: &HeaderName) -> bool {
    *name == header::AGE || *name == header::DATE || *name == header::SET_COOKIE
}

fn is_replayed(name: &HeaderName) -> bool {
    Reach::of(name) != Reach::Exchange && !is_of_one_moment(name)
}

/// A response that somebody else knows, as it is recorded.
pub(crate) fn recorded(
    response: Response<Bytes>,
    replay_header: &HeaderName,
    origin: &Origin,
) -> Recorded {
    let (mut head, body) = response.into_parts();
    let all_stay = Fields::of(&head.headers).all_stay;
    let headers = recorded_headers(&mut head.headers, all_stay, replay_header, origin);
    Recorded::new(head.status, headers, body, None)
}
