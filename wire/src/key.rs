//! Building a key out of parts of a request, so that no two different requests read the same.

use http::header::{HOST, HeaderMap, HeaderName};
use http::request::Parts;

/// Appends parts to a key, each with its length in front.
///
/// ```
/// use buttress_wire::key::KeyBuilder;
///
/// let key = |a: &str, b: &str| {
///     let mut key = Vec::new();
///     KeyBuilder::new(&mut key).part(a).part(b);
///     key
/// };
/// assert_ne!(key("ab", "c"), key("a", "bc"));
/// ```
#[derive(Debug)]
pub struct KeyBuilder<'a, K = Vec<u8>> {
    key: &'a mut K,
}

/// What a key is written to: a buffer, or a hash of one.
pub trait Write {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]);
}

impl Write for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<'a, K: Write> KeyBuilder<'a, K> {
    /// Appends to `key`.
    pub fn new(key: &'a mut K) -> Self {
        Self { key }
    }

    /// Appends a part.
    pub fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.key.write(&(part.len() as u64).to_be_bytes());
        self.key.write(part);
        self
    }

    /// Appends what a request is for: scheme, authority, path and query. HTTP/2 has the authority in the target, HTTP/1.1 in `Host`.
    pub fn target(&mut self, parts: &Parts) -> &mut Self {
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => parts
                .headers
                .get(HOST)
                .map_or(&b""[..], |host| host.as_bytes()),
        };
        self.part(parts.uri.scheme_str().unwrap_or_default())
            .part(authority)
            .part(parts.uri.path())
            .optional(parts.uri.query())
    }

    /// Appends all lines of one field, in order. An absent one costs a byte.
    pub fn field(&mut self, headers: &HeaderMap, name: &HeaderName) -> &mut Self {
        let lines = headers.get_all(name);
        self.key
            .write(&[u8::try_from(lines.iter().count()).unwrap_or(u8::MAX)]);
        for line in lines {
            self.part(line.as_bytes());
        }
        self
    }

    /// Appends a part that may be absent, which is not the same as empty: `/a` is not `/a?`.
    pub fn optional(&mut self, part: Option<impl AsRef<[u8]>>) -> &mut Self {
        self.key.write(&[u8::from(part.is_some())]);
        match part {
            Some(part) => self.part(part),
            None => self,
        }
    }
}
