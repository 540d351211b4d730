//! Conditional requests answered from the store (RFC 9110, section 13; RFC 9111, section 4.3.2).

use buttress_wire::fields::list;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::range::DIGESTS;

use super::freshness::date;

/// Whether a client that sends `request` has the stored response already: it gets a 304.
pub(super) fn is_not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        // `If-Modified-Since` is ignored then (13.1.3).
        return matches_any(request, stored.get(header::ETAG));
    }
    let Some(since) = date(request, header::IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = date(stored, header::LAST_MODIFIED).or_else(|| date(stored, header::DATE));
    modified.is_some_and(|modified| modified <= since)
}

/// Whether a request asks for something on conditions that can be judged here.
pub(super) fn is_conditional(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_NONE_MATCH) || request.contains_key(header::IF_MODIFIED_SINCE)
}

/// Whether a part of the stored response is wanted on a condition that holds (RFC 9110, 13.1.5): by strong comparison, or the very date.
pub(super) fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    let Some(condition) = lines.next() else {
        return true;
    };
    let same = |name: HeaderName| {
        stored.get(name).map(HeaderValue::as_bytes) == Some(condition.as_bytes())
    };
    if condition.as_bytes().starts_with(b"\"") {
        return lines.next().is_none() && same(header::ETAG);
    }
    // A date is a strong validator when the response was made a good while later (8.8.2.2).
    let modified = date(stored, header::LAST_MODIFIED).zip(date(stored, header::DATE));
    let is_strong = modified.is_some_and(|(modified, made)| {
        made.duration_since(modified)
            .is_ok_and(|since| since.as_secs() >= 1)
    });
    lines.next().is_none() && is_strong && same(header::LAST_MODIFIED)
}

/// By weak comparison (8.8.3.2). Any representation will do for `*`, also one without a tag (13.1.2).
fn matches_any(request: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    let stored = etag.map(|etag| opaque_tag(etag.as_bytes()));
    list(request, header::IF_NONE_MATCH)
        .any(|tag| tag == b"*" || stored.is_some_and(|stored| opaque_tag(tag) == stored))
}

/// An entity tag without the mark that it is weak.
pub(super) fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The fields that a 304 carries (RFC 9110, 15.4.5), and those that tell how it was served.
pub(super) fn without_representation(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
    ]
    .into_iter()
    .chain(DIGESTS)
    {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[track_caller]
    fn check(
        request: &[(&'static str, &'static str)],
        stored: &[(&'static str, &'static str)],
        expected: bool,
    ) {
        let found = is_not_modified(&headers(request), &headers(stored));
        assert_eq!(found, expected, "{request:?} {stored:?}");
    }

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    #[test]
    fn etags_are_compared_weakly_and_go_before_dates() {
        check(&[("if-none-match", "\"a\"")], &[("etag", "\"a\"")], true);
        check(&[("if-none-match", "W/\"a\"")], &[("etag", "\"a\"")], true);
        check(
            &[("if-none-match", "\"b\", W/\"a\"")],
            &[("etag", "W/\"a\"")],
            true,
        );
        check(&[("if-none-match", "\"b\"")], &[("etag", "\"a\"")], false);
        check(
            &[("if-none-match", "\"a,b\"")],
            &[("etag", "\"a,b\"")],
            true,
        );
        check(&[("if-none-match", "*")], &[("etag", "\"a\"")], true);
        check(&[("if-none-match", "*")], &[], true);
        check(&[("if-none-match", "\"a\"")], &[], false);
        check(
            &[("if-none-match", "\"b\""), ("if-modified-since", LATE)],
            &[("etag", "\"a\""), ("last-modified", EARLY)],
            false,
        );
    }

    #[test]
    fn dates_are_compared_and_date_stands_in() {
        check(
            &[("if-modified-since", EARLY)],
            &[("last-modified", EARLY)],
            true,
        );
        check(
            &[("if-modified-since", EARLY)],
            &[("last-modified", LATE)],
            false,
        );
        check(&[("if-modified-since", LATE)], &[("date", EARLY)], true);
        check(
            &[("if-modified-since", "yesterday")],
            &[("last-modified", EARLY)],
            false,
        );
        check(
            &[("if-modified-since", EARLY), ("if-modified-since", LATE)],
            &[("last-modified", EARLY)],
            false,
        );
        check(
            &[("if-modified-since", LATE)],
            &[("last-modified", "nonsense"), ("date", EARLY)],
            true,
        );
        check(&[], &[("last-modified", EARLY)], false);
    }

    #[track_caller]
    fn check_range(
        condition: &'static str,
        stored: &[(&'static str, &'static str)],
        expected: bool,
    ) {
        let found = if_range_holds(&headers(&[("if-range", condition)]), &headers(stored));
        assert_eq!(found, expected, "{condition} {stored:?}");
    }

    /// RFC 9110, 13.1.5.
    #[test]
    fn a_part_is_given_on_a_strong_condition_only() {
        check_range("\"a\"", &[("etag", "\"a\"")], true);
        check_range("\"b\"", &[("etag", "\"a\"")], false);
        check_range("W/\"a\"", &[("etag", "W/\"a\"")], false);
        check_range("\"a\"", &[("etag", "W/\"a\"")], false);
        check_range(EARLY, &[("last-modified", EARLY), ("date", LATE)], true);
        check_range(EARLY, &[("last-modified", EARLY), ("date", EARLY)], false);
        check_range(EARLY, &[("last-modified", EARLY)], false);
        check_range(LATE, &[("last-modified", EARLY), ("date", LATE)], false);
        check_range("nonsense", &[("etag", "\"a\"")], false);
        assert!(if_range_holds(&HeaderMap::new(), &HeaderMap::new()));
    }
}
