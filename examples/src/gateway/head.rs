//! What changes in the head of a message on its way through (RFC 9110, section 7.6).

use std::net::SocketAddr;

use buttress_wire::fields::{is_hop_by_hop, list, strip_hop_by_hop};
use buttress_wire::{Protocol, Refusal, grpc::Code};
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, MAX_FORWARDS, VARY, VIA,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use crate::gateway::proxy::{Asked, Body, boxed};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What has to be known of the fields of every request, by one look at all of them, which is less than one for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields {
    hosts: usize,
    /// Whether some speak of the client's connection alone.
    pub(crate) any_of_connection: bool,
    any_to_us: bool,
    /// The language that its client understands.
    pub(crate) protocol: Protocol,
}

impl Fields {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                fields.hosts += 1;
            } else if *name == CONTENT_TYPE {
                fields.protocol = Protocol::of_type(Some(value));
            } else if is_hop_by_hop(name) {
                fields.any_of_connection = true;
            } else if TO_US_ONLY.contains(name) {
                fields.any_to_us = true;
            }
        }
        fields
    }

    /// Whether it is said once for which host a request is; by HTTP/1.0 and in HTTP/2 it need not be in a field (RFC 9112, 3.2).
    pub(crate) fn name_one_host(&self, version: Version) -> bool {
        match self.hosts {
            0 => version != Version::HTTP_11,
            hosts => hosts == 1,
        }
    }
}

/// What the layers look at is what the upstream will be asked: without what was said to us only, and without what is said by us. Otherwise a client could
/// have stored, by what the cache sees, what the upstream has answered to something else.
///
/// In HTTP/2 the host is in the target; where it is in both, the target's counts (RFC 9112, 3.2.2). It is no field that goes no further, whatever `Connection`
/// says (RFC 9110, 7.6.1).
pub(crate) fn settle<B>(request: &mut Request<B>, fields: Fields) {
    drop_user(request.uri_mut());
    let host = match request.uri().authority() {
        Some(host) => HeaderValue::from_str(host.as_str()).ok(),
        None if fields.any_of_connection => request.headers().get(HOST).cloned(),
        None => None,
    };
    let headers = request.headers_mut();
    if fields.any_of_connection {
        strip_hop_by_hop(headers);
    }
    if fields.any_to_us {
        for name in TO_US_ONLY {
            headers.remove(name);
        }
    }
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

/// What is asked of us, and what we say ourselves. The server answers `Expect` as soon as the body is wanted.
const TO_US_ONLY: [HeaderName; 3] = [EXPECT, FORWARDED_HOST, FORWARDED_PROTO];

/// Whoever it is that a target names is no part of its host, by which it is asked for and found (RFC 9110, 4.2.4).
fn drop_user(uri: &mut Uri) {
    let named = uri.authority().map(Authority::as_str);
    let Some((_, host)) = named.and_then(|named| named.rsplit_once('@')) else {
        return;
    };
    let host = host.parse().ok();
    let mut parts = std::mem::take(uri).into_parts();
    parts.authority = host;
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// For the upstream: with who asks, and how.
pub(crate) fn pass_on(request: Request<Asked>) -> Request<Body> {
    let (mut parts, Asked { body, asker, .. }) = request.into_parts();
    say_way(&mut parts, asker.client());
    parts.extensions.insert(asker);
    Request::from_parts(parts, body)
}

fn say_way(parts: &mut Parts, client: &HeaderValue) {
    let headers = &mut parts.headers;
    // Whatever a client says here: an upstream may make its links of it, and they are stored for others.
    let says_way = |name: &&HeaderName| {
        let rest = name.as_str().strip_prefix("x-forwarded-");
        **name == FORWARDED || rest.is_some_and(|rest| rest != "for")
    };
    let said: Vec<_> = headers.keys().filter(says_way).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.append(FORWARDED_FOR, client.clone());
    let via = if parts.version == Version::HTTP_2 {
        "2 gateway"
    } else {
        "1.1 gateway"
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// A response that belongs on one connection in what it says of who may have it: nobody but its client may.
#[derive(Clone)]
pub(crate) struct Hides;

/// What an upstream says to us only is not said to anybody else. Where that is what keeps others from the response, it is marked: what the cache sees does not say so any more.
pub(crate) fn settle_response<B>(response: &mut Response<B>) {
    let headers = response.headers();
    let hides = |name: &[u8]| {
        KEEPS_APART
            .iter()
            .any(|kept| name.eq_ignore_ascii_case(kept.as_bytes()))
    };
    if headers.contains_key(CONNECTION) && list(headers, CONNECTION).any(hides) {
        response.extensions_mut().insert(Hides);
    }
    strip_hop_by_hop(response.headers_mut());
}

/// The fields without which a response may be for more than it was.
const KEEPS_APART: [&str; 7] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "expires",
    "pragma",
    "set-cookie",
    "vary",
];

/// Takes one off what `Max-Forwards` allows, or answers where that is nothing (RFC 9110, 7.6.2).
pub(crate) fn count_forward<B>(
    request: &mut Request<B>,
    protocol: Protocol,
) -> Result<(), Box<Response<Body>>> {
    let method = request.method().clone();
    if !matches!(method, Method::OPTIONS | Method::TRACE) {
        return Ok(());
    }
    let Some(left) = request.headers_mut().get_mut(MAX_FORWARDS) else {
        return Ok(());
    };
    match number(left.as_bytes()) {
        Some(0) => {
            let mut response = match method {
                Method::TRACE => boxed(no_trace().render(protocol)),
                _ => no_content(),
            };
            let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            response.headers_mut().insert(ALLOW, allow);
            Err(Box::new(response))
        }
        Some(more) => {
            *left = (more - 1).into();
            Ok(())
        }
        None => Ok(()),
    }
}

/// It would tell whoever asks of fields that are not for his eyes.
fn no_trace() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "urn:gateway:problem:trace",
        "The gateway does not say what it was sent",
        Code::Unimplemented,
    )
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Digits; one too large for us is as large as can be.
fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// Whether a response is chosen by who asks, or on what way, which the cache does not see: it is asked before that is said. What else [`pass_on`] adds is the
/// same for all requests of one target.
pub(crate) fn varies_by_asker(response: &HeaderMap) -> bool {
    let mut lines = response.get_all(VARY).iter();
    lines.any(|line| {
        let names = line.as_bytes().split(|byte| *byte == b',');
        let mut names = names.map(<[u8]>::trim_ascii);
        let is = |name: &[u8], field: &HeaderName| name.eq_ignore_ascii_case(field.as_ref());
        names.any(|name| is(name, &FORWARDED_FOR) || is(name, &VIA))
    })
}

/// As it is told of, to be told of each request of its connection.
pub(crate) fn told(client: SocketAddr) -> HeaderValue {
    let address = HeaderValue::from_str(&client.ip().to_string());
    address.expect("an address is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is passed on.
    fn passed_on(mut request: Request<()>) -> HeaderMap {
        let fields = Fields::of(request.headers());
        settle(&mut request, fields);
        let (mut parts, ()) = request.into_parts();
        say_way(&mut parts, &told(([127, 0, 0, 1], 4000).into()));
        parts.headers
    }

    #[test]
    fn a_list_of_fields_is_looked_through_for_the_asker_s() {
        for (vary, expected) in [
            (&["accept"][..], false),
            (&["accept, X-Forwarded-For"], true),
            (&["accept", " x-forwarded-for ,te"], true),
            (&["via"], true),
            (&["x-forwarded-for-us"], false),
            (&[], false),
        ] {
            let lines = vary
                .iter()
                .map(|line| (VARY, HeaderValue::from_static(line)));
            let mut headers = HeaderMap::new();
            for (name, line) in lines {
                headers.append(name, line);
            }
            assert_eq!(varies_by_asker(&headers), expected, "{vary:?}");
        }
    }

    #[test]
    fn what_was_said_to_us_only_goes_no_further_and_who_asks_does() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop.example"),
            ("connection", "keep-alive, x-mine, host"),
            ("x-mine", "1"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "gopher"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        let headers = passed_on(request);
        let all = |name: &str| -> Vec<_> { headers.get_all(name).iter().collect() };
        assert_eq!(all("host"), ["shop.example"]);
        assert_eq!(all("x-forwarded-host"), ["shop.example"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-for"), ["192.0.2.1", "127.0.0.1"]);
        assert_eq!(all("via"), ["1.1 gateway"]);
        for gone in ["connection", "x-mine", "expect"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn the_host_is_that_of_the_target_and_said_once() {
        let request = Request::get("http://shop.example/a").header(HOST, "evil");
        let mut headers = passed_on(request.body(()).unwrap());
        let has_one = |headers: &HeaderMap, version| Fields::of(headers).name_one_host(version);
        assert_eq!(headers[HOST], "shop.example");
        assert!(has_one(&headers, Version::HTTP_11));
        headers.append(HOST, HeaderValue::from_static("evil"));
        assert!(!has_one(&headers, Version::HTTP_11));
        headers.remove(HOST);
        for (version, expected) in [
            (Version::HTTP_10, true),
            (Version::HTTP_11, false),
            (Version::HTTP_2, true),
        ] {
            assert_eq!(has_one(&headers, version), expected);
        }
    }
}
