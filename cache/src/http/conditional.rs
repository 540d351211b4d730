//! Conditional requests answered from the store (RFC 9110, section 13; RFC 9111, section 4.3.2).

use buttress_wire::fields::list;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether a client that sends `request` has the stored response already: it gets a 304.
pub(super) fn is_not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        // `If-Modified-Since` is ignored then (13.1.3).
        return stored
            .get(header::ETAG)
            .is_some_and(|etag| matches_any(request, etag));
    }
    let Some(since) = date(request, header::IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = date(stored, header::LAST_MODIFIED).or_else(|| date(stored, header::DATE));
    modified.is_some_and(|modified| modified <= since)
}

/// By weak comparison (8.8.3.2).
fn matches_any(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let stored = opaque(etag.as_bytes());
    list(request, header::IF_NONE_MATCH).any(|tag| tag == b"*" || opaque(tag) == stored)
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// The fields that a 304 carries (RFC 9110, 15.4.5), and those that tell how it was served.
pub(super) fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
    ] {
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
        check(&[], &[("last-modified", EARLY)], false);
    }
}
