//! The fields whose ranges are plain names: `Accept-Charset`, `Accept-Encoding`, `Accept-Language` (RFC 9110, section 12.5).

use std::cmp::Reverse;

use buttress_wire::lex::{is_token, value_and_parameters};
use http::header::{
    ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue,
};

use crate::accept::weight_of;
use crate::effort;
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
    /// is nothing closer. What is refused by name (`en;q=0`) is not served to a longer range either. `None`: serve your default.
    #[must_use]
    pub fn lookup(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        let (mut best, mut most) = (None, None);
        for name in self.0.iter() {
            let found = find(headers, name.as_bytes());
            // `None` is less than anything.
            if found > most {
                let weight = found.map(|found| found.weight);
                (best, most) = (Some(Chosen { name, weight }), found);
            }
        }
        best
    }

    /// The same with the parents that the Unicode Common Locale Data Repository knows: `zh-TW` is served `zh-Hant` and not `zh`, which
    /// is another script; `en-AU` is served `en-001` rather than `en`. Allocates.
    #[cfg(feature = "cldr")]
    #[must_use]
    pub fn lookup_cldr(&self, headers: &HeaderMap) -> Option<Chosen<'_>> {
        let allowed = |tag: &&str| !is_refused(headers, tag.as_bytes());
        let tags = crate::cldr::Tags::new(self.0.iter().filter(allowed));
        let (mut best, mut most) = (None, QValue::ZERO);
        for (range, weight) in ranges(headers, ACCEPT_LANGUAGE) {
            if weight > most
                && let Some(name) = tags.closest(range)
            {
                most = weight;
                let weight = Some(weight);
                best = Some(Chosen { name, weight });
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

/// What lookup finds for a tag. The greater one is served: the range that is wanted most, of those the first, and of its tags the longest.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Found {
    weight: QValue,
    position: Reverse<usize>,
    length: usize,
}

/// The range that `tag` is served for (RFC 4647, section 3.4).
fn find(headers: &HeaderMap, tag: &[u8]) -> Option<Found> {
    let covering = ranges(headers, ACCEPT_LANGUAGE)
        .enumerate()
        .filter(|(_, (range, _))| is_served(tag, range));
    let found = covering.map(|(position, (_, weight))| Found {
        weight,
        position: Reverse(position),
        length: tag.len(),
    });
    let best = found.max().filter(|found| found.weight > QValue::ZERO);
    best.filter(|_| !is_refused(headers, tag))
}

/// Whether a range is for this very tag, and refuses it.
fn is_refused(headers: &HeaderMap, tag: &[u8]) -> bool {
    let own =
        ranges(headers, ACCEPT_LANGUAGE).filter(|(range, _)| covers_name(range, tag) == Some(1));
    own.map(|(_, weight)| weight).max() == Some(QValue::ZERO)
}

/// Whether `tag` is the range, or what is left of it as its last subtags are taken away; a single letter goes with what followed it.
fn is_served(tag: &[u8], range: &[u8]) -> bool {
    effort::seen(range);
    let Some((start, rest)) = range.split_at_checked(tag.len()) else {
        return false;
    };
    let ends_alone =
        || tag.iter().rposition(|b| *b == b'-').map_or(0, |at| at + 1) + 1 == tag.len();
    start.eq_ignore_ascii_case(tag) && (rest.is_empty() || rest[0] == b'-' && !ends_alone())
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
        effort::seen(element);
        let (range, _) = value_and_parameters(element);
        let tail = element.get(range.len()..)?;
        Some((range, weight_of(tail)?)).filter(|(range, _)| is_token(range))
    })
}

/// The elements of a field; none, if it is over the limits.
fn elements(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = &[u8]> {
    let within = !is_over_limits(headers, &field);
    list(headers, field).filter(move |_| within)
}

fn list(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(&field)
        .iter()
        .for_each(|line| effort::seen(line.as_bytes()));
    buttress_wire::fields::list(headers, field)
}

fn is_over_limits(headers: &HeaderMap, field: &HeaderName) -> bool {
    let limits = Limits::default();
    let lines = headers.get_all(field).iter();
    let bytes: usize = lines.map(HeaderValue::len).sum();
    let mut elements = list(headers, field.clone());
    bytes > limits.bytes || elements.nth(limits.ranges).is_some()
}

fn covers_name(range: &[u8], name: &[u8]) -> Option<usize> {
    effort::seen(range);
    match range {
        b"*" => Some(0),
        _ => range.eq_ignore_ascii_case(name).then_some(1),
    }
}

/// RFC 9110, sections 8.4.1.1 and 8.4.1.3: the names with `x-` are to be taken for those without.
fn covers_coding(range: &[u8], name: &str) -> Option<usize> {
    covers_name(of_today(range), of_today(name.as_bytes()))
}

fn of_today(coding: &[u8]) -> &[u8] {
    match coding {
        [b'x' | b'X', b'-', plain @ ..]
            if plain.eq_ignore_ascii_case(b"gzip") || plain.eq_ignore_ascii_case(b"compress") =>
        {
            plain
        }
        _ => coding,
    }
}

fn covers_language(range: &[u8], tag: &[u8]) -> Option<usize> {
    effort::seen(range);
    if range == b"*" {
        return Some(0);
    }
    let (start, rest) = tag.split_at_checked(range.len())?;
    let covers = start.eq_ignore_ascii_case(range) && matches!(rest, [] | [b'-', ..]);
    covers.then_some(range.len())
}

/// RFC 4647, section 3.3.2; how much of the tag is named, a wildcard counting for nothing.
fn covers_extended(range: &[u8], tag: &[u8]) -> Option<usize> {
    effort::seen(range);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(field: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(field, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn subtags_are_taken_away_from_the_end() {
        for (range, served, not) in [
            ("en", &["en", "EN"][..], &["e", "en-GB", ""][..]),
            (
                "zh-Hant-TW",
                &["zh-Hant-TW", "zh-Hant", "zh"],
                &["zh-Han", "zh-TW"],
            ),
            ("zh-x-a1-b2", &["zh-x-a1-b2", "zh-x-a1", "zh"], &["zh-x"]),
            ("x-klingon", &["x-klingon"], &["x"]),
        ] {
            let of = |tag: &&str| is_served(tag.as_bytes(), range.as_bytes());
            assert!(served.iter().all(of) && !not.iter().any(of), "{range:?}");
        }
    }

    #[test]
    fn a_lookup_serves_what_is_wanted_most_and_nothing_that_is_refused() {
        let languages = Languages::new(["en", "zh", "zh-Hant", "fr"]);
        let chosen = |field: &str| {
            let found = languages.lookup(&headers(ACCEPT_LANGUAGE, field));
            found.map(|chosen| (chosen.name.to_owned(), chosen.weight.unwrap().thousandths()))
        };
        let found = |name: &str, weight| Some((name.to_owned(), weight));
        assert_eq!(chosen("zh-Hant-TW, fr;q=0.9"), found("zh-Hant", 1000));
        assert_eq!(chosen("fr;q=0.5, en-GB;q=0.6"), found("en", 600));
        assert_eq!(
            chosen("en-GB;q=0.5, fr;q=0.5"),
            found("en", 500),
            "of two, the first"
        );
        assert_eq!(chosen("en;q=0, en-GB"), None);
        assert_eq!(chosen("en-GB, en;q=0, fr;q=0.1"), found("fr", 100));
        assert_eq!(chosen("en;q=0, en-GB;q=0.5, en;q=0.2"), found("en", 500));
        assert_eq!(
            chosen("en-GB;q=0, en-US"),
            found("en", 1000),
            "another one is refused"
        );
        assert_eq!(chosen("*, de"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn an_old_name_of_a_coding_is_its_name_on_both_sides() {
        for (offer, field) in [
            ("x-gzip", "gzip"),
            ("gzip", "x-gzip"),
            ("X-Compress", "compress"),
            ("x-gzip", "X-GZIP"),
        ] {
            let codings = Codings::new([offer]);
            let chosen = codings.select(&headers(ACCEPT_ENCODING, field));
            assert_eq!(chosen.map(|chosen| chosen.name), Some(offer));
        }
        assert_eq!(
            Codings::new(["x-br"]).select(&headers(ACCEPT_ENCODING, "br")),
            None
        );
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
        let chinese = Languages::new(["zh-Hans", "zh-Hant", "en", "de"]);
        let chosen = |field| {
            let found = chinese.lookup_cldr(&headers(ACCEPT_LANGUAGE, field));
            found.map(|chosen| (chosen.name, chosen.weight.unwrap().thousandths()))
        };
        assert_eq!(chosen("en;q=0.5, zh-TW;q=0.8"), Some(("zh-Hant", 800)));
        assert_eq!(chosen("zh-TW;q=0, en-AU;q=0.1"), Some(("en", 100)));
        assert_eq!(chosen("fr, !!"), None);
        assert_eq!(chosen("de-AT"), Some(("de", 1000)));
        assert_eq!(
            chosen("en;q=0, en-AU, de;q=0.1"),
            Some(("de", 100)),
            "it is refused"
        );
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
        for (length, expected) in [(8192, None), (8193, Some("de"))] {
            let field = format!("fr,{}", " ".repeat(length - 3));
            let languages = Languages::new(["de"]);
            let chosen = languages.filter(&headers(ACCEPT_LANGUAGE, &field));
            assert_eq!(chosen.map(|chosen| chosen.name), expected, "{length}");
        }
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
