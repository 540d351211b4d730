//! Jaeger's format.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::read::{self, Invalid};
use crate::ascii::visible_ascii;
use crate::{Extracted, Propagator, Remote, Sampling, TraceContext};

static FIELD: HeaderName = HeaderName::from_static("uber-trace-id");

/// Jaeger's `uber-trace-id: {trace}:{span}:{parent}:{flags}`.
///
/// Ids may have lost their leading zeros, and colons may be written `%3A`. The format has no word for a deferred
/// decision: it is written as a denied one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jaeger;

const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;

impl Propagator for Jaeger {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        let field = read::one(headers, &FIELD);
        let remote = field.and_then(|value| value.map(parse).transpose());
        remote.into()
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        headers.insert(&FIELD, to_value(context));
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        visit(&FIELD);
    }
}

fn parse(value: &[u8]) -> Result<Remote, Invalid> {
    let (trace_id, rest) = next(value)?;
    let (span_id, rest) = next(rest)?;
    let (_deprecated_parent, flags) = next(rest)?;
    Ok(read::remote(
        read::trace_id(trace_id)?,
        read::span_id(span_id)?,
        parse_flags(flags)?,
    ))
}

/// What stands before the next colon, and what after it.
fn next(value: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let at = value.iter().position(|byte| matches!(byte, b':' | b'%'));
    let (part, rest) = value.split_at(at.ok_or(Invalid)?);
    let rest = [&b":"[..], b"%3A", b"%3a"]
        .into_iter()
        .find_map(|colon| rest.strip_prefix(colon));
    Ok((part, rest.ok_or(Invalid)?))
}

/// One or two hex digits; bits that we do not know are passed over.
fn parse_flags(digits: &[u8]) -> Result<Sampling, Invalid> {
    let is_hex = digits
        .iter()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let text = std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_hex && digits.len() <= 2);
    let bits = text.and_then(|text| u8::from_str_radix(text, 16).ok());
    match bits.ok_or(Invalid)? {
        bits if bits & SAMPLED == 0 => Ok(Sampling::Deny),
        bits if bits & DEBUG != 0 => Ok(Sampling::Debug),
        _ => Ok(Sampling::Accept),
    }
}

fn to_value(context: &TraceContext) -> HeaderValue {
    let mut value = *b"................................:................:0:.";
    value[..32].copy_from_slice(&context.trace_id().to_hex());
    value[33..49].copy_from_slice(&context.span_id().to_hex());
    value[52] = match context.sampling() {
        Sampling::Defer | Sampling::Deny => b'0',
        Sampling::Accept => b'1',
        Sampling::Debug => b'3',
    };
    visible_ascii(&value)
}
