//! Asking the origin whether a stored response still holds (RFC 9111, sections 3.2 and 4.3; RFC 9110, section 13).

use buttress_wire::fields::end_to_end;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::conditional::opaque_tag;

/// Makes `request` ask whether one of ours still holds, in place of what its client asked: the answer is then ours to read.
///
/// `stored` is what would be used; `tags` are the entity tags of all that are stored for the target (4.3.1).
pub(super) fn ask(request: &mut HeaderMap, stored: Option<&HeaderMap>, tags: &[HeaderValue]) {
    for name in PRECONDITIONS {
        request.remove(name);
    }
    // The whole is asked for: a part is cut from it here.
    request.remove(header::RANGE);
    let tags: Vec<_> = tags.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(tags) = HeaderValue::from_bytes(&tags.join(&b", "[..]))
        && !tags.is_empty()
    {
        request.insert(header::IF_NONE_MATCH, tags);
    }
    if let Some(modified) = stored.and_then(|stored| stored.get(header::LAST_MODIFIED)) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

const PRECONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
];

/// What a 304 says of a stored response that it may be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Confirms {
    /// It is this one, and the 304's fields are its newer ones.
    This,
    /// It is this one, but nothing of the 304 may be taken over (4.3.4). What stayed stored would be asked about at each use.
    Unchanged,
    /// It is another one.
    Other,
}

/// Whether a 304 is about the stored response; `is_only` if no other was asked about (RFC 9111, 4.3.4).
pub(super) fn confirms(not_modified: &HeaderMap, stored: &HeaderMap, is_only: bool) -> Confirms {
    let told = not_modified.get(header::ETAG).map(HeaderValue::as_bytes);
    let known = stored.get(header::ETAG).map(HeaderValue::as_bytes);
    let is_weak = |tag: &[u8]| tag.starts_with(b"W/");
    match (told, known) {
        (Some(told), Some(known)) if opaque_tag(told) == opaque_tag(known) => {
            // A strong tag is of one representation, byte for byte; a weak one of ours does not say that ours is that one.
            if is_weak(known) && !is_weak(told) {
                Confirms::Unchanged
            } else {
                Confirms::This
            }
        }
        // A strong tag is of one representation, and ours was never said to be that one.
        (Some(told), None) if is_only && !is_weak(told) => Confirms::Unchanged,
        (Some(_), None) | (None, _) if is_only => Confirms::This,
        _ => Confirms::Other,
    }
}

/// The fields of a stored response after a 304: those that the 304 has replace those of the same name, line by line (3.2).
///
/// What describes the stored bytes stays as it is, since they do; and so does the entity tag: the 304 was taken for this one by it, and
/// a weak one does not take the place of a strong one. `Age` and `Date` are of one response, and never of an earlier one.
pub(super) fn updated(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    let news = end_to_end(not_modified);
    for name in [header::AGE, header::DATE] {
        fields.remove(name);
    }
    for name in news.keys() {
        if OF_THE_BYTES.contains(&name.as_str()) {
            continue;
        }
        fields.remove(name);
        for value in news.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

const OF_THE_BYTES: [&str; 7] = [
    "content-digest",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-range",
    "etag",
    "trailer",
];

/// What a 200 to a `HEAD` says of the stored response to a `GET` (RFC 9111, 4.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadTells {
    /// That it still holds: the fields are its newer ones.
    Same,
    /// That it does not.
    Other,
    /// Neither: there is no validator in it. That it is as long is no sign.
    Nothing,
}

/// Compares its validators, and its length, with those of a stored response of so many bytes.
pub(super) fn told_by_head(head: &HeaderMap, stored: &HeaderMap, length: u64) -> HeadTells {
    let validators = [header::ETAG, header::LAST_MODIFIED];
    let told: Vec<_> = validators
        .iter()
        .filter(|name| head.contains_key(*name))
        .collect();
    let is_as_long = |told: &HeaderValue| told.as_bytes() == length.to_string().as_bytes();
    let is_other = told.iter().any(|name| head.get(*name) != stored.get(*name))
        || !head.get(header::CONTENT_LENGTH).is_none_or(is_as_long);
    match told[..] {
        _ if is_other => HeadTells::Other,
        [] => HeadTells::Nothing,
        _ => HeadTells::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = [(&'static str, &'static str)];

    fn headers(fields: &Fields) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    /// RFC 9111, 4.3.1.
    #[test]
    fn the_clients_own_conditions_make_room_for_ours() {
        let mut request = headers(&[
            ("if-none-match", "\"client\""),
            ("if-range", "\"client\""),
            ("range", "bytes=0-1"),
            ("accept", "a/b"),
        ]);
        let stored = headers(&[("last-modified", "yesterday")]);
        let tags = ["\"a\"", "W/\"b\""].map(HeaderValue::from_static);
        ask(&mut request, Some(&stored), &tags);
        let expected = headers(&[
            ("accept", "a/b"),
            ("if-none-match", "\"a\", W/\"b\""),
            ("if-modified-since", "yesterday"),
        ]);
        assert_eq!(request, expected);
        ask(&mut request, None, &[]);
        assert_eq!(request, headers(&[("accept", "a/b")]));
    }

    /// RFC 9111, 4.3.4.
    #[test]
    fn a_304_is_about_what_it_names() {
        use Confirms::{Other, This, Unchanged};
        for (told, known, is_only, expected) in [
            (Some("\"a\""), Some("\"a\""), false, This),
            (Some("W/\"a\""), Some("\"a\""), false, This),
            (Some("W/\"a\""), Some("W/\"a\""), false, This),
            (Some("\"a\""), Some("W/\"a\""), true, Unchanged),
            (Some("\"a\""), Some("W/\"a\""), false, Unchanged),
            (Some("\"b\""), Some("\"a\""), true, Other),
            (Some("\"b\""), None, true, Unchanged),
            (Some("W/\"b\""), None, true, This),
            (Some("\"b\""), None, false, Other),
            (None, Some("\"a\""), true, This),
            (None, Some("\"a\""), false, Other),
            (None, None, true, This),
        ] {
            let of = |tag: Option<&'static str>| {
                tag.map_or_else(HeaderMap::new, |tag| headers(&[("etag", tag)]))
            };
            let found = confirms(&of(told), &of(known), is_only);
            assert_eq!(found, expected, "{told:?} {known:?} {is_only}");
        }
    }

    /// RFC 9111, 3.2.
    #[test]
    fn a_304_renews_the_fields_and_leaves_what_describes_the_bytes() {
        let stored = headers(&[
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "a/b"),
            ("etag", "\"1\""),
            ("date", "then"),
            ("age", "7"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("x-kept", "1"),
        ]);
        let news = headers(&[
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("content-type", "c/d"),
            ("etag", "W/\"1\""),
            ("date", "now"),
            ("link", "<c>"),
            ("x-new", "1"),
            ("x-new", "2"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        let expected = headers(&[
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "c/d"),
            ("etag", "\"1\""),
            ("date", "now"),
            ("link", "<c>"),
            ("x-kept", "1"),
            ("x-new", "1"),
            ("x-new", "2"),
        ]);
        assert_eq!(updated(&stored, &news), expected);
        let silent = updated(&stored, &HeaderMap::new());
        assert!(!silent.contains_key("age") && !silent.contains_key("date"));
    }

    /// RFC 9111, 4.3.5.
    #[test]
    fn a_head_tells_whether_what_is_stored_still_holds() {
        use HeadTells::{Nothing, Other, Same};
        let stored = headers(&[("etag", "\"1\""), ("content-length", "5")]);
        for (head, expected) in [
            (&[("etag", "\"1\"")][..], Same),
            (&[("etag", "\"1\""), ("content-length", "5")], Same),
            (&[], Nothing),
            (&[("content-length", "5")], Nothing),
            (&[("last-modified", "now")], Other),
            (&[("etag", "\"1\""), ("last-modified", "now")], Other),
            (&[("etag", "\"2\"")], Other),
            (&[("etag", "\"1\""), ("content-length", "6")], Other),
            (&[("content-length", "6")], Other),
        ] {
            assert_eq!(
                told_by_head(&headers(head), &stored, 5),
                expected,
                "{head:?}"
            );
        }
    }
}
