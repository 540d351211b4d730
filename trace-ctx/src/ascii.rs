//! Text that is ASCII, as header fields are.

use http::HeaderValue;

/// What was checked to be ASCII, or written so; there is no unchecked way to say it here, and the check costs next to nothing.
pub(crate) fn as_str(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

/// Optional white space is space and tab, and nothing else (RFC 9110, 5.6.3).
pub(crate) fn trim(mut part: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = part {
        part = rest;
    }
    part
}

/// A header value of bytes that we wrote ourselves and that are visible ASCII by construction.
///
/// Not inlined: where their number is known, the look that `http` has at each is written out, which takes three times as long.
#[inline(never)]
pub(crate) fn visible_ascii(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("visible ASCII by construction")
}
