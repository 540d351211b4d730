//! What the formats read with: one field, ids of their own lengths.

use http::{HeaderMap, HeaderName};

use crate::{Flags, Remote, Sampling, SpanId, TraceId, TraceParent, TraceState};

/// Not valid in this format.
pub(crate) struct Invalid;

/// The one value of a field. Two are none that could be relied on.
pub(crate) fn one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, Invalid> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(http::HeaderValue::as_bytes)),
        _ => Err(Invalid),
    }
}

/// A trace id of up to 32 digits; what is missing on the left is zero.
pub(crate) fn trace_id(digits: &[u8]) -> Result<TraceId, Invalid> {
    padded(digits)
        .and_then(|digits| TraceId::from_hex(&digits))
        .ok_or(Invalid)
}

/// A span id of up to 16 digits.
pub(crate) fn span_id(digits: &[u8]) -> Result<SpanId, Invalid> {
    padded(digits)
        .and_then(|digits| SpanId::from_hex(&digits))
        .ok_or(Invalid)
}

fn padded<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let missing = N.checked_sub(digits.len()).filter(|_| !digits.is_empty())?;
    let mut padded = [b'0'; N];
    padded[missing..].copy_from_slice(digits);
    Some(padded)
}

/// A context as formats without flags and state tell it. None of them says how its ids were drawn.
pub(crate) fn remote(trace_id: TraceId, span_id: SpanId, sampling: Sampling) -> Remote {
    let parent = TraceParent {
        trace_id,
        span_id,
        flags: Flags::default(),
    };
    Remote::new(parent, sampling, TraceState::default())
}
