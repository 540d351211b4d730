//! `Cache-Control`, as a response or a request says it (RFC 9111, section 5.2).

use std::time::Duration;

use buttress_wire::fields::list;
use buttress_wire::lex::{Directive, Value};
use http::header::{self, HeaderMap};

/// The directives that this cache acts on.
///
/// Names are read without regard to case, arguments as tokens or quoted strings; unknown directives are ignored (5.2.3). Of
/// contradicting or broken ones the stricter reading counts: the smaller age, an unreadable age as zero (4.2.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directives {
    pub(super) max_age: Option<Duration>,
    pub(super) max_stale: bool,
    pub(super) min_fresh: Option<Duration>,
    pub(super) must_revalidate: bool,
    pub(super) no_cache: bool,
    pub(super) no_store: bool,
    pub(super) only_if_cached: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) s_maxage: Option<Duration>,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for element in list(headers, header::CACHE_CONTROL) {
            match Directive::parse(element) {
                Some(directive) => directives.add(directive),
                None => directives.add_broken(element),
            }
        }
        directives
    }

    fn add(&mut self, directive: Directive<'_>) {
        let Directive { name, argument } = directive;
        match name.to_ascii_lowercase().as_slice() {
            b"max-age" => shorten(&mut self.max_age, argument),
            b"max-stale" => self.max_stale = true,
            b"min-fresh" => self.min_fresh = self.min_fresh.max(Some(seconds(argument))),
            b"must-revalidate" => self.must_revalidate = true,
            // With field names it is about these fields only; taking it for the whole response is allowed (5.2.2.4, 5.2.2.7).
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"s-maxage" => shorten(&mut self.s_maxage, argument),
            _ => {}
        }
    }

    /// What starts like a prohibition and goes on like noise is still one.
    fn add_broken(&mut self, element: &[u8]) {
        let starts = |name: &str| {
            element
                .get(..name.len())
                .is_some_and(|s| s.eq_ignore_ascii_case(name.as_bytes()))
        };
        // A quoted string that is not closed takes what follows with it: anything may have been forbidden there.
        self.no_store |= starts("no-store") || element.contains(&b'"');
        self.private |= starts("private");
        self.no_cache |= starts("no-cache");
        if starts("max-age") {
            self.max_age = Some(Duration::ZERO);
        }
        if starts("s-maxage") {
            self.s_maxage = Some(Duration::ZERO);
        }
    }
}

fn shorten(age: &mut Option<Duration>, argument: Option<Value<'_>>) {
    let seconds = seconds(argument);
    *age = Some(age.map_or(seconds, |age| age.min(seconds)));
}

/// An age in whole seconds. Too large a one is as long as can be (RFC 9111, 1.2.2); what is no number is zero.
fn seconds(argument: Option<Value<'_>>) -> Duration {
    const FOREVER: u64 = 1 << 31;
    let digits = argument.map(Value::unescaped).unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(FOREVER);
    Duration::from_secs(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Directives {
        let line = |line: &&'static str| (header::CACHE_CONTROL, HeaderValue::from_static(line));
        Directives::of(&lines.iter().map(line).collect())
    }

    fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn directives_are_read_as_the_rfc_says() {
        assert_eq!(of(&[]), Directives::default());
        assert_eq!(of(&["Max-Age=60"]).max_age, secs(60));
        assert_eq!(of(&["max-age=\"60\""]).max_age, secs(60));
        assert_eq!(of(&["foo, max-age=60;bar, s-maxage=5"]).s_maxage, secs(5));
        assert_eq!(of(&["max-age=60", "max-age=30"]).max_age, secs(30));
        assert_eq!(
            of(&["max-age=99999999999999999999999"]).max_age,
            secs(1 << 31)
        );
        assert!(of(&["ext=\"no-store, private\", public"]).public);
        assert!(!of(&["ext=\"no-store, private\", public"]).no_store);
        assert!(of(&["max-age=5, NO-STORE"]).no_store);
        assert!(of(&["private=\"set-cookie\""]).private);
        assert!(of(&["no-cache"]).no_cache && of(&["no-cache=\"x\""]).no_cache);
        assert!(of(&["max-stale"]).max_stale && of(&["max-stale=3"]).max_stale);
    }

    #[test]
    fn what_is_broken_is_read_strictly() {
        for broken in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=a",
            "max-age=1 2",
        ] {
            assert_eq!(of(&[broken]).max_age, secs(0), "{broken}");
        }
        assert!(of(&["no-store;x"]).no_store);
        assert!(of(&["private=\"never ends"]).private);
        assert!(of(&["max-age=60, ext=\"oops, private, no-store"]).no_store);
        assert!(!of(&["max-age=60, proxy-revalidate"]).must_revalidate);
    }
}
