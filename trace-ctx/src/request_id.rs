//! The id of one request, safe to log and to send: one that came, or one of ours.

use std::error::Error;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ascii::{self, visible_ascii};
use crate::fields::{self, Field};
use crate::{IdGenerator, hex};

/// The id of one request (or of a business transaction: a correlation id), safe to log and to send.
///
/// Either one that came in and matches `[A-Za-z0-9._~+/=:-]{1,128}`, kept without a copy, or one of ours: 128
/// random bits that become 32 hex digits only when somebody asks.
#[derive(Clone)]
pub struct RequestId(Repr);

#[derive(Clone)]
enum Repr {
    Received(HeaderValue),
    Generated([u8; 16]),
}

/// The value is not `[A-Za-z0-9._~+/=:-]{1,128}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidRequestId(());

impl RequestId {
    /// The longest id that is accepted.
    pub const MAX_LEN: usize = 128;
    /// Nobody's, where there has to be one.
    pub(crate) const NONE: Self = Self(Repr::Generated([0; 16]));

    /// Takes a field value over if it is a valid id.
    ///
    /// # Errors
    ///
    /// When it is not `[A-Za-z0-9._~+/=:-]{1,128}`.
    pub fn from_header_value(value: &HeaderValue) -> Result<Self, InvalidRequestId> {
        if is_valid(value) {
            Ok(Self::trusted(value))
        } else {
            Err(InvalidRequestId(()))
        }
    }

    /// This valid value, or a new id. Borrowed until it is where it stays: moving it would wait for its pieces.
    #[inline]
    pub(crate) fn of(valid: Option<&HeaderValue>, ids: &dyn IdGenerator) -> Self {
        match valid {
            Some(value) => Self::trusted(value),
            None => ids.request_id(),
        }
    }

    /// Takes over a field value that [is valid](is_valid).
    #[inline]
    pub(crate) fn trusted(value: &HeaderValue) -> Self {
        Self(Repr::Received(value.clone()))
    }

    /// The id these bytes make, as 32 hex digits.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Repr::Generated(bytes))
    }

    /// The id as a field value: one allocation if it is ours, none if it came in.
    #[must_use]
    pub fn to_header_value(&self) -> HeaderValue {
        match &self.0 {
            Repr::Received(value) => value.clone(),
            Repr::Generated(bytes) => visible_ascii(&hex::encode::<16, 32>(*bytes)),
        }
    }

    /// Lends the id as text.
    pub fn with_str<R>(&self, use_it: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Received(value) => use_it(ascii::as_str(value.as_bytes())),
            Repr::Generated(bytes) => use_it(ascii::as_str(&hex::encode::<16, 32>(*bytes))),
        }
    }
}

impl std::str::FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = HeaderValue::from_str(text).map_err(|_| InvalidRequestId(()))?;
        Self::from_header_value(&value)
    }
}

/// The one id in these headers, if it is valid and to be kept. Anything else is `refused`, also two of them: to be removed.
pub(crate) fn read<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    keep: bool,
    refused: &mut bool,
) -> Option<&'a HeaderValue> {
    let [field] = fields::find(headers, [name]);
    match field {
        Field::Absent => None,
        Field::Once(value) if keep && is_valid(value) => Some(value),
        _ => {
            *refused = true;
            None
        }
    }
}

/// Whether it matches `[A-Za-z0-9._~+/=:-]{1,128}`.
fn is_valid(value: &HeaderValue) -> bool {
    let id = value.as_bytes();
    (1..=RequestId::MAX_LEN).contains(&id.len()) && id.iter().all(|byte| ALLOWED[*byte as usize])
}

/// By byte: one load for each, where ranges would be a chain of comparisons.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let is_mark = matches!(byte, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'-');
        allowed[byte as usize] = byte.is_ascii_alphanumeric() || is_mark;
        byte += 1;
    }
    allowed
};

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.with_str(|this| other.with_str(|other| this == other))
    }
}

impl Eq for RequestId {}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|id| f.pad(id))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl fmt::Display for InvalidRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request id is 1 to 128 of A-Z a-z 0-9 . _ ~ + / = : -")
    }
}

impl Error for InvalidRequestId {}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(bytes: &[u8]) -> bool {
        HeaderValue::from_bytes(bytes)
            .is_ok_and(|value| RequestId::from_header_value(&value).is_ok())
    }

    #[test]
    fn exactly_the_documented_bytes_are_accepted() {
        let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/=:-";
        for byte in 0..=u8::MAX {
            assert_eq!(
                is_accepted(&[b'a', byte, b'z']),
                allowed.contains(&byte),
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn the_length_is_one_to_128() {
        for (len, accepted) in [(0, false), (1, true), (128, true), (129, false)] {
            assert_eq!(is_accepted(&b"a".repeat(len)), accepted, "{len}");
        }
    }

    #[test]
    fn two_ids_are_refused_and_so_is_one_not_to_be_kept() {
        let name = HeaderName::from_static("x-request-id");
        let mut headers = HeaderMap::new();
        let read = |headers: &HeaderMap, keep| {
            let mut refused = false;
            let id = super::read(headers, &name, keep, &mut refused);
            (id.map(|id| id.to_str().unwrap().to_owned()), refused)
        };
        assert_eq!(read(&headers, true), (None, false));
        headers.append(&name, HeaderValue::from_static("one"));
        assert_eq!(read(&headers, true), (Some("one".to_owned()), false));
        assert_eq!(read(&headers, false), (None, true));
        headers.append(&name, HeaderValue::from_static("one"));
        assert_eq!(read(&headers, true), (None, true));
    }

    #[test]
    fn an_id_of_ours_is_valid_itself() {
        let id = RequestId::from_bytes(0xabc_u128.to_be_bytes());
        assert_eq!(id.to_string(), format!("{:032x}", 0xabc));
        assert_eq!(RequestId::from_header_value(&id.to_header_value()), Ok(id));
    }
}
