//! `Vary`: which request fields a response depends on (RFC 9110, section 12.5.5).

use buttress_wire::fields::list_contains;
use http::header::{HeaderMap, HeaderName, HeaderValue, VARY};

/// Adds `name` to `Vary`, unless it is there or `*` is. What was there stays, as one line.
///
/// Call it on every response of a negotiated resource, also where the request had no such field.
///
/// ```
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::VARY, "Origin".parse()?);
/// buttress_negotiate::vary::merge(&mut headers, &header::ACCEPT);
/// assert_eq!(headers["vary"], "Origin, accept");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge(headers: &mut HeaderMap, name: &HeaderName) {
    let merged = if !headers.contains_key(VARY) {
        HeaderValue::from(name.clone())
    } else if list_contains(headers, VARY, "*") || list_contains(headers, VARY, name.as_str()) {
        return;
    } else {
        joined(headers, name)
    };
    headers.insert(VARY, merged);
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> HeaderValue {
    let mut line = Vec::new();
    for element in buttress_wire::fields::list(headers, VARY) {
        line.extend_from_slice(element);
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(name.as_str().as_bytes());
    HeaderValue::from_bytes(&line).unwrap_or_else(|_| HeaderValue::from_static("*"))
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};

    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        merge(&mut headers, &ACCEPT);
        merge(&mut headers, &ACCEPT);
        let found: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_name_is_added_once_and_what_was_there_stays() {
        check(&[], &["accept"]);
        check(&[""], &["accept"]);
        check(&["Accept"], &["Accept"]);
        check(&["origin, ACCEPT"], &["origin, ACCEPT"]);
        check(&["*"], &["*"]);
        check(&["origin", "*"], &["origin", "*"]);
        check(&["Origin"], &["Origin, accept"]);
        check(
            &["Accept-Encoding", "Origin,"],
            &["Accept-Encoding, Origin, accept"],
        );
    }

    #[test]
    fn a_name_that_contains_another_is_another() {
        let mut headers =
            HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept-language"))]);
        merge(&mut headers, &ACCEPT);
        assert_eq!(headers[VARY], "accept-language, accept");
        merge(&mut headers, &ACCEPT_LANGUAGE);
        assert_eq!(headers[VARY], "accept-language, accept");
    }
}
