//! What makes a second request under one key the same request.

#[cfg(feature = "digest")]
mod digest;
#[cfg(feature = "json")]
mod json;

use std::borrow::Cow;
use std::fmt;

use buttress_wire::key::{KeyBuilder, Write};
use http::header::CONTENT_TYPE;
use http::request;

#[cfg(feature = "digest")]
pub use self::digest::content_digest;
#[cfg(feature = "json")]
pub use self::json::canonical_json;

/// A hash of what a request says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these parts, each told apart from its neighbours.
    ///
    /// ```
    /// use buttress_idempotency::{Fingerprint, IdempotencyLayer, MemoryStore};
    ///
    /// // Clients send the time of each attempt in a field that says nothing about the order.
    /// let layer = IdempotencyLayer::new(MemoryStore::new())
    ///     .single_tenant()
    ///     .fingerprint(|head, body| {
    ///         let without_time = body.split(|byte| *byte == b'@').next().unwrap_or(body);
    ///         Ok(Fingerprint::of([head.uri.path().as_bytes(), without_time]))
    ///     });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn of(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        let mut hash = Hash(blake3::Hasher::new());
        let mut key = KeyBuilder::new(&mut hash);
        for part in parts {
            key.part(part);
        }
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

/// Method, path, query, content type and body, byte for byte. The default.
///
/// # Errors
///
/// None.
pub fn raw_body(head: &request::Parts, body: &[u8]) -> Result<Fingerprint, FingerprintError> {
    let mut hash = Hash(blake3::Hasher::new());
    target(&mut hash, head)
        .field(&head.headers, &CONTENT_TYPE)
        .part(body);
    Ok(Fingerprint(hash.finish()))
}

fn target<'a>(hash: &'a mut Hash, head: &request::Parts) -> KeyBuilder<'a, Hash> {
    let mut key = KeyBuilder::new(hash);
    key.part(head.method.as_str())
        .part(head.uri.path())
        .optional(head.uri.query());
    key
}

/// A request that has no fingerprint, and is refused with 400.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FingerprintError(Cow<'static, str>);

impl FingerprintError {
    /// The client is told `detail`.
    pub fn new(detail: impl Into<Cow<'static, str>>) -> Self {
        Self(detail.into())
    }

    pub(crate) fn into_detail(self) -> Cow<'static, str> {
        self.0
    }
}

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FingerprintError {}

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
        let request = Request::post(uri).header("content-type", content_type);
        let (head, ()) = request.body(()).unwrap().into_parts();
        raw_body(&head, body.as_bytes()).unwrap()
    }

    #[test]
    fn every_part_of_a_request_counts() {
        let base = of("/o?a", "a/b", "{}");
        assert_eq!(base, of("/o?a", "a/b", "{}"));
        for other in [
            of("/o", "a/b", "{}"),
            of("/o?b", "a/b", "{}"),
            of("/p?a", "a/b", "{}"),
            of("/o?a", "a/c", "{}"),
            of("/o?a", "a/b", "{ }"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Fingerprint::of(["ab", "c"]), Fingerprint::of(["a", "bc"]));
        assert_eq!(
            Fingerprint::of(["ab"]),
            Fingerprint::of(vec![b"ab".to_vec()])
        );
    }
}
