//! What travels with a request beside its trace: names and values, as W3C Baggage.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::ascii::{self, trim};
use crate::{Extracted, Propagator, TraceContext};

pub(crate) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Names and values that travel with a request ([W3C Baggage](https://www.w3.org/TR/baggage/)).
///
/// Kept as the bytes that came: a member is decoded when it is asked for, and what is not touched goes out byte for byte.
/// Members that the grammar does not allow are left out, and so is what stands beyond 64 members or 8192 bytes
/// over all lines of a message together; a member is never cut. Cloning allocates nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Baggage(Option<HeaderValue>);

/// One member of a [`Baggage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaggageMember<'a> {
    key: &'a [u8],
    value: &'a [u8],
    properties: &'a [u8],
}

/// Why a member was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BaggageError {
    /// The key is not a token (RFC 9110, 5.6.2).
    Key,
    /// There would be more than 64 members or 8192 bytes.
    Full,
}

/// The `baggage` fields, as a [`Propagator`] beside one that reads the trace: `(W3c, BaggageFields)`.
///
/// Baggage is taken in only from callers whose trace may go on ([`Trust::Continue`](crate::Trust::Continue)).
#[derive(Clone, Copy, Debug, Default)]
pub struct BaggageFields;

/// What a value must not hold as it is: anything but `%x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E`, and the escape itself.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

impl Baggage {
    pub(crate) const EMPTY: Self = Self(None);
    /// The most members that are taken.
    pub const MAX_MEMBERS: usize = 64;
    /// The most bytes that are taken, commas included.
    pub const MAX_LEN: usize = 8192;

    /// Reads every `baggage` line of a message, in their order, as one list.
    ///
    /// One line that is valid throughout is kept without a copy.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(&BAGGAGE).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::default(),
            (Some(line), None) if is_whole(line.as_bytes()) => Self(Some(line.clone())),
            _ => {
                let lines = headers.get_all(&BAGGAGE).iter();
                Self::of(lines.flat_map(|line| raw_members(line.as_bytes())))
            }
        }
    }

    /// As many of these members as there is room for.
    fn of<'a>(members: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut list = Vec::new();
        let valid = members.filter(|member| BaggageMember::parse(member).is_some());
        for member in valid.take(Self::MAX_MEMBERS) {
            if list.len() + member.len() + usize::from(!list.is_empty()) > Self::MAX_LEN {
                break;
            }
            push(&mut list, member);
        }
        Self::joined(list)
    }

    fn joined(list: Vec<u8>) -> Self {
        let value = (!list.is_empty()).then(|| {
            HeaderValue::from_maybe_shared(Bytes::from(list)).expect("members are visible ASCII")
        });
        Self(value)
    }

    /// The members, in order.
    pub fn iter(&self) -> impl Iterator<Item = BaggageMember<'_>> {
        raw_members(self.as_bytes()).filter_map(BaggageMember::parse)
    }

    /// The decoded value of the first member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .find(|member| member.key == key.as_bytes())
            .map(|member| member.value())
    }

    /// Whether there are no members. An empty baggage is never sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a member, in place of every other with its key. The value may be any text: it is encoded, and
    /// nothing in it can become a member, a property or a field of its own.
    ///
    /// # Errors
    ///
    /// When the key is not a token, or there is no room; the baggage is then unchanged.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), BaggageError> {
        if !is_token(key.as_bytes()) {
            return Err(BaggageError::Key);
        }
        let mut list = self.list_of(|member| member.key != key.as_bytes());
        let member = format!("{key}={}", utf8_percent_encode(value, ESCAPED));
        push(&mut list, member.as_bytes());
        let is_full = list.len() > Self::MAX_LEN || raw_members(&list).count() > Self::MAX_MEMBERS;
        if is_full {
            return Err(BaggageError::Full);
        }
        *self = Self::joined(list);
        Ok(())
    }

    /// Removes every member with this key.
    pub fn remove(&mut self, key: &str) {
        self.retain(|other| other != key);
    }

    /// Keeps only members whose keys are wanted: each is asked for once, in their order. If all are, the bytes stay as they are.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&str) -> bool) {
        let Some(first_out) = self.iter().position(|member| !is_wanted(member.key())) else {
            return;
        };
        let mut seen = 0;
        let list = self.list_of(|member| {
            seen += 1;
            let is_asked = seen > first_out + 1;
            seen <= first_out || (is_asked && is_wanted(member.key()))
        });
        *self = Self::joined(list);
    }

    fn list_of(&self, mut is_wanted: impl FnMut(&BaggageMember<'_>) -> bool) -> Vec<u8> {
        let mut list = Vec::with_capacity(self.as_bytes().len() + 64);
        for raw in raw_members(self.as_bytes()) {
            if BaggageMember::parse(raw).is_some_and(|member| is_wanted(&member)) {
                push(&mut list, raw);
            }
        }
        list
    }

    /// The field value; `None` if there are no members.
    #[must_use]
    pub fn to_header_value(&self) -> Option<HeaderValue> {
        self.0.clone()
    }

    /// The field value; empty if there are no members.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], HeaderValue::as_bytes)
    }
}

impl<'a> BaggageMember<'a> {
    /// `key OWS "=" OWS value *( OWS ";" OWS property )`
    fn parse(member: &'a [u8]) -> Option<Self> {
        let (pair, properties) = match member.iter().position(|&byte| byte == b';') {
            Some(at) => (&member[..at], &member[at + 1..]),
            None => (member, &[][..]),
        };
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (trim(&pair[..equals]), trim(&pair[equals + 1..]));
        let is_valid = is_token(key)
            && value.iter().all(|&b| is_octet(b))
            && are_properties(member, properties);
        is_valid.then_some(Self {
            key,
            value,
            properties,
        })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a str {
        ascii::as_str(self.key)
    }

    /// The value, decoded. What is not UTF-8 becomes `U+FFFD`.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        percent_decode(self.value).decode_utf8_lossy()
    }

    /// The properties as they came, without the first semicolon; empty if there are none. They stay encoded.
    #[must_use]
    pub fn properties(&self) -> &'a str {
        ascii::as_str(self.properties)
    }
}

/// Whether the line can be kept as it is.
fn is_whole(line: &[u8]) -> bool {
    line.len() <= Baggage::MAX_LEN
        && !line.is_empty()
        && raw_members(line).count() <= Baggage::MAX_MEMBERS
        && line
            .split(|&byte| byte == b',')
            .all(|member| BaggageMember::parse(trim(member)).is_some())
}

fn raw_members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

fn push(list: &mut Vec<u8>, member: &[u8]) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(member);
}

/// `key` or `key OWS "=" OWS value`, each. Where there was a semicolon there is at least one.
fn are_properties(member: &[u8], properties: &[u8]) -> bool {
    let has_none = !member.contains(&b';');
    has_none
        || properties.split(|&byte| byte == b';').all(|property| {
            let mut parts = property.splitn(2, |&byte| byte == b'=');
            let key_ok = parts.next().is_some_and(|key| is_token(trim(key)));
            key_ok
                && parts
                    .next()
                    .is_none_or(|value| trim(value).iter().all(|&b| is_octet(b)))
        })
}

/// `%x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E`
fn is_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

fn is_token(key: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !key.is_empty() && key.iter().all(is_tchar)
}

impl Propagator for BaggageFields {
    /// Baggage is no trace.
    fn extract(&self, _: &HeaderMap) -> Extracted {
        Extracted::Nothing
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        match context.baggage().to_header_value() {
            Some(value) => headers.insert(&BAGGAGE, value),
            None => headers.remove(&BAGGAGE),
        };
    }

    fn baggage(&self, headers: &HeaderMap) -> Option<Baggage> {
        let baggage = Baggage::from_headers(headers);
        (!baggage.is_empty()).then_some(baggage)
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        visit(&BAGGAGE);
    }
}

impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are personal as often as not.
        f.debug_set()
            .entries(self.iter().map(|member| member.key()))
            .finish()
    }
}

impl fmt::Display for BaggageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the key of a baggage member is not a token",
            Self::Full => "baggage has no room for another member",
        })
    }
}

impl Error for BaggageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Baggage {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&BAGGAGE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Baggage::from_headers(&headers)
    }

    fn text(baggage: &Baggage) -> &str {
        ascii::as_str(baggage.as_bytes())
    }

    #[test]
    fn what_is_valid_is_kept_byte_for_byte() {
        for line in [
            "a=1",
            "a=1,b=2",
            "a = 1 , b=\t2",
            "a=1;p;q=2,b=",
            "a=k%3Dv=w",
            "a=%FF%zz",
            "a=1;p = v ;q",
        ] {
            assert_eq!(text(&read(&[line])), line);
        }
    }

    #[test]
    fn a_bad_member_goes_alone() {
        for (lines, kept) in [
            (&["a=1,b,c=3"][..], "a=1,c=3"),
            (&["=1,c=3"], "c=3"),
            (&["a b=1,c=3"], "c=3"),
            (&["a=x y,c=3"], "c=3"),
            (&["a=\"x\",c=3"], "c=3"),
            (&["a=1;,c=3"], "c=3"),
            (&["a=1;p q,c=3"], "c=3"),
            (&["a=\u{e9},c=3"], "c=3"),
            (&["a=1", "b=2, ,c=3"], "a=1,b=2,c=3"),
            (&["", ","], ""),
        ] {
            let baggage = read(lines);
            assert_eq!(text(&baggage), kept, "{lines:?}");
            assert_eq!(baggage.is_empty(), kept.is_empty());
        }
    }

    #[test]
    fn values_are_decoded_when_asked_for() {
        let baggage = read(&["a=%C3%A9%2C%20,b=%FF;secret=%2C"]);
        assert_eq!(baggage.get("a").unwrap(), "\u{e9}, ");
        assert_eq!(baggage.get("b").unwrap(), "\u{fffd}");
        assert_eq!(baggage.iter().nth(1).unwrap().properties(), "secret=%2C");
        assert_eq!(baggage.get("c"), None);
    }

    #[test]
    fn the_limits_hold_over_all_lines_together() {
        let lines: Vec<_> = (0..70).map(|i| format!("k{i}=1")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(read(&lines).iter().count(), 64);
        assert_eq!(read(&[&lines.join(",")]).iter().count(), 64);
        let big = format!("a={}", "v".repeat(5000));
        let kept = read(&[&big, &big.replace('a', "b"), "c=1"]);
        assert_eq!(
            kept.iter().count(),
            1,
            "no part of a member, and none past it"
        );
        let exactly = format!("a={}", "v".repeat(8190));
        assert_eq!(text(&read(&[&exactly])), exactly);
        assert!(read(&[&format!("{exactly}v")]).is_empty());
    }

    #[test]
    fn an_inserted_value_smuggles_nothing() {
        let mut baggage = read(&["a=1;p,b=2,a=3"]);
        baggage.insert("a", "x,evil=1;p\r\nq: r%2C\u{e9}").unwrap();
        assert_eq!(
            text(&baggage),
            "b=2,a=x%2Cevil=1%3Bp%0D%0Aq:%20r%252C%C3%A9"
        );
        assert_eq!(baggage.get("a").unwrap(), "x,evil=1;p\r\nq: r%2C\u{e9}");
        assert_eq!(baggage.insert("a=b", "1"), Err(BaggageError::Key));
        assert_eq!(baggage.insert("", "1"), Err(BaggageError::Key));
        let huge = "v".repeat(Baggage::MAX_LEN);
        let before = baggage.clone();
        assert_eq!(baggage.insert("c", &huge), Err(BaggageError::Full));
        assert_eq!(baggage, before);
    }

    #[test]
    fn only_the_wanted_stay() {
        let mut baggage = read(&["a=1 , b=2;p,c=3"]);
        baggage.retain(|_| true);
        assert_eq!(text(&baggage), "a=1 , b=2;p,c=3");
        baggage.retain(|key| key != "a");
        assert_eq!(text(&baggage), "b=2;p,c=3");
        baggage.remove("b");
        baggage.remove("c");
        assert!(baggage.to_header_value().is_none());
    }

    #[test]
    fn whoever_says_what_stays_is_asked_once_for_each() {
        for (members, kept, expected) in [
            ("a=1,b=2,a=3,c=4,b=5", "a=1,b=2,c=4", "abacb"),
            ("a = 1 , b=2", "a = 1 , b=2", "ab"),
            ("a=1,a=2", "a=1", "aa"),
        ] {
            let mut baggage = read(&[members]);
            let mut asked = String::new();
            baggage.retain(|key| {
                let is_first = !asked.contains(key);
                asked.push_str(key);
                is_first
            });
            assert_eq!((text(&baggage), &asked[..]), (kept, expected));
        }
    }
}
