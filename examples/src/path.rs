//! Paths of requests that are sent on.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A segment that came decoded, encoded again: whatever is in it, it is one segment of a valid path.
#[must_use]
pub fn segment(decoded: &str) -> impl Display {
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(decoded, UNRESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_segment_stays_in_it() {
        for (decoded, sent) in [
            ("lamp-2.0_~", "lamp-2.0_~"),
            ("a b", "a%20b"),
            ("lamp?x=1#y", "lamp%3Fx%3D1%23y"),
            ("../x", "..%2Fx"),
            ("grün", "gr%C3%BCn"),
        ] {
            assert_eq!(segment(decoded).to_string(), sent);
        }
    }
}
