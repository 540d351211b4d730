//! AWS X-Ray's format.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::read::{self, Invalid};
use crate::ascii::visible_ascii;
use crate::{Extracted, Propagator, Remote, Sampling, TraceContext};

static FIELD: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// AWS X-Ray's `x-amzn-trace-id: Root=1-{8 digits}-{24 digits};Parent={16 digits};Sampled={0, 1 or ?}`.
///
/// Keys may come in any order and unknown ones are passed over, but not on. A field without `Parent`, as a
/// load balancer makes one, names no span to continue and is no context. X-Ray refuses trace ids whose first eight digits
/// are not a recent time: a service that is to start traces there needs an [`IdGenerator`](crate::IdGenerator) that
/// puts one in. A deferred decision (`?`) is read, and written as a denied one.
#[derive(Clone, Copy, Debug, Default)]
pub struct XRay;

impl Propagator for XRay {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        let field = read::one(headers, &FIELD);
        let remote = field.and_then(|value| value.map_or(Ok(None), parse));
        remote.into()
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        headers.insert(&FIELD, to_value(context));
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        visit(&FIELD);
    }
}

fn parse(value: &[u8]) -> Result<Option<Remote>, Invalid> {
    let (mut root, mut parent, mut sampling) = (None, None, None);
    for pair in value.split(|&byte| byte == b';') {
        let pair = pair.trim_ascii();
        if let Some(id) = pair.strip_prefix(b"Root=") {
            once(&mut root, parse_root(id)?)?;
        } else if let Some(id) = pair.strip_prefix(b"Parent=") {
            let id = if id.len() == 16 {
                id
            } else {
                return Err(Invalid);
            };
            once(&mut parent, read::span_id(id)?)?;
        } else if let Some(decision) = pair.strip_prefix(b"Sampled=") {
            once(&mut sampling, parse_sampling(decision)?)?;
        }
    }
    let root = root.ok_or(Invalid)?;
    let sampling = sampling.unwrap_or(Sampling::Defer);
    Ok(parent.map(|parent| read::remote(root, parent, sampling)))
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Invalid> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Invalid),
    }
}

fn parse_root(root: &[u8]) -> Result<crate::TraceId, Invalid> {
    let digits = root.strip_prefix(b"1-").filter(|rest| rest.len() == 33);
    match digits.map(|rest| (&rest[..8], rest[8], &rest[9..])) {
        Some((time, b'-', unique)) => {
            let mut id = [0; 32];
            id[..8].copy_from_slice(time);
            id[8..].copy_from_slice(unique);
            read::trace_id(&id)
        }
        _ => Err(Invalid),
    }
}

fn parse_sampling(decision: &[u8]) -> Result<Sampling, Invalid> {
    match decision {
        b"0" => Ok(Sampling::Deny),
        b"1" => Ok(Sampling::Accept),
        b"?" => Ok(Sampling::Defer),
        _ => Err(Invalid),
    }
}

fn to_value(context: &TraceContext) -> HeaderValue {
    let mut value = *b"Root=1-........-........................;Parent=................;Sampled=.";
    let id = context.trace_id().to_hex();
    value[7..15].copy_from_slice(&id[..8]);
    value[16..40].copy_from_slice(&id[8..]);
    value[48..64].copy_from_slice(&context.span_id().to_hex());
    value[73] = match context.sampling() {
        Sampling::Defer | Sampling::Deny => b'0',
        Sampling::Accept | Sampling::Debug => b'1',
    };
    visible_ascii(&value)
}
