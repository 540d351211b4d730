//! Directives for one class of caches (RFC 9213).

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{Argument, Directives, FOREVER};

/// `CDN-Cache-Control`.
pub(super) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What the first of these fields says that is there, a structured dictionary and not empty. Then `Cache-Control` and `Expires` count for
/// nothing (2.2); where there is none, nothing else is different.
pub(super) fn targeted(headers: &HeaderMap, names: &[HeaderName]) -> Option<Directives> {
    names.iter().find_map(|name| of(headers, name))
}

fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = Directives::default();
    for (key, entry) in &dictionary {
        let is_leave = LEAVES.contains(&key.as_str());
        let argument = argument(entry).filter(|_| !is_leave || is_true(entry));
        if let Some(argument) = argument {
            directives.add(key.as_str().as_bytes(), argument);
        }
    }
    Some(directives)
}

/// What allows more than would be allowed without it: not by a value that it does not have.
const LEAVES: [&str; 3] = ["immutable", "must-understand", "public"];

fn is_true(entry: &ListEntry) -> bool {
    matches!(entry, ListEntry::Item(item) if item.bare_item == BareItem::Boolean(true))
}

/// A value of a type that no directive has makes the directive one that is not understood (2.1): no argument to read, and none
/// that can make it laxer. `None` for `?0`, which says that it does not hold.
fn argument(entry: &ListEntry) -> Option<Option<Argument<'_>>> {
    let ListEntry::Item(item) = entry else {
        return Some(None);
    };
    match &item.bare_item {
        BareItem::Boolean(false) => None,
        BareItem::Integer(seconds) => {
            let seconds = u64::try_from(i64::from(*seconds)).unwrap_or(0);
            Some(Some(Argument::Seconds(Duration::from_secs(
                seconds.min(FOREVER),
            ))))
        }
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::directives::Scope;
    use super::*;

    const MINE: HeaderName = HeaderName::from_static("mine-cache-control");

    fn of(fields: &[(HeaderName, &'static str)]) -> Option<Directives> {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        targeted(&fields.collect(), &[MINE, CDN_CACHE_CONTROL])
    }

    fn cdn(value: &'static str) -> Option<Directives> {
        of(&[(CDN_CACHE_CONTROL, value)])
    }

    fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    /// RFC 9213, 2.1 and 2.2.
    #[test]
    fn the_first_valid_field_of_the_list_counts() {
        assert_eq!(of(&[]), None);
        let both = [(CDN_CACHE_CONTROL, "max-age=1"), (MINE, "max-age=2")];
        assert_eq!(of(&both).unwrap().max_age, secs(2));
        for ignored in ["", "max-age=1, &&&", "max-age=", "Max-Age=1"] {
            let fields = [(CDN_CACHE_CONTROL, "max-age=1"), (MINE, ignored)];
            assert_eq!(of(&fields).unwrap().max_age, secs(1), "{ignored}");
        }
        let lines = [
            (CDN_CACHE_CONTROL, "max-age=1"),
            (CDN_CACHE_CONTROL, "no-store"),
        ];
        assert!(of(&lines).unwrap().no_store);
    }

    #[test]
    fn values_are_of_their_type_or_count_for_little() {
        assert_eq!(cdn("max-age=60;x=1, foo").unwrap().max_age, secs(60));
        assert_eq!(cdn("max-age=5, max-age=9").unwrap().max_age, secs(9));
        assert_eq!(cdn("max-age=-5").unwrap().max_age, secs(0));
        assert_eq!(
            cdn("max-age=999999999999999").unwrap().max_age,
            secs(FOREVER)
        );
        for wrong in ["max-age=\"60\"", "max-age=1.5", "max-age=(1 2)", "max-age"] {
            assert_eq!(cdn(wrong).unwrap().max_age, secs(0), "{wrong}");
        }
        for wrong in ["public=1", "public=\"no\"", "public=(a)", "public=?0"] {
            assert!(!cdn(wrong).unwrap().public, "{wrong}");
        }
        assert!(cdn("public;x=1, must-understand=?1").unwrap().public);
        assert!(!cdn("immutable=5").unwrap().immutable);
        assert!(!cdn("no-store=?0").unwrap().no_store);
        assert!(cdn("no-store=\"really\"").unwrap().no_store);
        assert_eq!(cdn("private").unwrap().private, Scope::Everything);
    }
}
