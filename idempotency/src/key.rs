//! The `Idempotency-Key` field (draft-ietf-httpapi-idempotency-key-header-07, section 2.1), and what a record is filed under.

use std::borrow::Cow;
use std::fmt;

use buttress_wire::key::{Field, KeyBuilder};
use buttress_wire::lex::trim_ows;
use http::request;

use crate::fingerprint::Hash;

/// How a key may be spelled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Syntax {
    /// As the draft says, a structured-field string, `"k"`; or bare, `k`, as most clients send it. Both are one key.
    #[default]
    Lenient,
    /// Only as the draft says.
    Strict,
}

impl Syntax {
    /// Reads the value of a field, as the layer does: the key, without quotes and escapes.
    ///
    /// ```
    /// use buttress_idempotency::{KeyError, Syntax};
    ///
    /// assert_eq!(*Syntax::Lenient.parse(b"k1").unwrap(), *b"k1");
    /// assert_eq!(*Syntax::Strict.parse(b"\"k1\"").unwrap(), *b"k1");
    /// assert_eq!(Syntax::Strict.parse(b"k1"), Err(KeyError::Malformed));
    /// ```
    ///
    /// # Errors
    ///
    /// When it is not a key of 1 to 255 characters.
    pub fn parse(self, field: &[u8]) -> Result<Cow<'_, [u8]>, KeyError> {
        ClientKey::parse(field, self, MAX_KEY).map(|key| key.0)
    }
}

/// Why a field is not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyError {
    /// It is neither a quoted string nor bare printable characters, or it is empty.
    Malformed,
    /// There is more than one field.
    Repeated,
    /// It has more characters than it may.
    TooLong,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the key is neither a quoted string nor bare printable characters",
            Self::Repeated => "there is more than one key",
            Self::TooLong => "the key is too long",
        })
    }
}

impl std::error::Error for KeyError {}

/// A client's key: 1 to 255 printable ASCII characters. Borrowed unless it was escaped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClientKey<'a>(Cow<'a, [u8]>);

/// Longer keys are refused before anything else is done with them.
pub(crate) const MAX_KEY: usize = 255;

impl<'a> ClientKey<'a> {
    /// The key of a request: `None` when it has none.
    pub(crate) fn of(
        field: Field<'a>,
        syntax: Syntax,
        at_most: usize,
    ) -> Result<Option<Self>, KeyError> {
        match field {
            Field::Absent => Ok(None),
            Field::Once(line) => Self::parse(line.as_bytes(), syntax, at_most).map(Some),
            Field::Repeated => Err(KeyError::Repeated),
        }
    }

    /// Reads the value of a field.
    pub(crate) fn parse(line: &'a [u8], syntax: Syntax, at_most: usize) -> Result<Self, KeyError> {
        // Two quotes, and every character escaped, is the longest spelling of the longest key.
        if line.len() > 2 * MAX_KEY + 2 {
            return Err(KeyError::TooLong);
        }
        let line = trim_ows(line);
        let key = match line.strip_prefix(b"\"") {
            Some(rest) => unquote(rest)?,
            None if syntax == Syntax::Lenient && is_bare(line) => Cow::Borrowed(line),
            None => return Err(KeyError::Malformed),
        };
        match key.len() {
            0 => Err(KeyError::Malformed),
            length if length > at_most => Err(KeyError::TooLong),
            _ => Ok(Self(key)),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The inside of a structured-field string, after its opening quote (RFC 9651, section 4.2.5). Parameters are not for a key.
fn unquote(rest: &[u8]) -> Result<Cow<'_, [u8]>, KeyError> {
    let inside = rest.strip_suffix(b"\"").ok_or(KeyError::Malformed)?;
    if inside.iter().any(|byte| !matches!(byte, 0x20..=0x7e)) {
        return Err(KeyError::Malformed);
    }
    if !inside.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return Ok(Cow::Borrowed(inside));
    }
    let (mut unescaped, mut bytes) = (Vec::with_capacity(inside.len()), inside.iter());
    while let Some(byte) = bytes.next() {
        unescaped.push(match byte {
            b'"' => return Err(KeyError::Malformed),
            b'\\' => match bytes.next() {
                Some(byte @ (b'"' | b'\\')) => *byte,
                _ => return Err(KeyError::Malformed),
            },
            byte => *byte,
        });
    }
    Ok(Cow::Owned(unescaped))
}

/// What cannot be anything but one key: no spaces, no separators, no quotes.
fn is_bare(text: &[u8]) -> bool {
    let is_of_key = |byte: &u8| matches!(byte, 0x21..=0x7e) && !b"\",;\\".contains(byte);
    text.iter().all(is_of_key)
}

/// What a record is filed under: a keyed BLAKE3 of scope, method, authority, [route](crate::IdempotencyLayer::route) and the client's key. No two of them can be made to meet. With a
/// [secret of yours](crate::IdempotencyLayer::secret) nothing of them can be guessed from it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct RecordKey([u8; 32]);

impl RecordKey {
    pub(crate) fn new(
        secret: &[u8; 32],
        scope: &[u8],
        parts: &request::Parts,
        route: &str,
        key: &ClientKey<'_>,
    ) -> Self {
        let mut hash = Hash::new(Some(secret));
        KeyBuilder::new(&mut hash)
            .part(scope)
            .part(parts.method.as_str())
            .authority(parts)
            .part(route)
            .part(key.as_bytes());
        Self(hash.finish())
    }

    /// A key from its bytes, as a store keeps it.
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

/// In hexadecimal.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use buttress_wire::key::find;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("idempotency-key");

    fn parse(lines: &[&str], syntax: Syntax) -> Result<Option<Vec<u8>>, KeyError> {
        let line = |line: &&str| (NAME, HeaderValue::from_str(line).unwrap());
        let headers: HeaderMap = lines.iter().map(line).collect();
        let [field] = find(&headers, |name| (*name == NAME).then_some(0));
        ClientKey::of(field, syntax, MAX_KEY).map(|key| key.map(|key| key.as_bytes().to_vec()))
    }

    #[track_caller]
    fn check(line: &str, expected: Result<&str, KeyError>) {
        let expected = expected.map(|key| Some(key.as_bytes().to_vec()));
        assert_eq!(parse(&[line], Syntax::Lenient), expected, "{line:?}");
    }

    #[test]
    fn quoted_and_bare_are_one_key() {
        check("\"8e03978e-40d5\"", Ok("8e03978e-40d5"));
        check("8e03978e-40d5", Ok("8e03978e-40d5"));
        check(" 8e03978e-40d5 ", Ok("8e03978e-40d5"));
        check(r#""a\"b\\c""#, Ok(r#"a"b\c"#));
        check("\"a b\"", Ok("a b"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "\"a\"b",
            "\"a\";p=1",
            "a b",
            "a,b",
            "a\"b",
            r#""\a""#,
            "a;b",
            "\"a\\\"",
            "\"a\"b\"",
        ] {
            check(bad, Err(KeyError::Malformed));
        }
        assert_eq!(parse(&["a", "a"], Syntax::Lenient), Err(KeyError::Repeated));
        assert_eq!(parse(&[], Syntax::Lenient), Ok(None));
        assert_eq!(parse(&["a"], Syntax::Strict), Err(KeyError::Malformed));
        assert!(parse(&["\"a\""], Syntax::Strict).is_ok());
    }

    #[test]
    fn a_key_has_255_characters_at_most() {
        assert!(parse(&[&"k".repeat(255)], Syntax::Lenient).is_ok());
        assert_eq!(
            parse(&[&"k".repeat(256)], Syntax::Lenient),
            Err(KeyError::TooLong)
        );
        assert_eq!(
            parse(&[&"k".repeat(10_000)], Syntax::Lenient),
            Err(KeyError::TooLong)
        );
        let escaped = format!("\"{}\"", "\\\"".repeat(255));
        assert!(parse(&[&escaped], Syntax::Strict).is_ok());
    }

    #[test]
    fn a_record_key_tells_scope_method_path_and_key_apart() {
        let key = |scope: &str, method: &str, path: &str, key: &str| {
            let request = http::Request::builder()
                .method(method)
                .uri(path)
                .body(())
                .unwrap();
            let key = ClientKey::parse(key.as_bytes(), Syntax::Lenient, MAX_KEY).unwrap();
            let head = request.into_parts().0;
            RecordKey::new(&[0; 32], scope.as_bytes(), &head, head.uri.path(), &key)
        };
        let base = key("a", "POST", "/o", "k");
        assert_eq!(
            base,
            key("a", "POST", "/o?x=1", "k"),
            "the query is for the fingerprint"
        );
        for other in [
            key("b", "POST", "/o", "k"),
            key("a", "PATCH", "/o", "k"),
            key("a", "POST", "/p", "k"),
            key("a", "POST", "/o", "l"),
            key("aP", "OST", "/o", "k"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_record_key_tells_hosts_apart_wherever_they_are_written() {
        let key = |uri: &str, host: &str| {
            let request = http::Request::post(uri)
                .header(http::header::HOST, host)
                .body(())
                .unwrap();
            let key = ClientKey::parse(b"k", Syntax::Lenient, MAX_KEY).unwrap();
            let head = request.into_parts().0;
            RecordKey::new(&[0; 32], b"", &head, head.uri.path(), &key)
        };
        let base = key("/o", "a.example");
        assert_eq!(base, key("/o", "A.Example"));
        assert_eq!(base, key("https://a.EXAMPLE/o", "b.example"));
        assert_ne!(base, key("/o", "b.example"));
        assert_ne!(base, key("/o", "a.example:81"));
        assert_ne!(base, key("https://b.example/o", "a.example"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = ClientKey::parse(&bytes, Syntax::Lenient, MAX_KEY);
            let _ = ClientKey::parse(&bytes, Syntax::Strict, MAX_KEY);
        }
    }
}
