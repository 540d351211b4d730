//! What changes in the head of a message on its way through (RFC 9110, section 7.6).

use std::net::SocketAddr;

use buttress_wire::fields::strip_hop_by_hop;
use http::header::{EXPECT, HOST, HeaderName, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// For the upstream: without what was said to us only, and with who asks.
pub(crate) fn pass_on(parts: &mut Parts, client: HeaderValue) {
    let headers = &mut parts.headers;
    strip_hop_by_hop(headers);
    // The server answers it as soon as the body is wanted.
    headers.remove(EXPECT);
    // In HTTP/2 the host is in the target; where it is in both, the target's counts (RFC 9112, 3.2.2).
    if let Some(host) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        headers.insert(HOST, host);
    }
    // Whatever a client says here: an upstream may make its links of it, and they are stored for others.
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.append(FORWARDED_FOR, client);
    let via = if parts.version == Version::HTTP_2 {
        "2 gateway"
    } else {
        "1.1 gateway"
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Whether it is said once for which host a request is; by HTTP/1.0 and in HTTP/2 it need not be in a field (RFC 9112, 3.2).
pub(crate) fn has_one_host(headers: &HeaderMap, version: Version) -> bool {
    match headers.get_all(HOST).iter().count() {
        0 => version != Version::HTTP_11,
        lines => lines == 1,
    }
}

/// As it is told of, to be told of each request of its connection.
pub(crate) fn told(client: SocketAddr) -> HeaderValue {
    let address = HeaderValue::from_str(&client.ip().to_string());
    address.expect("an address is visible ASCII")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_was_said_to_us_only_goes_no_further_and_who_asks_does() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop.example"),
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "gopher"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers = headers;
        pass_on(&mut parts, told(([127, 0, 0, 1], 4000).into()));
        let headers = parts.headers;
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
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        pass_on(&mut parts, told(([127, 0, 0, 1], 4000).into()));
        let mut headers = parts.headers;
        assert_eq!(headers[HOST], "shop.example");
        assert!(has_one_host(&headers, Version::HTTP_11));
        headers.append(HOST, HeaderValue::from_static("evil"));
        assert!(!has_one_host(&headers, Version::HTTP_11));
        headers.remove(HOST);
        for (version, expected) in [
            (Version::HTTP_10, true),
            (Version::HTTP_11, false),
            (Version::HTTP_2, true),
        ] {
            assert_eq!(has_one_host(&headers, version), expected);
        }
    }
}
