//! As much of gRPC over HTTP/2 as a layer must know to refuse a call in its language.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// The field, in headers or trailers, that carries a call's [`Code`].
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The field that carries its message, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A gRPC status code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Code {
    /// The call succeeded.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// No better code is known.
    Unknown = 2,
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// The deadline passed first.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be created exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A quota or a resource is used up.
    ResourceExhausted = 8,
    /// The system is not in a state for this call.
    FailedPrecondition = 9,
    /// Concurrency: try the whole again.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// Not implemented.
    Unimplemented = 12,
    /// An invariant is broken.
    Internal = 13,
    /// Come back later.
    Unavailable = 14,
    /// Data are lost.
    DataLoss = 15,
    /// Who is calling?
    Unauthenticated = 16,
}

impl Code {
    /// The code of a `grpc-status` value. Numbers this version of the protocol does not know are [`Code::Unknown`]; what is
    /// no number is `None`.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let number: u32 = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some(*Self::ALL.get(number as usize).unwrap_or(&Self::Unknown))
    }

    /// The code that `headers`, or trailers, carry.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(GRPC_STATUS)?.as_bytes())
    }

    /// Its number, as a `grpc-status` value.
    #[must_use]
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }

    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];
}

/// Whether a message with these headers is gRPC: its media type is `application/grpc`, alone or with a `+` suffix or parameters.
/// gRPC-Web, which speaks plain HTTP, is not.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_grpc_type)
}

/// The same, of the value of `Content-Type`.
#[must_use]
pub fn is_grpc_type(content_type: &HeaderValue) -> bool {
    const PREFIX: &[u8; 16] = b"application/grpc";
    let Some((start, rest)) = content_type.as_bytes().split_first_chunk() else {
        return false;
    };
    // In lower case, as every message is asked: all at once. What is not a letter stays as it is, but for control characters, of which no field has any.
    let start = start.map(|byte| byte | 0x20);
    start == *PREFIX && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// `message` as a `grpc-message` value: printable ASCII as it is, everything else percent-encoded.
#[must_use]
pub fn encode_message(message: &str) -> HeaderValue {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    let encoded = percent_encode(message.as_bytes(), ESCAPED).to_string();
    // Nothing but printable ASCII is left, so this cannot fail; an empty message would still be a valid one.
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_header() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.to_header().as_bytes()), Some(code));
        }
        assert_eq!(Code::parse(b"17"), Some(Code::Unknown));
        assert_eq!(Code::parse(b"4000000000"), Some(Code::Unknown));
        for bad in [&b""[..], b"-1", b"ok", b"\xff"] {
            assert_eq!(Code::parse(bad), None);
        }
    }

    #[test]
    fn only_grpc_is_grpc() {
        let is = |value: &'static str| {
            is_grpc(&HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; x=y",
        ] {
            assert!(is(yes), "{yes}");
        }
        for no in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/json",
            "",
        ] {
            assert!(!is(no), "{no}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_message_cannot_break_its_header() {
        assert_eq!(
            encode_message("100% über\r\nx: y"),
            "100%25 %C3%BCber%0D%0Ax: y"
        );
    }
}
