//! Building a key out of parts of a request, so that no two different requests read the same.

use std::cell::RefCell;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
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
    #[inline]
    pub fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.length(part.len());
        self.key.write(part);
        self
    }

    /// Most parts are short: one byte, or 255 and eight more.
    #[inline]
    fn length(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short < u8::MAX => self.key.write(&[short]),
            _ => {
                self.key.write(&[u8::MAX]);
                self.key.write(&(length as u64).to_be_bytes());
            }
        }
    }

    /// Appends what a request is for: scheme, authority, path and query.
    ///
    /// HTTP/2 has scheme and authority in the target, HTTP/1.1 has the authority in `Host` and leaves the scheme to the connection: it is taken for
    /// `http`. The authority is compared as RFC 9110, 4.2.3 says: without regard to case, and without the scheme's own port.
    pub fn target(&mut self, parts: &Parts) -> &mut Self {
        self.target_as(parts.uri.scheme_str().unwrap_or("http"), parts)
    }

    /// The same, as if it had come under this scheme.
    pub fn target_as(&mut self, scheme: &str, parts: &Parts) -> &mut Self {
        self.part(scheme)
            .authority(parts)
            .part(parts.uri.path())
            .optional(parts.uri.query())
    }

    /// Appends the authority alone, of whichever protocol version the request came by.
    pub fn authority(&mut self, parts: &Parts) -> &mut Self {
        self.authority_of(parts.uri.scheme_str(), authority(parts))
    }

    /// The same of one that was [found](authority) already, in a target of this scheme: that which it came by, whatever it is to be compared as.
    #[inline]
    pub fn authority_of(&mut self, scheme: Option<&str>, authority: &[u8]) -> &mut Self {
        let port: &[u8] = if scheme == Some("https") {
            b":443"
        } else {
            b":80"
        };
        self.lower_case(authority.strip_suffix(port).unwrap_or(authority))
    }

    fn lower_case(&mut self, part: &[u8]) -> &mut Self {
        if !has_upper_case(part) {
            return self.part(part);
        }
        self.length(part.len());
        for chunk in part.chunks(64) {
            let mut lower = [0; 64];
            let lower = &mut lower[..chunk.len()];
            lower.copy_from_slice(chunk);
            lower.make_ascii_lowercase();
            self.key.write(lower);
        }
        self
    }

    /// Appends all lines of one field, in order. An absent one costs a byte.
    pub fn field(&mut self, headers: &HeaderMap, name: &HeaderName) -> &mut Self {
        for line in headers.get_all(name) {
            self.optional(Some(line.as_bytes()));
        }
        self.optional(None::<&[u8]>)
    }

    /// The same for a field that was [found](find) in `headers`.
    pub fn found(&mut self, headers: &HeaderMap, name: &HeaderName, field: Field<'_>) -> &mut Self {
        match field {
            Field::Absent => self.optional(None::<&[u8]>),
            Field::Once(line) => self.optional(Some(line)).optional(None::<&[u8]>),
            Field::Repeated => self.field(headers, name),
        }
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

/// Eight at a time: names are short, and most have no such letter.
fn has_upper_case(part: &[u8]) -> bool {
    const EACH: u64 = u64::MAX / 255;
    let (words, rest) = part.as_chunks::<8>();
    let is_in = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // The top bit of a byte says if it is at least `A`, and then if it is above `Z`.
        let low = word & (EACH * 0x7f);
        let (from_a, above_z) = (
            low + EACH * u64::from(0x80 - b'A'),
            low + EACH * u64::from(0x7f - b'Z'),
        );
        from_a & !above_z & !word & (EACH * 0x80) != 0
    };
    words.iter().any(is_in) || rest.iter().any(u8::is_ascii_uppercase)
}

/// The authority that a request is for, as it is written: that of its target, or else that of its first `Host`.
#[must_use]
pub fn authority(parts: &Parts) -> &[u8] {
    match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts
            .headers
            .get(HOST)
            .map_or(&b""[..], |host| host.as_bytes()),
    }
}

/// How often a field stands among others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field<'a> {
    /// It is not there.
    Absent,
    /// On one line, with this value.
    Once(&'a HeaderValue),
    /// On several lines.
    Repeated,
}

/// Finds several fields in one walk over what is there, where hardly any request has most of them, and a look-up of each would cost a hash each. `place` tells where among
/// the wanted fields a name stands.
///
/// # Panics
///
/// When a place is not below `N`.
pub fn find<const N: usize>(
    headers: &HeaderMap,
    place: impl Fn(&HeaderName) -> Option<usize>,
) -> [Field<'_>; N] {
    let mut found = [Field::Absent; N];
    for (name, value) in headers {
        if let Some(at) = place(name) {
            found[at] = match found[at] {
                Field::Absent => Field::Once(value),
                Field::Once(_) | Field::Repeated => Field::Repeated,
            };
        }
    }
    found
}

/// Runs `f` with an empty buffer that this thread keeps: a key that is only looked at is written without allocating.
#[inline]
pub fn with_buffer<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, so that `f` may come back here.
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    }
    result
}

/// A larger buffer than this is for a rare request, and given back.
const KEPT: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header;

    use super::*;

    fn target(uri: &str, host: &str) -> Vec<u8> {
        let request = Request::get(uri).header("host", host).body(()).unwrap();
        let mut key = Vec::new();
        KeyBuilder::new(&mut key).target(&request.into_parts().0);
        key
    }

    #[test]
    fn parts_of_any_length_stay_apart() {
        let key = |first: usize, second: usize| {
            let mut key = Vec::new();
            let parts = (vec![b'a'; first], vec![b'a'; second]);
            KeyBuilder::new(&mut key).part(parts.0).part(parts.1);
            key
        };
        for (one, other) in [
            ((1, 2), (2, 1)),
            ((254, 255), (255, 254)),
            ((300, 0), (0, 300)),
        ] {
            assert_ne!(key(one.0, one.1), key(other.0, other.1));
        }
        // A length of 255 is no sign of a longer one.
        assert_ne!(key(255, 1), key(263, 1));
    }

    #[test]
    fn a_field_that_was_found_reads_as_one_that_was_looked_up() {
        let names = [header::ACCEPT, header::COOKIE];
        let place = |name: &HeaderName| names.iter().position(|one| one == name);
        for present in [&[][..], &["cookie"], &["accept", "host", "accept"]] {
            let mut headers = HeaderMap::new();
            for (n, name) in present.iter().enumerate() {
                headers.append(*name, n.into());
            }
            let (mut found, mut looked_up) = (Vec::new(), Vec::new());
            let fields: [_; 2] = find(&headers, place);
            for (name, field) in names.iter().zip(fields) {
                KeyBuilder::new(&mut found).found(&headers, name, field);
                KeyBuilder::new(&mut looked_up).field(&headers, name);
            }
            assert_eq!(found, looked_up, "{present:?}");
        }
    }

    #[test]
    fn a_letter_of_upper_case_is_seen_wherever_it_is() {
        for len in [1, 7, 8, 9, 20] {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for around in [b'a', 0, 0xff] {
                        let mut part = vec![around; len];
                        part[at] = byte;
                        assert_eq!(has_upper_case(&part), byte.is_ascii_uppercase());
                    }
                }
            }
        }
        assert!(!has_upper_case(b""));
    }

    #[test]
    fn a_buffer_is_empty_also_inside_of_another() {
        with_buffer(|outer| {
            outer.push(1);
            with_buffer(|inner| {
                assert!(inner.is_empty());
                inner.push(2);
            });
            assert_eq!(*outer, [1]);
        });
        with_buffer(|again| assert!(again.is_empty()));
    }

    #[test]
    fn every_spelling_of_one_target_is_one_key() {
        let one = target("/a?b", "shop");
        for other in [
            target("/a?b", "Shop"),
            target("/a?b", "shop:80"),
            target("http://SHOP/a?b", "ignored"),
            target("http://shop:80/a?b", ""),
        ] {
            assert_eq!(one, other);
        }
        for other in [
            target("https://shop/a?b", ""),
            target("/a?b", "shop:8080"),
            target("/A?b", "shop"),
            target("/a?B", "shop"),
            target("/a", "shop"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(target("https://shop:443/", ""), target("https://shop/", ""));
    }
}
