//! Which parts of a query tell two targets apart: by choice of this cache's owner, or by the origin's own word (No-Vary-Search).

use std::borrow::Cow;
use std::sync::Arc;

use buttress_wire::key::KeyBuilder;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// `No-Vary-Search` (draft-ietf-httpbis-no-vary-search).
const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// The parameters that count, by choice. What is not certain to be a parameter that counts for nothing, counts.
#[derive(Clone, Debug, Default)]
pub(super) enum Params {
    #[default]
    All,
    /// All but these; a name that ends in `*` stands for all that begin so.
    Except(Arc<[String]>),
    /// These alone.
    Only(Arc<[String]>),
}

impl Params {
    /// The query without what does not count; `None` when nothing is left of it.
    pub(super) fn of<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        if matches!(self, Self::All) || query.split('&').all(|param| self.counts(param)) {
            return Some(Cow::Borrowed(query));
        }
        let kept: Vec<_> = query
            .split('&')
            .filter(|param| self.counts(param))
            .collect();
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }

    fn counts(&self, param: &str) -> bool {
        let name = param.split('=').next().unwrap_or_default();
        match self {
            Self::All => true,
            // An origin may read another name out of these.
            _ if param.contains(';') => true,
            Self::Only(_) if name.contains(['%', '+']) => true,
            Self::Except(names) => !names.iter().any(|pattern| is(name, pattern)),
            Self::Only(names) => names.iter().any(|pattern| is(name, pattern)),
        }
    }
}

fn is(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// What an origin says of its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SearchRule {
    /// Their order counts.
    ordered: bool,
    params: Ignored,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Ignored {
    AllBut(Vec<Vec<u8>>),
    These(Vec<Vec<u8>>),
}

impl SearchRule {
    /// `None` where all of the query counts as it is: also where the field is broken.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<_> = headers
            .get_all(NO_VARY_SEARCH)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if lines.is_empty() {
            return None;
        }
        let members: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let mut rule = Self {
            ordered: true,
            params: Ignored::These(Vec::new()),
        };
        if let Some(key_order) = members.get("key-order") {
            rule.ordered = !boolean(key_order)?;
        }
        let except = members.get("except").map(strings);
        match (members.get("params"), except) {
            (None, None) => {}
            (Some(all), None) if boolean(all) == Some(false) => {}
            (Some(all), except) if boolean(all) == Some(true) => {
                rule.params = Ignored::AllBut(except.unwrap_or(Some(Vec::new()))?);
            }
            (Some(list), None) => rule.params = Ignored::These(strings(list)?),
            // What is excepted is excepted from all.
            _ => return None,
        }
        (rule != Self::default()).then_some(rule)
    }

    pub(super) fn weight(&self) -> usize {
        let (Ignored::AllBut(names) | Ignored::These(names)) = &self.params;
        let names = names.iter().map(|name| size_of::<Vec<u8>>() + name.len());
        size_of::<Self>() + names.sum::<usize>()
    }

    /// Whether order counts, whether the names are all that count, and the names.
    pub(super) fn words(&self) -> (bool, bool, &[Vec<u8>]) {
        match &self.params {
            Ignored::AllBut(names) => (self.ordered, true, names),
            Ignored::These(names) => (self.ordered, false, names),
        }
    }

    #[cfg(feature = "l2")]
    pub(super) fn from_words(ordered: bool, all_but: bool, names: Vec<Vec<u8>>) -> Self {
        let params = match all_but {
            true => Ignored::AllBut(names),
            false => Ignored::These(names),
        };
        Self { ordered, params }
    }

    /// Appends the rule itself, so that no two rules read the same. Processes share keys: versions of this crate have to write alike.
    pub(super) fn write_self(&self, key: &mut Vec<u8>) {
        let (ordered, all_but, names) = self.words();
        key.extend([u8::from(ordered), u8::from(all_but)]);
        let mut all = Vec::new();
        let mut builder = KeyBuilder::new(&mut all);
        for name in names {
            builder.part(name);
        }
        KeyBuilder::new(key).part(all);
    }

    /// Appends what counts of a query, so that two of them read the same exactly if they are equivalent.
    pub(super) fn write(&self, key: &mut Vec<u8>, query: Option<&str>) {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| self.counts(name)).collect();
        if !self.ordered {
            // Those of one name stay in order.
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
        }
        // As one part: whatever a key goes on with, it is none of them.
        let mut all = Vec::new();
        let mut builder = KeyBuilder::new(&mut all);
        for (name, value) in &pairs {
            builder.part(name).part(value);
        }
        KeyBuilder::new(key).part(all);
    }

    fn counts(&self, name: &[u8]) -> bool {
        match &self.params {
            Ignored::AllBut(names) => names.iter().any(|kept| kept == name),
            Ignored::These(names) => !names.iter().any(|gone| gone == name),
        }
    }
}

impl Default for SearchRule {
    /// That all of it counts.
    fn default() -> Self {
        Self {
            ordered: true,
            params: Ignored::These(Vec::new()),
        }
    }
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Boolean(value) => Some(value),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// Names are written as in a query.
fn strings(entry: &ListEntry) -> Option<Vec<Vec<u8>>> {
    let ListEntry::InnerList(list) = entry else {
        return None;
    };
    let name = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(name) => Some(decoded(name.as_str())),
        _ => None,
    };
    list.items.iter().map(name).collect()
}

/// As `application/x-www-form-urlencoded` has it. What is no escape stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%').then(|| escape(bytes.get(at + 1..at + 3)?));
        match escaped.flatten() {
            Some(escaped) => {
                decoded.push(escaped);
                at += 3;
            }
            None => {
                decoded.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    decoded
}

fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let (high, low) = (digit(digits.first()?)?, digit(digits.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(params: &Params, query: Option<&str>, expected: Option<&str>) {
        assert_eq!(
            params.of(query).as_deref(),
            expected,
            "{params:?} {query:?}"
        );
    }

    fn names(names: &[&str]) -> Arc<[String]> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_ignored_goes_and_nothing_else() {
        for query in [None, Some(""), Some("a=1&&b"), Some("utm_x=1")] {
            check(&Params::All, query, query);
        }
        let except = Params::Except(names(&["utm_*", "sid"]));
        for (query, expected) in [
            (None, None),
            (Some(""), Some("")),
            (Some("a=1&utm_source=x&b=2"), Some("a=1&b=2")),
            (Some("utm_source=x"), None),
            (Some("sid"), None),
            (Some("sidx=1&Sid=2"), Some("sidx=1&Sid=2")),
            (Some("utm%5Fsource=x"), Some("utm%5Fsource=x")),
        ] {
            check(&except, query, expected);
        }
        let only = Params::Only(names(&["page", "q"]));
        for (query, expected) in [
            (Some("q=1&x=2&page=3"), Some("q=1&page=3")),
            (Some("x"), None),
            (Some("%70age=3&x=1"), Some("%70age=3")),
            (Some("x=1;page=2"), Some("x=1;page=2")),
        ] {
            check(&only, query, expected);
        }
    }

    fn rule(field: &'static str) -> Option<SearchRule> {
        let line = (NO_VARY_SEARCH, HeaderValue::from_static(field));
        SearchRule::of(&HeaderMap::from_iter([line]))
    }

    #[track_caller]
    fn check_same(field: &'static str, one: &str, other: &str, expected: bool) {
        let rule = rule(field).unwrap();
        let key = |query: &str| {
            let mut key = Vec::new();
            rule.write(&mut key, Some(query));
            key
        };
        assert_eq!(key(one) == key(other), expected, "{field}: {one} {other}");
    }

    #[test]
    fn an_origin_may_say_what_counts() {
        check_same("params=(\"a\")", "a=1&b=2", "b=2", true);
        check_same("params=(\"a\")", "a=1&b=2", "b=3", false);
        check_same("params=(\"a+b\")", "a%20b=1&c", "c=", true);
        check_same("params", "a=1", "", true);
        check_same("params, except=(\"b\")", "a=1&b=2", "b=2&c", true);
        check_same("params, except=(\"b\")", "b=1", "b=2", false);
        check_same("key-order", "a=1&b=2", "b=2&a=1", true);
        check_same("key-order", "a=1&a=2", "a=2&a=1", false);
        check_same("key-order", "a=1&b=2", "a=1b&=2", false);
        check_same("params=(\"x\")", "a=1&b=2", "b=2&a=1", false);
        check_same("params=(\"x\")", "%61=%zz", "a=%zz", true);
    }

    #[test]
    fn what_is_broken_says_nothing() {
        for broken in [
            "",
            "params=?0",
            "key-order=?0",
            "key-order=1",
            "params=a",
            "params=(a)",
            "except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params, except=1",
            "params=(\"a\"",
            "unknown",
        ] {
            assert_eq!(rule(broken), None, "{broken}");
        }
        assert_eq!(SearchRule::of(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(field: Vec<u8>, query in "[ -~]{0,40}") {
            if let Ok(value) = HeaderValue::from_bytes(&field) {
                let headers = HeaderMap::from_iter([(NO_VARY_SEARCH, value)]);
                let _ = SearchRule::of(&headers);
            }
            for field in ["params", "key-order", "params=(\"a\")"] {
                rule(field).unwrap().write(&mut Vec::new(), Some(&query));
            }
        }
    }
}
