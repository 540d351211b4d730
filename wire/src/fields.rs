//! Rules about header fields as a whole: what belongs to one connection only, and lists spread over several lines.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use crate::grpc::is_grpc_type;
use crate::lex::{Elements, elements, is_token, trim_ows};

/// The elements of the list-shaped field `name`, over all its lines, in order (RFC 9110, 5.3).
pub fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|line| -> Elements<'_> { elements(line.as_bytes()) })
}

/// Whether the list-shaped field `name` has `token` among its elements, without regard to case.
#[must_use]
pub fn list_contains(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether `name` speaks of one connection and is never forwarded, stored or replayed (RFC 9110, 7.6.1; RFC 9111, 3.1).
///
/// Fields that a message's own `Connection` names are such as well; [`end_to_end`] knows both.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    Reach::of(name) == Reach::Connection
}

/// Whether `name` tells one exchange from another: trace context in its usual forms, request ids, timings. Such a field is not given to somebody else, and
/// not sent again, neither as a header nor as a trailer.
#[must_use]
pub fn is_of_one_exchange(name: &HeaderName) -> bool {
    Reach::of(name) == Reach::Exchange
}

/// What a field speaks of, by its name: how far it may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// One connection; see [`is_hop_by_hop`].
    Connection,
    /// One exchange; see [`is_of_one_exchange`].
    Exchange,
    /// The message: all others.
    Message,
}

impl Reach {
    /// By the first letter, for most names are none of these.
    #[inline]
    #[must_use]
    pub fn of(name: &HeaderName) -> Self {
        let name = name.as_str();
        // `Proxy-Connection` and `Keep-Alive` were never standardised, and are still sent.
        let (connection, exchange) = match name.as_bytes().first() {
            Some(b'b') => (false, matches!(name, "b3" | "baggage")),
            Some(b'c') => (name == "connection", name == "correlation-id"),
            Some(b'k') => (name == "keep-alive", false),
            Some(b'p') => (
                matches!(
                    name,
                    "proxy-connection"
                        | "proxy-authenticate"
                        | "proxy-authentication-info"
                        | "proxy-authorization"
                ),
                false,
            ),
            Some(b'r') => (false, name == "request-id"),
            Some(b's') => (false, name == "server-timing"),
            Some(b't') => (
                matches!(name, "te" | "transfer-encoding"),
                matches!(name, "traceparent" | "traceresponse" | "tracestate"),
            ),
            Some(b'u') => (name == "upgrade", name == "uber-trace-id"),
            Some(b'x') => (
                false,
                matches!(
                    name,
                    "x-amz-id-2"
                        | "x-amz-request-id"
                        | "x-amzn-requestid"
                        | "x-amzn-trace-id"
                        | "x-b3-flags"
                        | "x-b3-parentspanid"
                        | "x-b3-sampled"
                        | "x-b3-spanid"
                        | "x-b3-traceid"
                        | "x-cloud-trace-context"
                        | "x-correlation-id"
                        | "x-request-id"
                        | "x-span-id"
                        | "x-trace-id"
                ),
            ),
            _ => (false, false),
        };
        match (connection, exchange) {
            (true, _) => Self::Connection,
            (_, true) => Self::Exchange,
            _ => Self::Message,
        }
    }
}

/// Takes out every field that tells one exchange from another.
pub fn strip_exchange(headers: &mut HeaderMap) {
    let of_exchange = headers.keys().filter(|name| is_of_one_exchange(name));
    let gone: Vec<HeaderName> = of_exchange.cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// How long a response's body says that it will be: by its `Content-Length`, else by its exact size hint.
///
/// `None` when trailers are to come after it, by `Trailer` (RFC 9110, 6.6.2) or because it is gRPC: its last byte is not its end.
pub fn announced_length(headers: &HeaderMap, size_hint: Option<u64>) -> Option<u64> {
    Told::of(headers).announced_length(size_hint)
}

/// Whether a response with these headers is a stream of Server-Sent Events: a conversation with one client, without an end to wait
/// for.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    is_event_stream_type(headers.get(header::CONTENT_TYPE))
}

/// What a response tells of its body. For who walks over all its fields anyway: [`see`](Self::see) each of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    content_type: Option<&'a HeaderValue>,
    content_length: Option<&'a HeaderValue>,
    trailers: bool,
}

impl<'a> Told<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        Self {
            content_type: headers.get(header::CONTENT_TYPE),
            content_length: headers.get(header::CONTENT_LENGTH),
            trailers: headers.contains_key(header::TRAILER),
        }
    }

    /// Takes note of a field, and says whether it tells of the body. Of one with several lines the first counts.
    #[inline]
    pub fn see(&mut self, name: &HeaderName, value: &'a HeaderValue) -> bool {
        if *name == header::CONTENT_TYPE {
            self.content_type.get_or_insert(value);
        } else if *name == header::CONTENT_LENGTH {
            self.content_length.get_or_insert(value);
        } else if *name == header::TRAILER {
            self.trailers = true;
        } else {
            return false;
        }
        true
    }

    /// See [`announced_length`].
    #[must_use]
    pub fn announced_length(&self, size_hint: Option<u64>) -> Option<u64> {
        if self.trailers || self.content_type.is_some_and(is_grpc_type) {
            return None;
        }
        let length = self.content_length.and_then(|value| value.to_str().ok());
        length.and_then(|length| length.parse().ok()).or(size_hint)
    }

    /// See [`is_event_stream`].
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        is_event_stream_type(self.content_type)
    }
}

fn is_event_stream_type(value: Option<&HeaderValue>) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    let value = value.and_then(|value| trim_ows(value.as_bytes()).split_at_checked(TYPE.len()));
    value.is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(TYPE) && matches!(trim_ows(rest).first(), None | Some(b';'))
    })
}

/// Takes out every field that belongs to one connection only, those that `Connection` names included.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Every response passes here, and hardly any has something to strip: look before allocating.
    if headers.keys().any(is_hop_by_hop) {
        *headers = end_to_end(headers);
    }
}

/// A copy of `headers` without the fields that belong to one connection only, in the same order.
#[must_use]
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    end_to_end_where(headers, |_| true)
}

/// The same, of those fields for whose names `keep` says so.
#[must_use]
pub fn end_to_end_where(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let stays = |name: &HeaderName| !is_hop_by_hop(name) && keep(name);
    // A copy as it is costs half of one that is built field by field, and most messages have nothing to leave out. Without `Connection` nothing is named.
    if headers.keys().all(stays) {
        return headers.clone();
    }
    let named: Vec<&[u8]> = list(headers, header::CONNECTION)
        .filter(|element| is_token(element))
        .collect();
    let named = |name: &HeaderName| named.iter().any(|n| n.eq_ignore_ascii_case(name.as_ref()));
    let stays = |name: &HeaderName| stays(name) && !named(name);
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| stays(name)) {
        kept.append(name, value.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_list_continues_over_lines() {
        let headers = headers(&[("vary", "accept, "), ("vary", "Origin")]);
        let all: Vec<_> = list(&headers, header::VARY).collect();
        assert_eq!(all, [&b"accept"[..], b"Origin"]);
        assert!(list_contains(&headers, header::VARY, "origin"));
        assert!(!list_contains(&headers, header::VARY, "ori"));
    }

    #[test]
    fn what_is_of_one_exchange_goes_and_the_rest_stays() {
        let mut fields = headers(&[("x-request-id", "1"), ("etag", "e"), ("b3", "0")]);
        strip_exchange(&mut fields);
        assert_eq!(fields, headers(&[("etag", "e")]));
    }

    #[test]
    fn names_are_known_by_all_of_their_letters() {
        let hop_by_hop = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "te",
            "transfer-encoding",
            "upgrade",
        ];
        let of_one_exchange = [
            "b3",
            "baggage",
            "correlation-id",
            "request-id",
            "server-timing",
            "traceparent",
            "traceresponse",
            "tracestate",
            "uber-trace-id",
            "x-amz-id-2",
            "x-amz-request-id",
            "x-amzn-requestid",
            "x-amzn-trace-id",
            "x-b3-flags",
            "x-b3-parentspanid",
            "x-b3-sampled",
            "x-b3-spanid",
            "x-b3-traceid",
            "x-cloud-trace-context",
            "x-correlation-id",
            "x-request-id",
            "x-span-id",
            "x-trace-id",
        ];
        let neither = ["cookie", "x-b3", "xt", "etag", "trailer", "server"];
        let all = [&hop_by_hop[..], &of_one_exchange, &neither].concat();
        for name in all.into_iter().map(HeaderName::from_static) {
            let (hop, exchange) = (is_hop_by_hop(&name), is_of_one_exchange(&name));
            assert_eq!(hop, hop_by_hop.contains(&name.as_str()), "{name}");
            assert_eq!(exchange, of_one_exchange.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn an_event_stream_is_known_by_its_media_type() {
        let is = |value| is_event_stream(&headers(&[("content-type", value)]));
        assert!(is("text/event-stream") && is(" Text/Event-Stream ; charset=utf-8"));
        assert!(
            !is("text/event-stream x") && !is("text/event-stream, a/b") && is("text/event-stream;")
        );
        assert!(
            !is("text/event-streams") && !is("text/html") && !is_event_stream(&HeaderMap::new())
        );
    }

    #[test]
    fn a_body_before_trailers_announces_no_length() {
        let length = |lines: &[_]| announced_length(&headers(lines), Some(2));
        assert_eq!(length(&[]), Some(2));
        assert_eq!(length(&[("content-length", "3")]), Some(3));
        assert_eq!(
            length(&[("content-length", "3"), ("trailer", "etag")]),
            None
        );
        assert_eq!(length(&[("content-type", "application/grpc+proto")]), None);
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("x-kept", "a"),
            ("x-kept", "b"),
            ("trailer", "expires"),
        ]);
        strip_hop_by_hop(&mut headers);
        let left: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        assert_eq!(
            left,
            [("x-kept", "a"), ("x-kept", "b"), ("trailer", "expires")]
        );
    }
}
