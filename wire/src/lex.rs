//! The lexical rules that every list-shaped field shares (RFC 9110, section 5.6): tokens, quoted strings, lists, parameters,
//! directives.
//!
//! Everything here borrows from the field, allocates nothing and is linear in its length. A malformed element costs only
//! itself: it is reported as such, or skipped, and its neighbours are still read.

use std::borrow::Cow;

/// Whether `byte` may stand in a token (RFC 9110, 5.6.2).
#[must_use]
pub const fn is_tchar(byte: u8) -> bool {
    TCHARS[byte as usize]
}

/// Looked up, since every byte of every name is asked about.
const TCHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = matches!(byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        byte += 1;
    }
    table
};

/// Whether `bytes` is a token: at least one [`is_tchar`], and nothing else.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// `bytes` without optional white space (spaces and tabs) around it (RFC 9110, 5.6.3).
#[must_use]
pub fn trim_ows(bytes: &[u8]) -> &[u8] {
    trim_ows_start(trim_ows_end(bytes))
}

/// The non-empty elements of a comma-separated list, trimmed (RFC 9110, 5.6.1.2: a recipient must accept empty ones).
///
/// A comma inside a quoted string does not separate. A quoted string that never ends takes the rest of the field with it.
///
/// ```
/// let found: Vec<_> = buttress_wire::lex::elements(b"a, ,\"b,c\" ;d,").collect();
/// assert_eq!(found, [&b"a"[..], b"\"b,c\" ;d"]);
/// ```
#[must_use]
pub fn elements(field: &[u8]) -> Elements<'_> {
    Elements { rest: Some(field) }
}

/// The parameters after an element's first value: `rest` is what follows it, from the first `;` on (RFC 9110, 5.6.6).
///
/// Empty parameters (`;;`) are skipped. The first malformed one is reported and ends the iteration.
#[must_use]
pub fn parameters(rest: &[u8]) -> Parameters<'_> {
    Parameters { rest }
}

/// Splits an element at the first `;` outside a quoted string: what stands before it, trimmed, and its parameters.
#[must_use]
pub fn value_and_parameters(element: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = find_unquoted(element, b';').unwrap_or(element.len());
    (trim_ows(&element[..end]), parameters(&element[end..]))
}

/// The elements of a list; see [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.rest {
            let (element, tail) = match find_unquoted(rest, b',') {
                Some(at) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            };
            self.rest = tail;
            let element = trim_ows(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// One `name=value` pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameter<'a> {
    /// A token, as sent; names are compared without regard to case.
    pub name: &'a [u8],
    /// Its value.
    pub value: Value<'a>,
}

/// The parameters of an element; see [`parameters`].
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = trim_ows_start(self.rest);
            let (first, tail) = self.rest.split_first()?;
            if *first != b';' {
                self.rest = &[];
                return Some(Err(Malformed));
            }
            self.rest = trim_ows_start(tail);
            if !matches!(self.rest.first(), None | Some(b';')) {
                return Some(
                    self.parameter()
                        .ok_or(Malformed)
                        .inspect_err(|_| self.rest = &[]),
                );
            }
        }
    }
}

impl<'a> Parameters<'a> {
    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let (name, rest) = split_token(self.rest)?;
        let (value, rest) = Value::split(rest.strip_prefix(b"=")?)?;
        self.rest = rest;
        Some(Parameter { name, value })
    }
}

/// One directive of a field like `Cache-Control`: a name, and perhaps an argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Directive<'a> {
    /// A token, as sent; compared without regard to case.
    pub name: &'a [u8],
    /// What follows the `=`; a token or a quoted string, and both mean the same (RFC 9111, 5.2).
    pub argument: Option<Value<'a>>,
}

impl<'a> Directive<'a> {
    /// Reads one list element. `None` when it is not `token [ "=" ( token / quoted-string ) ]`.
    #[must_use]
    pub fn parse(element: &'a [u8]) -> Option<Self> {
        let (name, rest) = split_token(trim_ows(element))?;
        if rest.is_empty() {
            return Some(Self {
                name,
                argument: None,
            });
        }
        let (value, rest) = Value::split(rest.strip_prefix(b"=")?)?;
        rest.is_empty().then_some(Self {
            name,
            argument: Some(value),
        })
    }

    /// Whether this directive is called `name` (given in lower case).
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// A parameter's value, as a token or as a quoted string; both spellings of the same bytes are equal in meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// Between the quotes, with its escapes still in it.
    Quoted(&'a [u8]),
    /// A token.
    Token(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes that are meant: escapes undone.
    pub fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        let (raw, quoted) = match self {
            Self::Quoted(raw) => (raw, true),
            Self::Token(raw) => (raw, false),
        };
        let mut rest = raw.iter().copied();
        std::iter::from_fn(move || match rest.next() {
            Some(b'\\') if quoted => rest.next(),
            byte => byte,
        })
    }

    /// The bytes that are meant, borrowed unless there are escapes in them.
    #[must_use]
    pub fn unescaped(self) -> Cow<'a, [u8]> {
        match self {
            Self::Quoted(raw) if raw.contains(&b'\\') => self.bytes().collect(),
            Self::Quoted(raw) | Self::Token(raw) => Cow::Borrowed(raw),
        }
    }

    /// Whether `other` is meant, byte for byte.
    #[must_use]
    pub fn is(self, other: &[u8]) -> bool {
        self.bytes().eq(other.iter().copied())
    }

    /// Whether `other` is meant, without regard to ASCII case.
    #[must_use]
    pub fn is_ignore_case(self, other: &[u8]) -> bool {
        let lower = |byte: u8| byte.to_ascii_lowercase();
        self.bytes().map(lower).eq(other.iter().copied().map(lower))
    }

    /// Splits a token or a quoted string off the front.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let Some(inside) = bytes.strip_prefix(b"\"") else {
            return split_token(bytes).map(|(token, rest)| (Self::Token(token), rest));
        };
        let end = closing_quote(inside)?;
        Some((Self::Quoted(&inside[..end]), &inside[end + 1..]))
    }
}

/// An element that does not follow the grammar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed field element")
    }
}

impl std::error::Error for Malformed {}

fn trim_ows_start(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|b| !is_ows(*b))
        .unwrap_or(bytes.len());
    &bytes[start..]
}

fn trim_ows_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|b| !is_ows(*b))
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn split_token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .position(|b| !is_tchar(*b))
        .unwrap_or(bytes.len());
    (end > 0).then(|| bytes.split_at(end))
}

/// Where `wanted` first stands outside a quoted string.
fn find_unquoted(bytes: &[u8], wanted: u8) -> Option<usize> {
    let stops = |byte: &u8| *byte == wanted || *byte == b'"';
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(stops)?;
        if bytes[at] == wanted {
            return Some(at);
        }
        from = at + 1 + skip_quoted(&bytes[at + 1..]);
    }
}

/// How many bytes of `inside` belong to the quoted string it starts in, its closing quote included.
fn skip_quoted(inside: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = inside.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    inside.len()
}

/// Where the quoted string that `inside` starts in is closed, if every byte of it may stand there (RFC 9110, 5.6.4).
fn closing_quote(inside: &[u8]) -> Option<usize> {
    let allowed = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let mut at = 0;
    loop {
        match *inside.get(at)? {
            b'"' => return Some(at),
            b'\\' if allowed(*inside.get(at + 1)?) => at += 2,
            byte if byte != b'\\' && allowed(byte) => at += 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_elements(field: &str, expected: &[&str]) {
        let found: Vec<_> = elements(field.as_bytes())
            .map(|e| std::str::from_utf8(e).unwrap())
            .collect();
        assert_eq!(found, expected, "{field:?}");
    }

    #[test]
    fn a_list_is_split_at_commas_outside_quotes() {
        check_elements("", &[]);
        check_elements(" , ,\t,", &[]);
        check_elements("a", &["a"]);
        check_elements(" a , b\t,c", &["a", "b", "c"]);
        check_elements(r#"a;x="1,2", b"#, &[r#"a;x="1,2""#, "b"]);
        check_elements(r#"a;x="\",", b"#, &[r#"a;x="\",""#, "b"]);
        check_elements(r#"a, "never ends, b"#, &["a", r#""never ends, b"#]);
        check_elements(
            r#"a, "ends in an escape\"#,
            &["a", r#""ends in an escape\"#],
        );
    }

    #[track_caller]
    fn check_parameters(rest: &str, expected: &[Result<(&str, &str), Malformed>]) {
        let found: Vec<_> = parameters(rest.as_bytes())
            .map(|p| p.map(|p| (p.name.to_vec(), p.value.unescaped().into_owned())))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|e| e.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())))
            .collect();
        assert_eq!(found, expected, "{rest:?}");
    }

    #[test]
    fn parameters_follow_the_grammar() {
        check_parameters("", &[]);
        check_parameters(" ; ;", &[]);
        check_parameters(
            ";a=1;b=\"2\" ; c=3",
            &[Ok(("a", "1")), Ok(("b", "2")), Ok(("c", "3"))],
        );
        check_parameters(r#";a="x\"y;z""#, &[Ok(("a", "x\"y;z"))]);
        check_parameters(";a=\"\"", &[Ok(("a", ""))]);
        check_parameters(";a=;b=1", &[Err(Malformed)]);
        check_parameters(";a;b=1", &[Err(Malformed)]);
        check_parameters(";a = 1", &[Err(Malformed)]);
        check_parameters(";a=1 2;b=3", &[Ok(("a", "1")), Err(Malformed)]);
        check_parameters(";a=\"1\"2", &[Ok(("a", "1")), Err(Malformed)]);
        check_parameters(";a=\"never ends", &[Err(Malformed)]);
        check_parameters(";a=\"bell\u{7}\"", &[Err(Malformed)]);
        check_parameters("a=1", &[Err(Malformed)]);
    }

    #[test]
    fn a_value_is_what_it_means_and_not_how_it_is_spelled() {
        let token = Value::Token(b"utf-8");
        let quoted = Value::Quoted(br"utf\-8");
        for value in [token, quoted] {
            assert!(value.is(b"utf-8"));
            assert!(value.is_ignore_case(b"UTF-8"));
            assert!(!value.is(b"UTF-8"));
            assert!(!value.is(b"utf-"));
            assert_eq!(&*value.unescaped(), b"utf-8");
        }
        assert!(
            Value::Token(br"a\b").is(br"a\b"),
            "only a quoted string has escapes"
        );
    }

    #[test]
    fn directives_take_tokens_and_quoted_strings() {
        let parse = |s: &'static str| Directive::parse(s.as_bytes());
        assert!(parse("No-Store").unwrap().is("no-store"));
        assert!(parse("max-age=60").unwrap().argument.unwrap().is(b"60"));
        assert!(parse("max-age=\"60\"").unwrap().argument.unwrap().is(b"60"));
        for bad in [
            "",
            "=",
            "max-age=",
            "max-age =60",
            "max-age= 60",
            "a b",
            "x=\"1\"2",
            "x=\"1",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_element_is_cut_into_value_and_parameters() {
        let (value, mut rest) = value_and_parameters(b"text/html ;q=0.5");
        assert_eq!(value, b"text/html");
        assert_eq!(rest.next().unwrap().unwrap().name, b"q");
        assert_eq!(value_and_parameters(b"\"a;b\";c=d").0, b"\"a;b\"");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_every_element_is_inside_the_field(field: Vec<u8>) {
            for element in elements(&field) {
                assert!(!element.is_empty() && element.len() <= field.len());
                let (_, parameters) = value_and_parameters(element);
                assert!(parameters.count() <= element.len());
                let _ = Directive::parse(element);
            }
        }

        #[test]
        fn quoting_a_token_changes_nothing(token in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}") {
            let plain = format!(";p={token}");
            let quoted = format!(";p=\"{token}\"");
            let value = |rest: &str| {
                parameters(rest.as_bytes()).next().unwrap().unwrap().value.unescaped().into_owned()
            };
            assert_eq!(value(&plain), value(&quoted));
        }
    }
}
