//! What makes two requests the same.

use std::hash::{Hash, Hasher};

use buttress_wire::key::{KeyBuilder, find};
use http::header::{self, HeaderName};
use http::request::Parts;

/// What a request asks for, and on whose behalf. Two requests share a flight when all of it is equal.
///
/// It is a byte string of length-prefixed parts, so that no two different requests read the same: method, scheme, authority, path and query,
/// then the fields that a response may depend on, each with all its lines: those that select a representation (`Accept`,
/// `-Charset`, `-Encoding`, `-Language`, `Range`), the conditional ones (`If-*`), those that limit reuse (`Cache-Control`, `Pragma`, `Prefer`), and those that say
/// who asks (`Authorization`, `Cookie`, `Origin`). Add more with [`with`](Self::with), a tenant above all.
#[derive(Clone, Debug)]
pub struct HttpKey {
    bytes: Vec<u8>,
    /// The fields that were put in beside the usual ones.
    covered: Vec<HeaderName>,
}

impl PartialEq for HttpKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for HttpKey {}

impl Hash for HttpKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl HttpKey {
    /// The key of a request.
    #[must_use]
    pub fn new(parts: &Parts) -> Self {
        let mut bytes = Vec::with_capacity(256);
        Self::write(&mut bytes, parts);
        Self::of_bytes(bytes)
    }

    /// Appends the bytes of a request's key.
    pub(super) fn write(bytes: &mut Vec<u8>, parts: &Parts) {
        let mut builder = KeyBuilder::new(bytes);
        builder.part(parts.method.as_str()).target(parts);
        let found: [_; FIELDS.len()] = find(&parts.headers, |name| place(name.as_str()));
        for (name, field) in FIELDS.iter().zip(found) {
            builder.found(&parts.headers, name, field);
        }
    }

    /// The key that these were written for.
    pub(super) fn of_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            covered: Vec::new(),
        }
    }

    /// The key with something more in it: a tenant, a principal, a flag that changes the answer.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        KeyBuilder::new(&mut self.bytes).part(part);
        self
    }

    /// The key with one more request field in it, for an inner service whose answers depend on it: those that say so, by `Vary`, are then shared.
    #[must_use]
    pub fn with_field(mut self, parts: &Parts, name: &HeaderName) -> Self {
        KeyBuilder::new(&mut self.bytes).field(&parts.headers, name);
        self.covered.push(name.clone());
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn covered(&self) -> &[HeaderName] {
        &self.covered
    }
}

/// Whether the key has the request field `name` in it, so that a response that varies by it may be shared.
pub(super) fn covers(name: &[u8]) -> bool {
    FIELDS
        .iter()
        .any(|field| field.as_str().as_bytes().eq_ignore_ascii_case(name))
}

static FIELDS: [HeaderName; 16] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::COOKIE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    HeaderName::from_static("prefer"),
];

/// Where a field stands among those.
fn place(name: &str) -> Option<usize> {
    Some(match name {
        "accept" => 0,
        "accept-charset" => 1,
        "accept-encoding" => 2,
        "accept-language" => 3,
        "authorization" => 4,
        "cache-control" => 5,
        "cookie" => 6,
        "if-match" => 7,
        "if-modified-since" => 8,
        "if-none-match" => 9,
        "if-range" => 10,
        "if-unmodified-since" => 11,
        "origin" => 12,
        "pragma" => 13,
        "range" => 14,
        "prefer" => 15,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn key(uri: &str, fields: &[(&str, &str)]) -> HttpKey {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        HttpKey::new(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_a_response_may_depend_on_parts_two_requests() {
        let plain = key("/a", &[]);
        assert_eq!(
            plain,
            key("/a", &[("user-agent", "x"), ("x-request-id", "1")])
        );
        for other in [
            key("/a?", &[]),
            key("/a?b", &[]),
            key("/b", &[]),
            key("https://h/a", &[]),
            key("/a", &[("host", "h")]),
            key("/a", &[("accept", "text/html")]),
            key("/a", &[("accept", "text/html"), ("accept", "a/b")]),
            key("/a", &[("authorization", "Bearer 1")]),
            key("/a", &[("cookie", "s=1")]),
            key("/a", &[("if-none-match", "\"1\"")]),
            key("/a", &[("range", "bytes=0-1")]),
            plain.clone().with("tenant"),
        ] {
            assert_ne!(plain, other);
        }
        assert_ne!(
            key("/a", &[("accept", "x"), ("accept-language", "")]),
            key("/a", &[("accept", ""), ("accept-language", "x")]),
        );
    }

    #[test]
    fn every_field_has_its_place() {
        for (at, name) in FIELDS.iter().enumerate() {
            assert_eq!(place(name.as_str()), Some(at), "{name}");
        }
        assert_eq!(place("host"), None);
    }

    #[test]
    fn an_extra_field_counts_only_when_asked_for() {
        let parts = |tenant| {
            Request::get("/")
                .header("x-t", tenant)
                .body(())
                .unwrap()
                .into_parts()
                .0
        };
        let (a, b) = (parts("a"), parts("b"));
        let name = HeaderName::from_static("x-t");
        assert_eq!(HttpKey::new(&a), HttpKey::new(&b));
        assert_ne!(
            HttpKey::new(&a).with_field(&a, &name),
            HttpKey::new(&b).with_field(&b, &name)
        );
    }
}
