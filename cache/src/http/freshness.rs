//! How old a response is, and how long it is fresh (RFC 9111, section 4.2).

use std::time::{Duration, SystemTime};

use buttress_wire::lex::trim_ows;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::directives::{Directives, delta_seconds};
use super::targeted::targeted;

/// Whose cache this is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Audience {
    /// One user's.
    Private,
    /// Everybody's.
    #[default]
    Shared,
}

/// What a response says of its own reuse, by whichever field counts for this cache.
#[derive(Debug)]
pub(super) struct Stated {
    pub(super) directives: Directives,
    audience: Audience,
    /// A targeted field counts, and so `Expires` does not (RFC 9213, 2.2).
    is_targeted: bool,
}

impl Stated {
    pub(super) fn of(headers: &HeaderMap, audience: Audience, targets: &[HeaderName]) -> Self {
        let targeted = targeted(headers, targets);
        Self {
            audience,
            is_targeted: targeted.is_some(),
            directives: targeted.unwrap_or_else(|| Directives::of(headers)),
        }
    }

    /// How long the response is fresh from the moment it was made: `s-maxage` in a shared cache, else `max-age`, else `Expires` minus
    /// `Date` (4.2.1). `None` when it does not say.
    pub(super) fn lifetime(
        &self,
        headers: &HeaderMap,
        response_time: SystemTime,
    ) -> Option<Duration> {
        let shared = self.s_maxage().or(self.directives.max_age);
        shared.or_else(|| {
            let counts = !self.is_targeted;
            counts.then(|| expires(headers, response_time)).flatten()
        })
    }

    /// `s-maxage`, where it applies (5.2.2.10).
    pub(super) fn s_maxage(&self) -> Option<Duration> {
        self.directives.s_maxage.filter(|_| self.is_shared())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.audience == Audience::Shared
    }

    /// Whether it must not be used stale, whoever would like it (5.2.2.2, 5.2.2.4, 5.2.2.8).
    pub(super) fn forbids_stale(&self) -> bool {
        let directives = &self.directives;
        directives.must_revalidate
            || directives.no_cache.is_everything()
            || (directives.proxy_revalidate && self.is_shared())
    }
}

/// An `Expires` that is no date, or one of several, is in the past (5.3).
fn expires(headers: &HeaderMap, response_time: SystemTime) -> Option<Duration> {
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let expires = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let made = date(headers, header::DATE).unwrap_or(response_time);
    let until = parse_date(expires).and_then(|expires| expires.duration_since(made).ok());
    Some(until.unwrap_or_default())
}

/// A tenth of the time for which the representation had not changed when the response was made, up to `cap` (4.2.2). Never without
/// `Last-Modified`: then nothing is known.
pub(super) fn heuristic(
    headers: &HeaderMap,
    response_time: SystemTime,
    cap: Duration,
) -> Option<Duration> {
    let made = date(headers, header::DATE).unwrap_or(response_time);
    let modified = date(headers, header::LAST_MODIFIED)?;
    // Modified after it was made: one of the two is wrong.
    let unchanged = made.duration_since(modified).ok()?;
    Some((unchanged / 10).min(cap))
}

/// How old a response was when it arrived: the larger of what its `Date` and what its `Age` say, and the time that it took to
/// come is on top of the latter (4.2.3).
pub(super) fn initial_age(
    headers: &HeaderMap,
    response_time: SystemTime,
    response_delay: Duration,
) -> Duration {
    let made = date(headers, header::DATE).unwrap_or(response_time);
    let apparent = response_time.duration_since(made).unwrap_or_default();
    apparent.max(age(headers).saturating_add(response_delay))
}

/// `Age`, when it is a number; the first of several (5.1). One too large to be true is as large as can be.
fn age(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(header::AGE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
    delta_seconds(trim_ows(first)).unwrap_or_default()
}

/// The date in a field, in any of the three formats (RFC 9110, 5.6.7). What is on several lines is none.
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    parse_date(first)
}

/// Without regard to case (RFC 9111, 4.2): days, months and the zone have one way to be written, and hardly anybody uses another.
pub(super) fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    let parse = |text: &str| httpdate::parse_http_date(text).ok();
    parse(text).or_else(|| parse(&as_usual(text)?))
}

/// A date in the case that it is usually written in. `None` for what is too long to be one.
fn as_usual(text: &str) -> Option<String> {
    if text.len() > LONGEST_DATE {
        return None;
    }
    let mut in_word = false;
    let usual = text.chars().map(|char| {
        let is_first = !std::mem::replace(&mut in_word, char.is_ascii_alphabetic());
        if is_first {
            char.to_ascii_uppercase()
        } else {
            char.to_ascii_lowercase()
        }
    });
    Some(usual.collect::<String>().replace("Gmt", "GMT"))
}

/// `Wednesday, 06-Nov-94 08:49:37 GMT`.
const LONGEST_DATE: usize = 33;

#[cfg(test)]
mod tests {
    use super::super::targeted::CDN_CACHE_CONTROL;
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

    fn lifetime(fields: &[(&'static str, &'static str)], audience: Audience) -> Option<u64> {
        let headers = headers(fields);
        let stated = Stated::of(&headers, audience, &[CDN_CACHE_CONTROL]);
        stated.lifetime(&headers, now()).map(|l| l.as_secs())
    }

    #[track_caller]
    fn check_lifetime(fields: &[(&'static str, &'static str)], expected: Option<u64>) {
        assert_eq!(lifetime(fields, Audience::Shared), expected, "{fields:?}");
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
        check_lifetime(&[("cache-control", "max-age=x"), later], Some(0));
        check_lifetime(&[("expires", "0")], Some(0));
        check_lifetime(&[("expires", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0));
        for odd in [
            "sun, 06 nov 1994 08:50:37 gmt",
            "SUN, 06 NOV 1994 08:50:37 GMT",
            "sunday, 06-NOV-94 08:50:37 Gmt",
            "sun nov  6 08:50:37 1994",
        ] {
            check_lifetime(&[date, ("expires", odd)], Some(60));
        }
        check_lifetime(&[date, later, later], Some(0));
        check_lifetime(&[("date", "nonsense"), later], Some(60));
        for invalid in [
            "-1",
            "",
            "Thu, 99 Nov 1994 08:50:37 GMT",
            "Sun, 06 Nov 1994 08:50:37 PST",
            "2094-11-06",
        ] {
            check_lifetime(&[date, ("expires", invalid)], Some(0));
        }
    }

    /// RFC 9111, 5.2.2.10; RFC 9213, 2.2.
    #[test]
    fn who_is_not_meant_does_not_listen() {
        let shared = ("cache-control", "max-age=60, s-maxage=10");
        assert_eq!(lifetime(&[shared], Audience::Private), Some(60));
        let later = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        let cdn = |value| ("cdn-cache-control", value);
        check_lifetime(&[cdn("max-age=5"), shared, later], Some(5));
        check_lifetime(&[cdn("public"), shared, later], None);
        check_lifetime(&[cdn("public, &"), shared, later], Some(10));
    }

    #[track_caller]
    fn check_heuristic(fields: &[(&'static str, &'static str)], expected: Option<u64>) {
        let cap = Duration::from_secs(3600);
        let found = heuristic(&headers(fields), now(), cap);
        assert_eq!(found, expected.map(Duration::from_secs), "{fields:?}");
    }

    /// RFC 9111, 4.2.2.
    #[test]
    fn a_guess_is_a_tenth_of_the_time_without_a_change() {
        check_heuristic(&[], None);
        check_heuristic(&[("last-modified", "nonsense")], None);
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:39:37 GMT");
        check_heuristic(&[modified], Some(60));
        check_heuristic(
            &[modified, ("date", "Sun, 06 Nov 1994 08:41:17 GMT")],
            Some(10),
        );
        check_heuristic(
            &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")],
            Some(3600),
        );
        check_heuristic(&[("last-modified", "Sun, 06 Nov 1994 08:59:37 GMT")], None);
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
        check_age(&[("age", "10"), ("age", "20")], 0, 10);
        check_age(&[("age", "99999999999999999999")], 0, 1 << 31);
        for malformed in ["", "a", "1.5", "5s", "\"5\"", ", 5"] {
            check_age(&[("age", malformed)], 2, 2);
        }
        check_age(&[("date", "nonsense"), ("age", "7")], 0, 7);
    }
}
