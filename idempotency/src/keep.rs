//! What is recorded of a response, and what a replay looks like.

use buttress_wire::Recorded;
use buttress_wire::fields::{end_to_end_where, is_of_one_exchange};
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

/// The fields that are replayed: those of the response, without what belongs to one connection, one exchange, one moment or one client, and those
/// that say that it is a replay, and of what.
pub(crate) fn recorded_headers(
    headers: &HeaderMap,
    replay_header: &HeaderName,
    origin: &Origin,
) -> HeaderMap {
    const OF_ONE_MOMENT: [HeaderName; 3] = [header::AGE, header::DATE, header::SET_COOKIE];
    let keep = |name: &HeaderName| !is_of_one_exchange(name) && !OF_ONE_MOMENT.contains(name);
    let mut recorded = end_to_end_where(headers, 3, keep);
    recorded.insert(replay_header, HeaderValue::from_static("true"));
    if let Some(id) = origin.request_id() {
        recorded.insert(ORIGINAL_REQUEST, id.clone());
    }
    if let Some(date) = origin.http_date() {
        recorded.insert(ORIGINAL_DATE, date);
    }
    recorded
}

/// A response that somebody else knows, as it is recorded.
pub(crate) fn recorded(
    response: Response<Bytes>,
    replay_header: &HeaderName,
    origin: &Origin,
) -> Recorded {
    let (head, body) = response.into_parts();
    let headers = recorded_headers(&head.headers, replay_header, origin);
    Recorded::new(head.status, headers, body, None)
}
