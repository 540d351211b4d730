//! How old a response is, and how long it is fresh (RFC 9111, section 4.2).

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};

use super::directives::Directives;

/// How long a response is fresh from the moment it was made, in a shared cache: `s-maxage`, else `max-age`, else `Expires` minus
/// `Date` (4.2.1). `None` when it does not say.
pub(super) fn lifetime(
    headers: &HeaderMap,
    directives: &Directives,
    response_time: SystemTime,
) -> Option<Duration> {
    let stated = directives.s_maxage.or(directives.max_age);
    stated.or_else(|| expires(headers, response_time))
}

/// An `Expires` that is no date, or one of several, is in the past (5.3).
fn expires(headers: &HeaderMap, response_time: SystemTime) -> Option<Duration> {
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let expires = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let made = date(headers.get(header::DATE)).unwrap_or(response_time);
    let until = date(Some(expires)).and_then(|expires| expires.duration_since(made).ok());
    Some(until.unwrap_or_default())
}

/// How old a response was when it arrived: the larger of what its `Date` and what its `Age` say, and the time that it took to
/// come is on top of the latter (4.2.3).
pub(super) fn initial_age(
    headers: &HeaderMap,
    response_time: SystemTime,
    response_delay: Duration,
) -> Duration {
    let made = date(headers.get(header::DATE)).unwrap_or(response_time);
    let apparent = response_time.duration_since(made).unwrap_or_default();
    apparent.max(age(headers).saturating_add(response_delay))
}

/// `Age`, when it is a number; the first of several (5.1). One too large to be true is as large as can be.
fn age(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(header::AGE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
    let digits = buttress_wire::lex::trim_ows(first);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or(u64::MAX).min(1 << 31))
}

fn date(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: u64 = 784_111_777;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[track_caller]
    fn check_lifetime(fields: &[(&'static str, &'static str)], expected: Option<u64>) {
        let headers = headers(fields);
        let found = lifetime(&headers, &Directives::of(&headers), now());
        assert_eq!(found, expected.map(Duration::from_secs), "{fields:?}");
    }

    #[test]
    fn a_lifetime_is_what_the_most_specific_field_says() {
        check_lifetime(&[], None);
        check_lifetime(&[("cache-control", "max-age=60")], Some(60));
        check_lifetime(&[("cache-control", "max-age=60, s-maxage=10")], Some(10));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        check_lifetime(&[date, later], Some(60));
        check_lifetime(&[later], Some(60));
        check_lifetime(&[date, later, ("cache-control", "max-age=5")], Some(5));
        check_lifetime(
            &[date, ("expires", "Sunday, 06-Nov-94 08:50:37 GMT")],
            Some(60),
        );
        check_lifetime(&[date, ("expires", "Sun Nov  6 08:50:37 1994")], Some(60));
        check_lifetime(&[("expires", "0")], Some(0));
        check_lifetime(&[("expires", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0));
        check_lifetime(&[date, later, later], Some(0));
    }

    #[track_caller]
    fn check_age(fields: &[(&'static str, &'static str)], delay: u64, expected: u64) {
        let found = initial_age(&headers(fields), now(), Duration::from_secs(delay));
        assert_eq!(found, Duration::from_secs(expected), "{fields:?}");
    }

    #[test]
    fn an_age_is_never_below_what_is_known() {
        check_age(&[], 0, 0);
        check_age(&[], 2, 2);
        check_age(&[("age", "10")], 2, 12);
        check_age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT")], 2, 30);
        check_age(
            &[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "100")],
            0,
            100,
        );
        check_age(&[("date", "Sun, 06 Nov 1994 09:49:07 GMT")], 0, 0);
        check_age(&[("age", "1, 2")], 0, 1);
        check_age(&[("age", "-1")], 0, 0);
        check_age(&[("age", "99999999999999999999")], 0, 1 << 31);
    }
}
