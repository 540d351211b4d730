//! What vendors keep about a trace: `tracestate`, as the bytes that came.

use std::error::Error;
use std::fmt;

use http::{HeaderMap, HeaderValue};

use crate::ascii::{self, trim};
use crate::propagate::TRACESTATE;

/// A validated `tracestate` ([W3C Trace Context level 2], 3.3): up to 32 members, newest first.
///
/// One that came in is kept as the bytes that came, and goes out as them: reading one field line allocates
/// nothing, and so does cloning. Several lines are joined (3.3.1.1), which costs the joined value.
///
/// Empty members are legal and are not counted.
///
/// [W3C Trace Context level 2]: https://www.w3.org/TR/trace-context-2/
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TraceState(Option<HeaderValue>);

/// Why a `tracestate` was refused. It is dropped as a whole; the trace goes on without (3.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceStateError {
    /// A key that is not `[a-z0-9]` followed by at most 255 of `[a-z0-9_*/@-]`.
    Key,
    /// A value that is empty, longer than 256, ends in a space, or holds `,`, `=` or anything but printable ASCII.
    Value,
    /// A member without `=`.
    Member,
    /// More than 32 members.
    TooMany,
}

impl TraceState {
    pub(crate) const EMPTY: Self = Self(None);
    /// The most members a list may have.
    pub const MAX_MEMBERS: usize = 32;
    /// The length up to which a list must be handed on (3.3.1.5).
    pub const MAX_LEN: usize = 512;
    /// When a list is too long, members longer than this go first (3.3.1.5).
    const LARGE: usize = 128;

    /// Reads one field value. A value of empty members only is an empty state.
    ///
    /// # Errors
    ///
    /// When a member is not what section 3.3.1 allows, or there are more than 32.
    pub fn parse(value: HeaderValue) -> Result<Self, TraceStateError> {
        let mut count = 0;
        for member in members(value.as_bytes()) {
            validate(member)?;
            count += 1;
        }
        match count {
            0 => Ok(Self(None)),
            1..=Self::MAX_MEMBERS => Ok(Self(Some(value))),
            _ => Err(TraceStateError::TooMany),
        }
    }

    /// Reads every `tracestate` line of a message, in their order, as one list.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), for the joined list.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, TraceStateError> {
        let mut lines = headers.get_all(&TRACESTATE).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Ok(Self(None)),
            (Some(line), None) => Self::parse(line.clone()),
            (Some(_), Some(_)) => {
                let lines = headers.get_all(&TRACESTATE);
                Self::parse(join(lines.iter().map(HeaderValue::as_bytes)))
            }
        }
    }

    /// The members as `(key, value)`, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        members(self.as_bytes())
            .filter_map(split)
            .map(|(k, v)| (ascii::as_str(k), ascii::as_str(v)))
    }

    /// The value of the first member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|member| member.0 == key)
            .map(|member| member.1)
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        members(self.as_bytes()).count()
    }

    /// Whether there are none. An empty state is never sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Puts this member first and removes every other with its key (3.5). The last member makes room if there
    /// were 32 others.
    ///
    /// # Errors
    ///
    /// When key or value are not what section 3.3.1.3 allows; the state is then unchanged.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), TraceStateError> {
        let member = format!("{key}={value}");
        validate_parts(key.as_bytes(), value.as_bytes())?;
        let others = self.without(key.as_bytes()).take(Self::MAX_MEMBERS - 1);
        self.0 = Some(join(std::iter::once(member.as_bytes()).chain(others)));
        Ok(())
    }

    /// Removes every member with this key, and tells whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.get(key).is_some();
        if found {
            self.0 = non_empty(join(self.without(key.as_bytes())));
        }
        found
    }

    /// Shortens the list to `max` characters as section 3.3.1.5 says: whole members only, those longer than 128
    /// characters first, then from the end.
    ///
    /// A list that fits is left byte for byte as it is.
    pub fn truncate(&mut self, max: usize) {
        if self.as_bytes().len() > max {
            self.0 = non_empty(join(Kept::within(max, self.as_bytes()).iter()));
        }
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

    fn without<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        members(self.as_bytes())
            .filter(move |member| split(member).is_none_or(|(other, _)| other != key))
    }
}

/// The members chosen to stay, on the stack: there are at most 32.
struct Kept<'a> {
    members: [&'a [u8]; TraceState::MAX_MEMBERS],
    count: usize,
}

impl<'a> Kept<'a> {
    fn within(max: usize, list: &'a [u8]) -> Self {
        let mut kept = Self {
            members: [&[]; TraceState::MAX_MEMBERS],
            count: 0,
        };
        for (place, member) in kept.members.iter_mut().zip(members(list)) {
            *place = member;
            kept.count += 1;
        }
        while kept.joined_len() > max {
            kept.drop_one();
        }
        kept
    }

    fn drop_one(&mut self) {
        let large = self
            .iter()
            .rposition(|member| member.len() > TraceState::LARGE);
        let victim = large.unwrap_or(self.count - 1);
        self.members[victim..self.count].rotate_left(1);
        self.count -= 1;
    }

    fn joined_len(&self) -> usize {
        self.iter()
            .map(|member| member.len() + 1)
            .sum::<usize>()
            .saturating_sub(1)
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator {
        self.members[..self.count].iter().copied()
    }
}

/// The non-empty members of a list, without the white space around them. A comma is never part of a value.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

fn split(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = member.iter().position(|&byte| byte == b'=')?;
    Some((&member[..equals], &member[equals + 1..]))
}

fn validate(member: &[u8]) -> Result<(), TraceStateError> {
    let (key, value) = split(member).ok_or(TraceStateError::Member)?;
    validate_parts(key, value)
}

fn validate_parts(key: &[u8], value: &[u8]) -> Result<(), TraceStateError> {
    if !is_key(key) {
        return Err(TraceStateError::Key);
    }
    if !is_value(value) {
        return Err(TraceStateError::Value);
    }
    Ok(())
}

/// `( lcalpha / DIGIT ) 0*255( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )`
fn is_key(key: &[u8]) -> bool {
    let starts = matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'));
    starts
        && key.len() <= 256
        && key.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
        )
}

/// `0*255( %x20 / nblk-chr ) nblk-chr`: a leading space counts, a trailing one cannot be.
fn is_value(value: &[u8]) -> bool {
    let ends = value.last().is_some_and(|&byte| byte != b' ');
    ends && value.len() <= 256
        && value
            .iter()
            .all(|&byte| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=')
}

fn join<'a>(parts: impl Iterator<Item = &'a [u8]>) -> HeaderValue {
    let mut joined = Vec::with_capacity(TraceState::MAX_LEN);
    for part in parts {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(part);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).expect("parts of field values")
}

fn non_empty(value: HeaderValue) -> Option<HeaderValue> {
    (!value.is_empty()).then_some(value)
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Display for TraceStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "tracestate has an illegal key",
            Self::Value => "tracestate has an illegal value",
            Self::Member => "tracestate has a member without an equals sign",
            Self::TooMany => "tracestate has more than 32 members",
        })
    }
}

impl Error for TraceStateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<TraceState, TraceStateError> {
        TraceState::parse(HeaderValue::from_bytes(value.as_bytes()).unwrap())
    }

    fn text(state: &TraceState) -> &str {
        ascii::as_str(state.as_bytes())
    }

    #[test]
    fn what_the_grammar_accepts() {
        for value in [
            "a=1",
            "a=1,b=2",
            "a=1 , b=2",
            "a=1\t,\tb=2",
            " a=1 ",
            "a=1,,b=2,",
            "0=0",
            "1a@b=x",
            "a@@b@=x",
            "az09_-*/@=x",
            "a= leading space",
            "a=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~",
            &format!("{}={}", "k".repeat(256), "v".repeat(256)),
        ] {
            let state = parse(value).unwrap_or_else(|e| panic!("{value:?}: {e}"));
            assert_eq!(text(&state), value, "kept byte for byte");
        }
    }

    #[test]
    fn what_the_grammar_refuses() {
        use TraceStateError::{Key, Member, Value};
        for (value, error) in [
            ("a", Member),
            ("a=1,b", Member),
            ("=1", Key),
            ("@a=1", Key),
            ("_a=1", Key),
            ("A=1", Key),
            ("aB=1", Key),
            ("a b=1", Key),
            ("a =1", Key),
            ("a.b=1", Key),
            ("\u{e9}=1", Key),
            ("a=", Value),
            ("a= ", Value),
            ("a=1=2", Value),
            ("a=1\t2", Value),
            ("a=\u{e9}", Value),
            (&format!("{}=1", "k".repeat(257)), Key),
            (&format!("a={}", "v".repeat(257)), Value),
        ] {
            assert_eq!(parse(value), Err(error), "{value:?}");
        }
    }

    #[test]
    fn thirty_two_members_are_the_most() {
        let list = |n: usize| {
            (0..n)
                .map(|i| format!("k{i}={i}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(parse(&list(32)).unwrap().len(), 32);
        assert_eq!(
            parse(&format!(",, ,{},,", list(32))).unwrap().len(),
            32,
            "empty ones do not count"
        );
        assert_eq!(parse(&list(33)), Err(TraceStateError::TooMany));
    }

    #[test]
    fn nothing_but_empty_members_is_an_empty_state() {
        for value in ["", " ", ",", " ,\t, "] {
            let state = parse(value).unwrap();
            assert!(
                state.is_empty() && state.to_header_value().is_none(),
                "{value:?}"
            );
        }
    }

    #[test]
    fn several_lines_are_one_list_in_their_order() {
        let mut headers = HeaderMap::new();
        for line in ["a=1,b=2", "", "c=3", " , ", "d=4"] {
            headers.append(&TRACESTATE, HeaderValue::from_str(line).unwrap());
        }
        let state = TraceState::from_headers(&headers).unwrap();
        let members: Vec<_> = state.iter().collect();
        assert_eq!(members, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        headers.append(&TRACESTATE, HeaderValue::from_static("broken"));
        assert_eq!(
            TraceState::from_headers(&headers),
            Err(TraceStateError::Member)
        );
    }

    #[test]
    fn a_changed_member_moves_to_the_front_and_is_there_once() {
        let mut state = parse("a=1, b=2,a=3 ,c=4").unwrap();
        assert_eq!(
            state.get("a"),
            Some("1"),
            "duplicates pass through until they are touched"
        );
        state.insert("b", "x").unwrap();
        assert_eq!(text(&state), "b=x,a=1,a=3,c=4");
        state.insert("a", "y").unwrap();
        assert_eq!(text(&state), "a=y,b=x,c=4");
        state.insert("new", "z").unwrap();
        assert_eq!(text(&state), "new=z,a=y,b=x,c=4");
        assert!(state.remove("b") && !state.remove("b"));
        assert_eq!(text(&state), "new=z,a=y,c=4");
    }

    #[test]
    fn a_refused_member_changes_nothing() {
        let mut state = parse("a=1").unwrap();
        for (key, value) in [
            ("A", "1"),
            ("", "1"),
            ("k", ""),
            ("k", "a,b=c"),
            ("k", "x "),
            ("k=v", "1"),
        ] {
            assert!(state.insert(key, value).is_err(), "{key:?}={value:?}");
        }
        assert_eq!(text(&state), "a=1");
    }

    #[test]
    fn the_last_of_thirty_two_makes_room() {
        let list: Vec<_> = (0..32).map(|i| format!("k{i}={i}")).collect();
        let mut state = parse(&list.join(",")).unwrap();
        state.insert("new", "1").unwrap();
        assert_eq!(state.len(), 32);
        assert_eq!(
            (state.get("new"), state.get("k30"), state.get("k31")),
            (Some("1"), Some("30"), None)
        );
        state.insert("k3", "again").unwrap();
        assert_eq!(state.len(), 32);
        assert_eq!(state.get("k30"), Some("30"), "replacing makes its own room");
    }

    #[test]
    fn removing_the_last_member_leaves_an_empty_state() {
        let mut state = parse("a=1").unwrap();
        assert!(state.remove("a"));
        assert!(state.is_empty());
    }

    #[test]
    fn large_members_go_first_then_the_end() {
        let large = |key: &str| format!("{key}={}", "v".repeat(127));
        let exactly_128 = format!("e={}", "v".repeat(126));
        for (list, max, kept) in [
            (vec!["a=1".into(), "b=2".into()], 7, "a,b"),
            (vec!["a=1".into(), "b=2".into()], 6, "a"),
            (vec!["a=1".into(), "b=2".into()], 2, ""),
            (vec![large("x"), "a=1".into(), "b=2".into()], 100, "a,b"),
            // One large member is enough: the older one goes, the newer one stays.
            (
                vec![large("x"), "a=1".into(), large("y"), "b=2".into()],
                200,
                "x,a,b",
            ),
            // 128 characters is not yet large.
            (vec![exactly_128.clone(), "a=1".into()], 128, "e"),
            (vec!["a=1".into(), exactly_128, "b=2".into()], 10, "a"),
        ] {
            let mut state = parse(&list.join(",")).unwrap();
            state.truncate(max);
            let keys: Vec<_> = state.iter().map(|member| member.0).collect();
            assert_eq!(keys.join(","), kept, "{list:?} within {max}");
            assert!(state.as_bytes().len() <= max);
        }
    }

    #[test]
    fn white_space_alone_costs_no_member() {
        let mut state = parse(&format!("a=1{},b=2", " ".repeat(600))).unwrap();
        state.truncate(512);
        assert_eq!(text(&state), "a=1,b=2");
    }
}
