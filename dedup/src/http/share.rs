//! Which responses may be given to somebody else.

use buttress_wire::fields::{end_to_end, is_event_stream, list, strip_exchange};
use buttress_wire::lex::Directive;
use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, response};

use super::key::covers;

/// Whether a response may be given to those who asked for the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Share {
    /// It is the leader's own. The followers go on by themselves, all at once, and so does, for a while, whoever asks for the same.
    Private,
    /// It is for everyone.
    Shared,
}

/// The default rule. Private is
///
/// - what sets a cookie, or says `Cache-Control: private` or `no-store`;
/// - what varies by a request field that the default [`HttpKey`](super::HttpKey) does not have in it, or by `*`; in the layer, by one that the request's own key does
///   not have;
/// - an event stream, which is a conversation with one client, and a switch of protocols.
#[must_use]
pub fn is_shareable(head: &response::Parts) -> Share {
    is_shareable_by(head, &[])
}

/// The same, where the key has more request fields in it.
pub(super) fn is_shareable_by(head: &response::Parts, covered: &[HeaderName]) -> Share {
    let covers = |name: &[u8]| {
        let is_it = |field: &HeaderName| field.as_str().as_bytes().eq_ignore_ascii_case(name);
        covers(name) || covered.iter().any(is_it)
    };
    let private = is_conversation(head)
        || head.headers.contains_key(header::SET_COOKIE)
        || list(&head.headers, header::VARY).any(|name| !covers(name))
        || list(&head.headers, header::CACHE_CONTROL).any(forbids);
    if private {
        Share::Private
    } else {
        Share::Shared
    }
}

/// Whether it begins a conversation with one client. Nobody else can take part in it, whatever a user thinks.
pub(super) fn is_conversation(head: &response::Parts) -> bool {
    head.status == StatusCode::SWITCHING_PROTOCOLS || is_event_stream(&head.headers)
}

fn forbids(element: &[u8]) -> bool {
    Directive::parse(element)
        .is_none_or(|directive| directive.is("private") || directive.is("no-store"))
}

/// The headers for a follower: those of the response, without what is about the leader's own exchange or its connection (RFC 9110,
/// section 7.6.1).
pub(super) fn headers_for_followers(headers: &HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(headers);
    strip_exchange(&mut headers);
    headers
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn followers_get_no_field_of_the_leaders_connection() {
        let fields = [
            ("connection", "close, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("etag", "\"1\""),
        ];
        let head = fields
            .iter()
            .fold(Response::builder(), |head, (name, value)| {
                head.header(*name, *value)
            });
        let headers = headers_for_followers(head.body(()).unwrap().headers());
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["etag"]);
    }

    #[track_caller]
    fn check(fields: &[(&str, &str)], expected: Share) {
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        assert_eq!(is_shareable(&head), expected, "{fields:?}");
    }

    #[test]
    fn what_is_one_persons_is_not_shared() {
        check(&[], Share::Shared);
        check(
            &[("cache-control", "max-age=5, must-revalidate")],
            Share::Shared,
        );
        check(
            &[("vary", "Accept, accept-encoding"), ("vary", "Cookie")],
            Share::Shared,
        );
        check(&[("content-type", "text/html")], Share::Shared);
        check(&[("set-cookie", "s=1")], Share::Private);
        check(&[("cache-control", "max-age=5, Private")], Share::Private);
        check(&[("cache-control", "private=\"x-secret\"")], Share::Private);
        check(&[("cache-control", "no-store")], Share::Private);
        check(&[("cache-control", "no-store;broken")], Share::Private);
        check(&[("vary", "user-agent")], Share::Private);
        check(&[("vary", "*")], Share::Private);
        check(
            &[("content-type", "Text/Event-Stream; charset=utf-8")],
            Share::Private,
        );
    }
}
