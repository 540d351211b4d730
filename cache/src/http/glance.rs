//! What a request says that decides over it, seen in one walk over its fields.
//!
//! Most requests have none of these. Looking for each by its name costs a hash each.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request;

/// A request, and which of its fields are worth a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance<'a> {
    pub(super) parts: &'a request::Parts,
    seen: u8,
}

/// `Cache-Control`, or `Pragma` in its place.
const CONTROL: u8 = 1;
/// Conditions that a store can judge.
const CONDITION: u8 = 2;
const RANGE: u8 = 4;
/// What is none of a cache's business.
const BEYOND: u8 = 8;
const AUTHORIZATION: u8 = 16;
const COOKIE: u8 = 32;
const HOST: u8 = 64;
/// What says something only beside a range.
const IF_RANGE: u8 = 128;

impl<'a> Glance<'a> {
    pub(super) fn at(parts: &'a request::Parts) -> Self {
        let mut host = Host::of(parts);
        let seen = parts.headers.iter().fold(0, |seen, (name, value)| {
            seen | match kind(name) {
                HOST if host.is_another(value) => BEYOND,
                kind => kind,
            }
        });
        Self { parts, seen }
    }

    pub(super) fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }

    pub(super) fn has_control(&self) -> bool {
        self.seen & CONTROL != 0
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.seen & CONDITION != 0
    }

    pub(super) fn has_range(&self) -> bool {
        self.seen & RANGE != 0
    }

    /// Whether it says what part of a response is wanted, or under what conditions.
    pub(super) fn is_particular(&self) -> bool {
        self.seen & (CONDITION | RANGE | IF_RANGE | BEYOND) != 0
    }

    pub(super) fn has_authorization(&self) -> bool {
        self.seen & AUTHORIZATION != 0
    }

    pub(super) fn has_cookie(&self) -> bool {
        self.seen & COOKIE != 0
    }

    /// Whether it is to change the protocol, has conditions that only the origin can judge (RFC 9110, 13.1.1 and 13.1.4), or names two hosts, of which the key
    /// has one, and the origin may take the other (RFC 9112, 3.2).
    pub(super) fn is_beyond(&self) -> bool {
        self.seen & BEYOND != 0
    }
}

fn kind(name: &HeaderName) -> u8 {
    match *name {
        header::CACHE_CONTROL | header::PRAGMA => CONTROL,
        header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => CONDITION,
        header::RANGE => RANGE,
        header::IF_RANGE => IF_RANGE,
        header::AUTHORIZATION => AUTHORIZATION,
        header::COOKIE => COOKIE,
        header::IF_MATCH | header::IF_UNMODIFIED_SINCE | header::UPGRADE => BEYOND,
        header::HOST => HOST,
        _ => 0,
    }
}

/// Which host a request is for, by its target or the first line that says so.
struct Host<'a> {
    parts: &'a request::Parts,
    is_said: bool,
}

impl<'a> Host<'a> {
    fn of(parts: &'a request::Parts) -> Self {
        Self {
            parts,
            is_said: false,
        }
    }

    /// Whether a line says it once more, or otherwise than the target.
    fn is_another(&mut self, line: &HeaderValue) -> bool {
        let is_second = std::mem::replace(&mut self.is_said, true);
        let target = self.parts.uri.authority();
        let is_other = target.is_some_and(|named| {
            let named = named.as_str().as_bytes();
            named != line && !self.is_same(named, line.as_bytes())
        });
        is_second || is_other
    }

    fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        let port: &[u8] = match self.parts.uri.scheme_str() {
            Some("https") => b":443",
            _ => b":80",
        };
        let [one, other] = [one, other].map(|all| all.strip_suffix(port).unwrap_or(all));
        one.eq_ignore_ascii_case(other)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn each_field_is_seen_for_what_it_is() {
        let seen = |name: &str| {
            let request = Request::get("/").header("accept", "*/*").header(name, "x");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let glance = Glance::at(&parts);
            let kinds = [
                glance.has_control(),
                glance.is_conditional(),
                glance.has_range(),
                glance.is_beyond(),
                glance.has_authorization(),
                glance.has_cookie(),
            ];
            kinds.iter().position(|is| *is)
        };
        for (name, expected) in [
            ("cache-control", Some(0)),
            ("Pragma", Some(0)),
            ("if-none-match", Some(1)),
            ("if-modified-since", Some(1)),
            ("range", Some(2)),
            ("if-match", Some(3)),
            ("if-unmodified-since", Some(3)),
            ("upgrade", Some(3)),
            ("authorization", Some(4)),
            ("cookie", Some(5)),
            ("if-range", None),
            ("host", None),
            ("accept", None),
        ] {
            assert_eq!(seen(name), expected, "{name}");
        }
    }

    /// RFC 9112, 3.2 and 3.2.2.
    #[test]
    fn two_hosts_are_seen() {
        for (target, hosts, expected) in [
            ("/", &["shop"][..], false),
            ("/", &[], false),
            ("/", &["shop", "shop"], true),
            ("http://shop/", &[], false),
            ("http://shop/", &["Shop"], false),
            ("http://shop/", &["shop:80"], false),
            ("https://shop:443/", &["shop"], false),
            ("https://shop/", &["shop:80"], true),
            ("http://shop/", &["evil"], true),
            ("http://shop/", &["shop", "evil"], true),
        ] {
            let mut request = Request::get(target)
                .header("accept", "a")
                .header("accept", "b");
            for host in hosts {
                request = request.header("host", *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(
                Glance::at(&parts).is_beyond(),
                expected,
                "{target} {hosts:?}"
            );
        }
    }
}
