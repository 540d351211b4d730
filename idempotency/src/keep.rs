//! What is recorded of a response, and what a replay looks like.

use buttress_wire::fields::{end_to_end, strip_exchange};
use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, response};

/// What a response says about the work.
///
/// By default, [`Forget`](Self::Forget) for 425 and 429, which promise that nothing was done, and for responses with the extension
/// [`NoEffect`]; everything else, errors included, is [`Record`](Self::Record)ed: a repetition must not do again what may have been done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// Nothing was done: the key is free again.
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

/// The fields that are replayed: those of the response, without what belongs to one connection, one exchange, one moment or one
/// client.
pub(crate) fn recorded_headers(headers: &HeaderMap) -> HeaderMap {
    const OF_ONE_MOMENT: [HeaderName; 3] = [header::AGE, header::DATE, header::SET_COOKIE];
    let mut recorded = end_to_end(headers);
    strip_exchange(&mut recorded);
    for name in OF_ONE_MOMENT {
        recorded.remove(name);
    }
    recorded
}
