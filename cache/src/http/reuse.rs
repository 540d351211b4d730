//! What a request wants of the cache (RFC 9111, sections 4 and 5.2.1).

use std::time::Duration;

use http::header::{self, HeaderMap};

use super::directives::Directives;

/// What a request says about stored responses.
#[derive(Debug)]
pub(super) struct Wish {
    directives: Directives,
}

impl Wish {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Directives::of(headers);
        // `Pragma: no-cache` counts where there is no `Cache-Control` (5.4).
        let pragma = !headers.contains_key(header::CACHE_CONTROL)
            && buttress_wire::fields::list_contains(headers, header::PRAGMA, "no-cache");
        directives.no_cache |= pragma;
        Self { directives }
    }

    /// Whether a fresh stored response of this age, with so much freshness left, will do.
    pub(super) fn is_met_by(&self, age: Duration, left: Duration) -> bool {
        !self.directives.no_cache
            && self.directives.max_age.is_none_or(|max| age <= max)
            && self.directives.min_fresh.is_none_or(|min| left >= min)
    }

    /// Whether the origin must not be asked: 504 without a stored response (5.2.1.7).
    pub(super) fn is_only_if_cached(&self) -> bool {
        self.directives.only_if_cached
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(field: &'static str, age: u64, left: u64, expected: bool) {
        let headers =
            HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(field))]);
        let met = Wish::of(&headers).is_met_by(Duration::from_secs(age), Duration::from_secs(left));
        assert_eq!(met, expected, "{field} {age} {left}");
    }

    #[test]
    fn a_request_may_ask_for_more_than_fresh() {
        check("", 5, 5, true);
        check("max-age=5", 5, 5, true);
        check("max-age=4", 5, 5, false);
        check("min-fresh=5", 5, 5, true);
        check("min-fresh=6", 5, 5, false);
        check("no-cache", 0, 5, false);
    }

    #[test]
    fn pragma_counts_only_alone() {
        let pragma = (header::PRAGMA, HeaderValue::from_static("no-cache"));
        let control = (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        );
        let met = |headers| Wish::of(&headers).is_met_by(Duration::ZERO, Duration::MAX);
        assert!(!met(HeaderMap::from_iter([pragma.clone()])));
        assert!(met(HeaderMap::from_iter([pragma, control])));
    }
}
