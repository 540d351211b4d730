//! `Retry-After` in both of its forms, and gRPC's pushback.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

/// gRPC's word for `Retry-After`, in milliseconds (gRFC A6).
pub const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// When a server wants to be asked again (RFC 9110, 10.2.3).
///
/// ```
/// use buttress_wire::RetryAfter;
/// use std::time::{Duration, SystemTime};
///
/// let asked = RetryAfter::parse(b"120").unwrap();
/// assert_eq!(asked.delay(SystemTime::UNIX_EPOCH), Duration::from_secs(120));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfter {
    /// So long after the response was received.
    After(Duration),
    /// At this time by the server's clock.
    At(SystemTime),
}

impl RetryAfter {
    /// Reads a field value: seconds, or a date in any of the three formats of RFC 9110, 5.6.7. Seconds beyond 64 bits saturate.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(crate::lex::trim_ows(value)).ok()?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return httpdate::parse_http_date(text).ok().map(Self::At);
        }
        Some(Self::After(Duration::from_secs(
            text.parse().unwrap_or(u64::MAX),
        )))
    }

    /// What `headers` ask for: the first `Retry-After`, else a gRPC pushback. A negative pushback ("do not retry") is `None`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let standard = headers
            .get(RETRY_AFTER)
            .and_then(|value| Self::parse(value.as_bytes()));
        standard.or_else(|| {
            let millis = headers
                .get(GRPC_RETRY_PUSHBACK)?
                .to_str()
                .ok()?
                .parse()
                .ok()?;
            Some(Self::After(Duration::from_millis(millis)))
        })
    }

    /// How long to wait from `now` on: zero for a date that has passed.
    #[must_use]
    pub fn delay(self, now: SystemTime) -> Duration {
        match self {
            Self::After(delay) => delay,
            Self::At(then) => then.duration_since(now).unwrap_or_default(),
        }
    }

    /// The field value for `delay`: whole seconds, rounded up, so that nobody comes back too early.
    #[must_use]
    pub fn seconds(delay: Duration) -> HeaderValue {
        HeaderValue::from(
            delay
                .as_secs()
                .saturating_add(u64::from(delay.subsec_nanos() > 0)),
        )
    }

    /// The pushback value for `delay`: milliseconds, rounded up, at most what a 32-bit integer holds.
    #[must_use]
    pub fn pushback(delay: Duration) -> HeaderValue {
        let millis = delay.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
        HeaderValue::from(millis as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_garbage() {
        let secs = |n| Some(RetryAfter::After(Duration::from_secs(n)));
        assert_eq!(RetryAfter::parse(b"0"), secs(0));
        assert_eq!(RetryAfter::parse(b" 120\t"), secs(120));
        assert_eq!(
            RetryAfter::parse(b"99999999999999999999999"),
            secs(u64::MAX)
        );
        for bad in ["", "-1", "+1", "1.5", "soon", "1 s", "\u{661}"] {
            assert_eq!(RetryAfter::parse(bad.as_bytes()), None, "{bad:?}");
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                RetryAfter::parse(date.as_bytes()),
                Some(RetryAfter::At(at)),
                "{date}"
            );
        }
    }

    #[test]
    fn a_date_in_the_past_is_no_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let at = |secs| RetryAfter::At(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(at(90).delay(now), Duration::ZERO);
        assert_eq!(at(130).delay(now), Duration::from_secs(30));
    }

    #[test]
    fn values_round_up() {
        assert_eq!(RetryAfter::seconds(Duration::from_millis(1)), "1");
        assert_eq!(RetryAfter::seconds(Duration::from_secs(2)), "2");
        assert_eq!(RetryAfter::seconds(Duration::ZERO), "0");
        assert_eq!(RetryAfter::seconds(Duration::MAX), u64::MAX.to_string());
        assert_eq!(RetryAfter::pushback(Duration::from_micros(1500)), "2");
        assert_eq!(RetryAfter::pushback(Duration::MAX), "2147483647");
    }

    #[test]
    fn pushback_is_read_and_a_negative_one_is_not_a_time() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_RETRY_PUSHBACK, HeaderValue::from_static("250"));
        assert_eq!(
            RetryAfter::from_headers(&headers),
            Some(RetryAfter::After(Duration::from_millis(250)))
        );
        headers.insert(GRPC_RETRY_PUSHBACK, HeaderValue::from_static("-1"));
        assert_eq!(RetryAfter::from_headers(&headers), None);
    }
}
