//! The fields whose ranges are plain names: `Accept-Charset`, `Accept-Encoding`, `Accept-Language` (RFC 9110, section 12.5).

use buttress_wire::lex::{is_token, value_and_parameters};
use http::header::{
    ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue,
};

use crate::accept::weight_of;
use crate::offers::Limits;
use crate::weight::QValue;

/// A name that was chosen, as the server spells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chosen<'a> {
    /// The name.
    pub name: &'a str,
    /// How much it is wanted; `None`: it is acceptable, and the client states no weight for it.
    pub weight: Option<QValue>,
}

/// The content codings that a server can apply, its favourite first (RFC 9110, section 12.5.3).
///
/// `identity` is one of them only where it is listed; it is acceptable unless the client says otherwise, and wanted least. Without
/// the field, it is chosen. Of equally wanted codings, the server's first is chosen. `x-gzip` and `x-compress` are other names of
/// `gzip` and `compress`.
///
/// ```
/// use buttress_negotiate::Codings;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::ACCEPT_ENCODING, "gzip;q=0.5, br".parse()?);
/// let codings = Codings::new(["gzip", "br", "identity"]);
/// assert_eq!(codings.select(&headers).unwrap().name, "br");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Codings(Names);

/// The charsets that a server can write, its favourite first (RFC 9110, section 12.5.2, which advises against the field).
#[derive(Clone, Debug)]
pub struct Charsets(Names);

/// The languages that a server can speak, its favourite first (RFC 9110, section 12.5.4; RFC 4647).
#[derive(Clone, Debug)]
pub struct Languages(Names);

impl Codings {
    /// Offers these codings.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Names::new(names))
    }

    /// The coding that a request with these headers wants most; `None`: it wants none of them.
    #[must_use]
    pub fn select(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        let identity = |name: &str| name.eq_ignore_ascii_case("identity");
        let absent =
            !headers.contains_key(ACCEPT_ENCODING) || is_over_limits(headers, &ACCEPT_ENCODING);
        self.0.best(|name| {
            match say(headers, ACCEPT_ENCODING, |range| covers_coding(range, name)) {
                Some(weight) => stated(weight),
                None if identity(name) => Some((if absent { u16::MAX } else { 1 }, None)),
                None if absent => Some((1, None)),
                None => None,
            }
        })
    }
}

impl Charsets {
    /// Offers these charsets.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Names::new(names))
    }

    /// The charset that a request with these headers wants most; `None`: it wants none of them. Without the field, or with an empty
    /// one, that is the server's first.
    #[must_use]
    pub fn select(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        if says_nothing(headers, ACCEPT_CHARSET) {
            return self.0.best(|_| stated(QValue::ONE));
        }
        self.0.best(|name| {
            let covers = |range: &[u8]| covers_name(range, name.as_bytes());
            say(headers, ACCEPT_CHARSET, covers).and_then(stated)
        })
    }
}

impl Languages {
    /// Offers these language tags.
    pub fn new<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Names::new(tags))
    }

    /// The language that a request with these headers wants most, by basic filtering (RFC 4647, section 3.3.1): `en` covers `en-GB`,
    /// and `en-GB` does not cover `en`. The longest range that covers a tag decides about it. `None`: none is covered.
    #[must_use]
    pub fn filter(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        if says_nothing(headers, ACCEPT_LANGUAGE) {
            return self.0.best(|_| stated(QValue::ONE));
        }
        self.0.best(|tag| {
            let covers = |range: &[u8]| covers_language(range, tag.as_bytes());
            say(headers, ACCEPT_LANGUAGE, covers).and_then(stated)
        })
    }

    /// The same by extended filtering (RFC 4647, section 3.3.2): `de-DE` covers `de-Latn-DE` as well, and `*-CH` whatever is spoken there.
    #[must_use]
    pub fn filter_extended(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        if says_nothing(headers, ACCEPT_LANGUAGE) {
            return self.0.best(|_| stated(QValue::ONE));
        }
        self.0.best(|tag| {
            let covers = |range: &[u8]| covers_extended(range, tag.as_bytes());
            say(headers, ACCEPT_LANGUAGE, covers).and_then(stated)
        })
    }

    /// What [`lookup`](Self::lookup) finds, or else `default`.
    #[must_use]
    pub fn lookup_or<'a>(&'a self, headers: &HeaderMap, default: &'a str) -> Chosen<'a> {
        self.lookup(headers).unwrap_or(Chosen {
            name: default,
            weight: None,
        })
    }

    /// The language that a request with these headers wants most, by lookup (RFC 4647, section 3.4): `en-GB` is served `en`, where there
    /// is nothing closer. `None`: serve your default.
    #[must_use]
    pub fn lookup(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        self.closest(headers, |range| {
            shorter(range).find_map(|range| {
                let same = |tag: &&str| tag.as_bytes().eq_ignore_ascii_case(range);
                self.0.iter().find(same)
            })
        })
    }

    /// The same with the parents that the Unicode Common Locale Data Repository knows: `zh-TW` is served `zh-Hant` and not `zh`, which
    /// is another script; `en-AU` is served `en-001` rather than `en`. Allocates.
    #[cfg(feature = "cldr")]
    #[must_use]
    pub fn lookup_cldr(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        self.closest(headers, |range| crate::cldr::closest(range, self.0.iter()))
    }

    /// What `find` finds for the range that is wanted most, and finds something.
    fn closest<'a>(
        &'a self,
        headers: &HeaderMap,
        find: impl Fn(&[u8]) -> Option<&'a str>,
    ) -> Option<Chosen<'a>> {
        let (mut best, mut most) = (None, QValue::ZERO);
        for (range, weight) in ranges(headers, ACCEPT_LANGUAGE) {
            if weight > most
                && let Some(name) = find(range)
            {
                most = weight;
                best = Some(Chosen {
                    name,
                    weight: Some(weight),
                });
            }
        }
        best
    }
}

#[derive(Clone, Debug)]
struct Names(Box<[Box<str>]>);

impl Names {
    fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(Box::from).collect())
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The first of the names with the greatest rank.
    fn best(&self, rank: impl Fn(&str) -> Option<(u16, Option<QValue>)>) -> Option<Chosen<'_>> {
        let (mut best, mut most) = (None, 0);
        for name in &self.0 {
            if let Some((rank, weight)) = rank(name).filter(|(rank, _)| *rank > most) {
                (best, most) = (Some(Chosen { name, weight }), rank);
            }
        }
        best
    }
}

/// A stated weight, above every implied one; `None`: refused.
fn stated(weight: QValue) -> Option<(u16, Option<QValue>)> {
    (weight > QValue::ZERO).then(|| (weight.thousandths() + 1, Some(weight)))
}

/// The weight that the most specific range gives; of equally specific ones, the highest.
fn say(
    headers: &HeaderMap,
    field: HeaderName,
    covers: impl Fn(&[u8]) -> Option<usize>,
) -> Option<QValue> {
    ranges(headers, field)
        .filter_map(|(range, weight)| Some((covers(range)?, weight)))
        .max()
        .map(|(_, weight)| weight)
}

fn says_nothing(headers: &HeaderMap, field: HeaderName) -> bool {
    elements(headers, field).next().is_none()
}

/// The well-formed ranges of a field, and their weights.
fn ranges(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = (&[u8], QValue)> {
    elements(headers, field).filter_map(|element| {
        let (range, _) = value_and_parameters(element);
        let tail = element.get(range.len()..)?;
        Some((range, weight_of(tail)?)).filter(|(range, _)| is_token(range))
    })
}

/// The elements of a field; none, if it is over the limits.
fn elements(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = &[u8]> {
    let within = !is_over_limits(headers, &field);
    buttress_wire::fields::list(headers, field).filter(move |_| within)
}

fn is_over_limits(headers: &HeaderMap, field: &HeaderName) -> bool {
    let limits = Limits::default();
    let lines = headers.get_all(field).iter();
    let bytes: usize = lines.map(HeaderValue::len).sum();
    let mut elements = buttress_wire::fields::list(headers, field.clone());
    bytes > limits.bytes || elements.nth(limits.ranges).is_some()
}

fn covers_name(range: &[u8], name: &[u8]) -> Option<usize> {
    match range {
        b"*" => Some(0),
        _ => range.eq_ignore_ascii_case(name).then_some(1),
    }
}

/// RFC 9110, sections 8.4.1.1 and 8.4.1.3: the names with `x-` are to be taken for those without.
fn covers_coding(range: &[u8], name: &str) -> Option<usize> {
    let plain = match range {
        [b'x' | b'X', b'-', plain @ ..]
            if plain.eq_ignore_ascii_case(b"gzip") || plain.eq_ignore_ascii_case(b"compress") =>
        {
            plain
        }
        _ => range,
    };
    covers_name(plain, name.as_bytes())
}

fn covers_language(range: &[u8], tag: &[u8]) -> Option<usize> {
    if range == b"*" {
        return Some(0);
    }
    let (start, rest) = tag.split_at_checked(range.len())?;
    let covers = start.eq_ignore_ascii_case(range) && matches!(rest, [] | [b'-', ..]);
    covers.then_some(range.len())
}

/// RFC 4647, section 3.3.2; how much of the tag is named, a wildcard counting for nothing.
fn covers_extended(range: &[u8], tag: &[u8]) -> Option<usize> {
    let mut subtags = tag.split(|b| *b == b'-');
    let mut wanted = range.split(|b| *b == b'-');
    let (first, own) = (wanted.next()?, subtags.next()?);
    let named = |subtag: &[u8]| if subtag == b"*" { 0 } else { subtag.len() + 1 };
    if first != b"*" && !first.eq_ignore_ascii_case(own) {
        return None;
    }
    let mut length = named(first);
    for subtag in wanted.filter(|subtag| *subtag != b"*") {
        loop {
            let own = subtags.next()?;
            if own.eq_ignore_ascii_case(subtag) {
                break;
            }
            // A single letter begins an extension, which no range skips.
            if own.len() == 1 {
                return None;
            }
        }
        length += named(subtag);
    }
    Some(length)
}

/// A range, and what is left of it as its last subtags are taken away; a single letter goes with what followed it.
fn shorter(range: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(range), |range| {
        let cut = range.iter().rposition(|b| *b == b'-')?;
        match range[..cut].iter().rposition(|b| *b == b'-') {
            Some(before) if cut - before == 2 => Some(&range[..before]),
            None if cut == 1 => None,
            _ => Some(&range[..cut]),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(field: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(field, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn subtags_are_taken_away_from_the_end() {
        for (range, expected) in [
            ("en", &["en"][..]),
            ("zh-Hant-TW", &["zh-Hant-TW", "zh-Hant", "zh"]),
            ("zh-x-a1-b2", &["zh-x-a1-b2", "zh-x-a1", "zh"]),
            ("x-klingon", &["x-klingon"]),
        ] {
            let found: Vec<_> = shorter(range.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|r| r.as_bytes()).collect();
            assert_eq!(found, expected, "{range:?}");
        }
    }

    #[test]
    fn an_extended_range_covers_what_lies_between() {
        // The examples of RFC 4647, section 3.3.2.
        for tag in [
            "de-DE",
            "de-de",
            "de-Latn-DE",
            "de-Latf-DE",
            "de-DE-x-goethe",
            "de-Latn-DE-1996",
            "de-Deva-DE",
        ] {
            for range in ["de-DE", "de-*-DE"] {
                assert!(
                    covers_extended(range.as_bytes(), tag.as_bytes()).is_some(),
                    "{range} {tag}"
                );
            }
        }
        for tag in ["de", "de-x-DE", "de-Deva"] {
            assert_eq!(covers_extended(b"de-*-DE", tag.as_bytes()), None, "{tag}");
        }
        let swiss = Languages::new(["de-DE", "de-CH", "fr-CH"]);
        let chosen = |field| {
            let headers = headers(ACCEPT_LANGUAGE, field);
            swiss.filter_extended(&headers).map(|chosen| chosen.name)
        };
        assert_eq!(chosen("*-CH"), Some("de-CH"));
        assert_eq!(chosen("*-CH, de-CH;q=0"), Some("fr-CH"));
        assert_eq!(chosen("it"), None);
        let headers = headers(ACCEPT_LANGUAGE, "it");
        assert_eq!(swiss.lookup_or(&headers, "en").name, "en");
    }

    #[cfg(feature = "cldr")]
    #[test]
    fn a_lookup_by_cldr_takes_what_is_wanted_most() {
        let chinese = Languages::new(["zh-Hans", "zh-Hant", "en"]);
        let chosen = |field| {
            let found = chinese.lookup_cldr(&headers(ACCEPT_LANGUAGE, field));
            found.map(|chosen| (chosen.name, chosen.weight.unwrap().thousandths()))
        };
        assert_eq!(chosen("en;q=0.5, zh-TW;q=0.8"), Some(("zh-Hant", 800)));
        assert_eq!(chosen("zh-TW;q=0, en-AU;q=0.1"), Some(("en", 100)));
        assert_eq!(chosen("fr, !!"), None);
        let plain = headers(ACCEPT_LANGUAGE, "zh-TW");
        assert_eq!(chinese.lookup(&plain), None);
    }

    #[test]
    fn a_field_over_the_limits_counts_as_absent() {
        let many = format!("{}gzip", "br,".repeat(256));
        let codings = Codings::new(["gzip", "identity"]);
        let chosen = codings.select(&headers(ACCEPT_ENCODING, &many)).unwrap();
        assert_eq!(chosen.name, "identity");
        let one = Codings::new(["gzip"]);
        assert!(
            one.select(&headers(ACCEPT_ENCODING, &"br,".repeat(256)))
                .is_none()
        );
        assert!(
            one.select(&headers(ACCEPT_ENCODING, &many.replace("gzip", "br")))
                .is_some()
        );
        let long = format!("fr;q=0.{}", "0".repeat(8192));
        assert!(
            Languages::new(["de"])
                .filter(&headers(ACCEPT_LANGUAGE, &long))
                .is_some()
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(field: Vec<u8>) {
            let Ok(value) = HeaderValue::from_bytes(&field) else { return Ok(()) };
            for name in [ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE] {
                let headers = HeaderMap::from_iter([(name, value.clone())]);
                let _ = Codings::new(["gzip", "identity"]).select(&headers);
                let _ = Charsets::new(["utf-8"]).select(&headers);
                let _ = (Languages::new(["en"]).filter(&headers), Languages::new(["en"]).lookup(&headers));
                let _ = Languages::new(["en-GB"]).filter_extended(&headers);
            }
        }
    }
}
