//! What makes a second request under one key the same request.

#[cfg(feature = "digest")]
mod digest;
#[cfg(feature = "json")]
mod json;

use std::borrow::Cow;
use std::fmt;

use buttress_wire::key::{Field, KeyBuilder, Write, find};
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
        let mut hash = Hash::new(None);
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

/// Query, content type and body, byte for byte. The default.
///
/// Of scope, method, authority and path there is no need to tell here: they are what a record is filed under.
///
/// # Errors
///
/// None.
pub fn raw_body(head: &request::Parts, body: &[u8]) -> Result<Fingerprint, FingerprintError> {
    let [content_type] = find(&head.headers, |name| (*name == CONTENT_TYPE).then_some(0));
    Ok(Beside::of(head, content_type).fingerprint(body))
}

/// What is beside a body, as it is hashed with: known before the body is read.
pub(crate) struct Beside([u8; 32]);

impl Beside {
    /// `content_type` is the field of that name in `head`.
    pub(crate) fn of(head: &request::Parts, content_type: Field<'_>) -> Self {
        let mut key = BodyKey::default();
        KeyBuilder::new(&mut key).optional(head.uri.query()).found(
            &head.headers,
            &CONTENT_TYPE,
            content_type,
        );
        Self(key.finish())
    }

    pub(crate) fn fingerprint(&self, body: &[u8]) -> Fingerprint {
        Fingerprint(*blake3::keyed_hash(&self.0, body).as_bytes())
    }
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

/// What a body is hashed with: what was said beside it. So the body is read where it is, and most of what is beside it costs no block of its own.
///
/// Short as it mostly is, it is the key as it was written, with zeros and its length behind it; else the key is its hash, with a mark where the
/// length would be.
#[derive(Default)]
struct BodyKey {
    key: [u8; 32],
    len: usize,
    /// Of what is longer.
    long: Option<Box<blake3::Hasher>>,
}

const LENGTH: usize = 31;
const IS_HASH: u8 = 0x80;

impl BodyKey {
    fn finish(mut self) -> [u8; 32] {
        if let Some(long) = self.long {
            self.key = *long.finalize().as_bytes();
            self.key[LENGTH] |= IS_HASH;
        } else {
            self.key[LENGTH] = self.len as u8;
        }
        self.key
    }
}

impl BodyKey {
    #[cold]
    fn write_long(&mut self, bytes: &[u8]) {
        let so_far = &self.key[..self.len];
        let long = self.long.get_or_insert_with(|| {
            let mut long = Box::new(blake3::Hasher::new());
            long.update(so_far);
            long
        });
        long.update(bytes);
    }
}

impl Write for BodyKey {
    /// Inlined, for most of what is written is one byte.
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if self.long.is_some() || end > LENGTH {
            self.write_long(bytes);
        } else {
            self.key[self.len..end].copy_from_slice(bytes);
            self.len = end;
        }
    }
}

/// BLAKE3, as a key can be written to it. What is short, as most keys and requests are, is hashed in one piece.
pub(crate) struct Hash<'a> {
    secret: Option<&'a [u8; 32]>,
    short: [u8; SHORT],
    len: usize,
    /// Of what is longer.
    long: Option<blake3::Hasher>,
}

const SHORT: usize = 512;

impl<'a> Hash<'a> {
    /// Keyed, if there is a secret.
    pub(crate) fn new(secret: Option<&'a [u8; 32]>) -> Self {
        Self {
            secret,
            short: [0; SHORT],
            len: 0,
            long: None,
        }
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        let short = &self.short[..self.len];
        let hash = match (&self.long, self.secret) {
            (Some(long), _) => long.finalize(),
            (None, Some(secret)) => blake3::keyed_hash(secret, short),
            (None, None) => blake3::hash(short),
        };
        *hash.as_bytes()
    }

    #[cold]
    fn long(&mut self) -> &mut blake3::Hasher {
        self.long.get_or_insert_with(|| {
            let mut long = match self.secret {
                Some(secret) => blake3::Hasher::new_keyed(secret),
                None => blake3::Hasher::new(),
            };
            long.update(&self.short[..self.len]);
            long
        })
    }
}

impl Write for Hash<'_> {
    /// Inlined, for half of what is written is a length of one byte.
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.short.get_mut(self.len..end) {
            Some(place) if self.long.is_none() => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            _ => drop(self.long().update(bytes)),
        }
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
            of("/o?", "a/b", "{}"),
            of("/o?a", "a/c", "{}"),
            of("/o?a", "a/b", "{ }"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn what_is_beside_a_body_counts_however_long_it_is() {
        let key = |bytes: &[u8], piece: usize| {
            let mut key = BodyKey::default();
            bytes.chunks(piece).for_each(|piece| key.write(piece));
            key.finish()
        };
        let bytes: Vec<u8> = (1..=100).collect();
        let mut seen = std::collections::HashSet::new();
        for length in 0..=100 {
            let whole = key(&bytes[..length], 100);
            assert!(seen.insert(whole), "{length}");
            // What was written cannot read like a hash, nor a hash like what was written.
            assert_eq!(whole[LENGTH] & IS_HASH != 0, length > LENGTH, "{length}");
            for piece in [1, 7, 31, 32] {
                assert_eq!(key(&bytes[..length], piece), whole, "{length} by {piece}");
            }
        }
        // Zeros behind are not padding.
        assert_ne!(key(&[1], 1), key(&[1, 0], 2));
        let long = ["x".repeat(29), "x".repeat(28), "x".repeat(2000)];
        let [a, b, c] = long.map(|query| of(&format!("/o?{query}"), "a/b", "{}"));
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn a_hash_is_the_same_however_it_was_written() {
        let bytes: Vec<u8> = (0..2000).map(|n| n as u8).collect();
        for secret in [None, Some(&[7; 32])] {
            for (length, piece) in [(0, 1), (511, 100), (512, 512), (513, 100), (2000, 700)] {
                let mut hash = Hash::new(secret);
                bytes[..length]
                    .chunks(piece)
                    .for_each(|piece| hash.write(piece));
                let whole = match secret {
                    Some(secret) => blake3::keyed_hash(secret, &bytes[..length]),
                    None => blake3::hash(&bytes[..length]),
                };
                assert_eq!(hash.finish(), *whole.as_bytes(), "{length} by {piece}");
            }
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
