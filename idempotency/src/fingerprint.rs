//! What makes a second request under one key the same request.

use buttress_wire::key::{KeyBuilder, Write};
use http::header::CONTENT_TYPE;
use http::request;

/// A hash of what a request says: method, path, query, content type and body, byte for byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn new(parts: &request::Parts, body: &[u8]) -> Self {
        let mut hash = Hash(blake3::Hasher::new());
        KeyBuilder::new(&mut hash)
            .part(parts.method.as_str())
            .part(parts.uri.path())
            .optional(parts.uri.query())
            .field(&parts.headers, &CONTENT_TYPE)
            .part(body);
        Self(hash.finish())
    }

    /// A fingerprint from its bytes, as a store keeps it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// BLAKE3, as a key can be written to it.
pub(crate) struct Hash(pub(crate) blake3::Hasher);

impl Hash {
    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(uri: &str, content_type: &str, body: &str) -> Fingerprint {
        let request = Request::post(uri)
            .header("content-type", content_type)
            .body(())
            .unwrap();
        Fingerprint::new(&request.into_parts().0, body.as_bytes())
    }

    #[test]
    fn every_part_of_a_request_counts() {
        let base = of("/o?a", "a/b", "{}");
        assert_eq!(base, of("/o?a", "a/b", "{}"));
        for other in [
            of("/o", "a/b", "{}"),
            of("/o?a", "a/c", "{}"),
            of("/o?a", "a/b", "{ }"),
        ] {
            assert_ne!(base, other);
        }
    }
}
