//! Zipkin's B3, in one field or in several.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::read::{self, Invalid};
use crate::ascii::visible_ascii;
use crate::{Extracted, Propagator, Remote, Sampling, TraceContext};

static SINGLE: HeaderName = HeaderName::from_static("b3");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

static SEVERAL: [&HeaderName; 5] = [&TRACE_ID, &SPAN_ID, &PARENT_ID, &SAMPLED, &FLAGS];

/// Zipkin's B3, in one field or in several. Reads both, the one field first; writes the one it was made for.
///
/// Both forms may be written, as the tuple `(B3::single(), B3::multi())`. For a form that is on its way out there is nothing to do, since both are read:
/// [`ExtractOnly`](crate::ExtractOnly) of a `B3` would remove what another one has written.
///
/// Debug decisions survive. A deferred one is read as what it is, and written as denied: those we call would record what we may not. Trace ids of 64 bits are
/// read with zeros on the left. A decision that comes without ids (`b3: 0`) is no context.
#[derive(Clone, Copy, Debug)]
pub struct B3 {
    writes_one_field: bool,
}

impl B3 {
    /// Writes `b3: {trace}-{span}-{decision}-{parent}`.
    #[must_use]
    pub const fn single() -> Self {
        Self {
            writes_one_field: true,
        }
    }

    /// Writes `x-b3-traceid`, `x-b3-spanid` and what belongs to them.
    #[must_use]
    pub const fn multi() -> Self {
        Self {
            writes_one_field: false,
        }
    }
}

impl Propagator for B3 {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        Extracted::from(single(headers)).or_else(|| multi(headers).into())
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        // What the other form has written of this very span stays beside it.
        if !says(single(headers), context) {
            headers.remove(&SINGLE);
        }
        if !says(multi(headers), context) {
            SEVERAL.iter().for_each(|name| drop(headers.remove(*name)));
        }
        if self.writes_one_field {
            headers.insert(&SINGLE, to_single(context));
        } else {
            write_multi(context, headers);
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        visit(&SINGLE);
        SEVERAL.iter().for_each(|name| visit(name));
    }

    fn refused(&self, headers: &HeaderMap, visit: &mut dyn FnMut(&HeaderName)) {
        if single(headers).is_err() {
            visit(&SINGLE);
        }
        if multi(headers).is_err() {
            SEVERAL.iter().for_each(|name| visit(name));
        }
    }
}

/// Whether it is this span: of an id that is new with each call there is no copy.
fn says(read: Result<Option<Remote>, Invalid>, context: &TraceContext) -> bool {
    let ids = (context.trace_id(), context.span_id());
    read.is_ok_and(|there| {
        there.is_some_and(|there| (there.parent.trace_id, there.parent.span_id) == ids)
    })
}

fn single(headers: &HeaderMap) -> Result<Option<Remote>, Invalid> {
    match read::one(headers, &SINGLE)? {
        None | Some(b"0" | b"1" | b"d") => Ok(None),
        Some(value) => parse(value).map(Some),
    }
}

fn parse(value: &[u8]) -> Result<Remote, Invalid> {
    let mut parts = value.split(|&byte| byte == b'-');
    let trace_id = parts.next().filter(|id| is_trace_id(id)).ok_or(Invalid)?;
    let span_id = parts.next().filter(|id| id.len() == 16).ok_or(Invalid)?;
    let sampling = match parts.next() {
        None => Sampling::Defer,
        Some(b"0") => Sampling::Deny,
        Some(b"1") => Sampling::Accept,
        Some(b"d") => Sampling::Debug,
        Some(_) => return Err(Invalid),
    };
    if let Some(parent) = parts.next() {
        check_parent(parent)?;
    }
    if parts.next().is_some() {
        return Err(Invalid);
    }
    Ok(read::remote(
        read::trace_id(trace_id)?,
        read::span_id(span_id)?,
        sampling,
    ))
}

fn multi(headers: &HeaderMap) -> Result<Option<Remote>, Invalid> {
    let ids = (
        read::one(headers, &TRACE_ID)?,
        read::one(headers, &SPAN_ID)?,
    );
    let (trace_id, span_id) = match ids {
        (None, None) => return Ok(None),
        (Some(trace), Some(span)) if is_trace_id(trace) && span.len() == 16 => (trace, span),
        _ => return Err(Invalid),
    };
    if let Some(parent) = read::one(headers, &PARENT_ID)? {
        check_parent(parent)?;
    }
    let sampling = match (read::one(headers, &FLAGS)?, read::one(headers, &SAMPLED)?) {
        (Some(b"1"), _) => Sampling::Debug,
        (None | Some(b"0"), None) => Sampling::Defer,
        (None | Some(b"0"), Some(b"1" | b"true")) => Sampling::Accept,
        (None | Some(b"0"), Some(b"0" | b"false")) => Sampling::Deny,
        _ => return Err(Invalid),
    };
    Ok(Some(read::remote(
        read::trace_id(trace_id)?,
        read::span_id(span_id)?,
        sampling,
    )))
}

fn is_trace_id(digits: &[u8]) -> bool {
    matches!(digits.len(), 16 | 32)
}

fn check_parent(parent: &[u8]) -> Result<(), Invalid> {
    match parent.len() {
        16 => read::span_id(parent).map(drop),
        _ => Err(Invalid),
    }
}

fn to_single(context: &TraceContext) -> HeaderValue {
    let mut value = [b'-'; 68];
    value[..32].copy_from_slice(&context.trace_id().to_hex());
    value[33..49].copy_from_slice(&context.span_id().to_hex());
    let decision = match context.sampling() {
        Sampling::Defer | Sampling::Deny => b'0',
        Sampling::Accept => b'1',
        Sampling::Debug => b'd',
    };
    value[50] = decision;
    match context.parent_id() {
        None => visible_ascii(&value[..51]),
        Some(parent) => {
            value[52..].copy_from_slice(&parent.to_hex());
            visible_ascii(&value)
        }
    }
}

fn write_multi(context: &TraceContext, headers: &mut HeaderMap) {
    headers.insert(&TRACE_ID, visible_ascii(&context.trace_id().to_hex()));
    headers.insert(&SPAN_ID, visible_ascii(&context.span_id().to_hex()));
    if let Some(parent) = context.parent_id() {
        headers.insert(&PARENT_ID, visible_ascii(&parent.to_hex()));
    }
    let (name, value) = match context.sampling() {
        Sampling::Defer | Sampling::Deny => (&SAMPLED, "0"),
        Sampling::Accept => (&SAMPLED, "1"),
        Sampling::Debug => (&FLAGS, "1"),
    };
    headers.insert(name, HeaderValue::from_static(value));
}
