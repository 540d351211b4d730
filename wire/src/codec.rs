//! The bytes a [`Recorded`] is stored as.
//!
//! One frame, all integers big-endian:
//!
//! ```text
//! version u8 = 1 │ status u16 │ fields │ 0, or 1 and fields for the trailers │ body length u64 │ body
//! fields = count u32 │ (flags u8 │ name length u16 │ value length u32 │ name │ value)*
//! ```
//!
//! Decoding copies no value and no body: both are slices of the input. Arbitrary bytes give an error, in time linear in their
//! length, and never a panic. A version that this one does not know is an error too: a reader treats the record as absent.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::recorded::Recorded;

const VERSION: u8 = 1;
/// Set for a value that must not be indexed by HPACK nor printed ([`HeaderValue::is_sensitive`]).
const SENSITIVE: u8 = 1;
/// The fixed part of one field: flags and two lengths.
const FIELD_HEAD: usize = 1 + 2 + 4;

impl Recorded {
    /// The response as bytes, for a store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.weight());
        out.put_u8(VERSION);
        out.put_u16(self.status().as_u16());
        put_fields(&mut out, self.headers());
        out.put_u8(u8::from(self.trailers().is_some()));
        if let Some(trailers) = self.trailers() {
            put_fields(&mut out, trailers);
        }
        out.put_u64(self.body().len() as u64);
        out.put_slice(self.body());
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote. Values and body are slices of `bytes`, which live as long as they do.
    ///
    /// # Errors
    ///
    /// When `bytes` are not a frame of a version this one knows, whole and without a rest.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let bytes = &mut bytes;
        if take(bytes, 1)?[0] != VERSION {
            return Err(DecodeError("unknown version"));
        }
        let status = take(bytes, 2)?.get_u16();
        let status = StatusCode::from_u16(status).map_err(|_| DecodeError("invalid status"))?;
        let headers = take_fields(bytes)?;
        let trailers = match take(bytes, 1)?[0] {
            0 => None,
            1 => Some(take_fields(bytes)?),
            _ => return Err(DecodeError("invalid trailer mark")),
        };
        let length = take(bytes, 8)?.get_u64();
        if length != bytes.len() as u64 {
            return Err(DecodeError("the body is not as long as it says"));
        }
        Ok(Self::new(status, headers, std::mem::take(bytes), trailers))
    }
}

fn put_fields(out: &mut BytesMut, fields: &HeaderMap) {
    out.put_u32(fields.len() as u32);
    for (name, value) in fields {
        out.put_u8(if value.is_sensitive() { SENSITIVE } else { 0 });
        // Names have at most 2^16 - 1 bytes and values fit in memory, by the limits of `http`.
        out.put_u16(name.as_str().len() as u16);
        out.put_u32(value.len() as u32);
        out.put_slice(name.as_ref());
        out.put_slice(value.as_bytes());
    }
}

fn take_fields(bytes: &mut Bytes) -> Result<HeaderMap, DecodeError> {
    let count = take(bytes, 4)?.get_u32() as usize;
    // The count is only believed as far as the bytes that follow can bear it out.
    if count > bytes.len() / FIELD_HEAD {
        return Err(DecodeError("more fields than bytes"));
    }
    let mut fields = HeaderMap::try_with_capacity(count).map_err(|_| TOO_MANY)?;
    for _ in 0..count {
        let (name, value) = take_field(bytes)?;
        fields.try_append(name, value).map_err(|_| TOO_MANY)?;
    }
    Ok(fields)
}

const TOO_MANY: DecodeError = DecodeError("too many fields");

fn take_field(bytes: &mut Bytes) -> Result<(HeaderName, HeaderValue), DecodeError> {
    let mut head = take(bytes, FIELD_HEAD)?;
    let flags = head.get_u8();
    let (name, value) = (head.get_u16() as usize, head.get_u32() as usize);
    let name = HeaderName::from_lowercase(&take(bytes, name)?)
        .map_err(|_| DecodeError("invalid field name"))?;
    let mut value = HeaderValue::from_maybe_shared(take(bytes, value)?)
        .map_err(|_| DecodeError("invalid field value"))?;
    value.set_sensitive(flags & SENSITIVE != 0);
    Ok((name, value))
}

fn take(bytes: &mut Bytes, count: usize) -> Result<Bytes, DecodeError> {
    if count > bytes.len() {
        return Err(DecodeError("cut short"));
    }
    Ok(bytes.split_to(count))
}

/// Stored bytes that are not a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecodeError(&'static str);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a recorded response: {}", self.0)
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> impl Strategy<Value = HeaderMap> {
        let name = "[a-z][a-z0-9-]{0,12}".prop_map(|s| HeaderName::try_from(s).unwrap());
        let value = proptest::collection::vec(0x20_u8..0x7f, 0..20);
        let value = (value, any::<bool>()).prop_map(|(bytes, sensitive)| {
            let mut value = HeaderValue::from_bytes(&bytes).unwrap();
            value.set_sensitive(sensitive);
            value
        });
        proptest::collection::vec((name, value), 0..8).prop_map(HeaderMap::from_iter)
    }

    fn recorded() -> impl Strategy<Value = Recorded> {
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        (
            100_u16..1000,
            fields(),
            body,
            proptest::option::of(fields()),
        )
            .prop_map(|(status, headers, body, trailers)| {
                Recorded::new(
                    StatusCode::from_u16(status).unwrap(),
                    headers,
                    body.into(),
                    trailers,
                )
            })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(recorded in recorded()) {
            prop_assert_eq!(Recorded::decode(recorded.encode()), Ok(recorded));
        }

        #[test]
        fn every_proper_prefix_is_an_error(recorded in recorded(), cut: prop::sample::Index) {
            let bytes = recorded.encode();
            prop_assert!(Recorded::decode(bytes.slice(..cut.index(bytes.len()))).is_err());
        }

        #[test]
        fn no_bytes_panic(recorded in recorded(), noise: Vec<u8>, at: prop::sample::Index, to: u8) {
            let _ = Recorded::decode(noise.into());
            let mut bytes = recorded.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = Recorded::decode(bytes.into());
        }
    }

    #[test]
    fn a_body_is_not_copied() {
        let recorded = Recorded::new(
            StatusCode::OK,
            HeaderMap::new(),
            Bytes::from(vec![7; 4096]),
            None,
        );
        let bytes = recorded.encode();
        let inside = bytes.as_ptr_range();
        let decoded = Recorded::decode(bytes).unwrap();
        assert!(inside.contains(&decoded.body().as_ptr()));
    }

    #[test]
    fn a_lying_count_is_refused_before_it_is_believed() {
        let mut bytes = vec![VERSION, 0, 200];
        bytes.extend(u32::MAX.to_be_bytes());
        assert_eq!(
            Recorded::decode(bytes.into()),
            Err(DecodeError("more fields than bytes"))
        );
    }
}
