//! `Cache-Control`, as a response or a request says it (RFC 9111, section 5.2).

use std::time::Duration;

use buttress_wire::lex::{Directive, Value, elements};
use http::header::{self, HeaderMap, HeaderName};

/// The directives that this cache acts on.
///
/// Names are read without regard to case, arguments as tokens or quoted strings; unknown directives are ignored (5.2.3). Of
/// contradicting or broken ones the stricter reading counts: the smaller age, an unreadable age as zero (4.2.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directives {
    pub(super) immutable: bool,
    pub(super) max_age: Option<Duration>,
    /// [`Duration::MAX`] where any will do.
    pub(super) max_stale: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    pub(super) must_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) no_cache: Scope,
    pub(super) no_store: bool,
    pub(super) only_if_cached: bool,
    pub(super) private: Scope,
    pub(super) proxy_revalidate: bool,
    pub(super) public: bool,
    pub(super) s_maxage: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
}

/// What a directive with an optional list of field names is about (5.2.2.4, 5.2.2.7).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Scope {
    #[default]
    Nothing,
    Fields(Vec<HeaderName>),
    Everything,
}

impl Directives {
    /// What `Cache-Control` says.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            for element in elements(line.as_bytes()) {
                match Directive::parse(element) {
                    Some(Directive { name, argument }) => {
                        directives.add(name, argument.map(Argument::Text));
                    }
                    None => directives.add_broken(element),
                }
            }
        }
        directives
    }

    /// Adds one directive. A name that is longer than all we know is none of them.
    pub(super) fn add(&mut self, name: &[u8], argument: Option<Argument<'_>>) {
        let mut lower = [0; 24];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return;
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"immutable" => self.immutable = true,
            b"max-age" => shorten(&mut self.max_age, seconds(argument)),
            b"max-stale" => {
                let limit = argument.map_or(Duration::MAX, |argument| seconds(Some(argument)));
                shorten(&mut self.max_stale, limit);
            }
            b"min-fresh" => self.min_fresh = self.min_fresh.max(Some(seconds(argument))),
            b"must-revalidate" => self.must_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"no-cache" => self.no_cache.widen(argument),
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"private" => self.private.widen(argument),
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"public" => self.public = true,
            b"s-maxage" => shorten(&mut self.s_maxage, seconds(argument)),
            b"stale-if-error" => shorten(&mut self.stale_if_error, seconds(argument)),
            b"stale-while-revalidate" => {
                shorten(&mut self.stale_while_revalidate, seconds(argument));
            }
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
        self.must_revalidate |= starts("must-revalidate");
        self.proxy_revalidate |= starts("proxy-revalidate");
        if starts("private") {
            self.private = Scope::Everything;
        }
        if starts("no-cache") {
            self.no_cache = Scope::Everything;
        }
        if starts("max-age") {
            self.max_age = Some(Duration::ZERO);
        }
        if starts("s-maxage") {
            self.s_maxage = Some(Duration::ZERO);
        }
    }
}

impl Scope {
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    pub(super) fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Nothing | Self::Everything => &[],
        }
    }

    /// With names it is about these fields only. What is no list of names, or an empty one, is about everything.
    fn widen(&mut self, argument: Option<Argument<'_>>) {
        let named = match argument {
            Some(Argument::Text(text)) => field_names(&text.unescaped()),
            Some(Argument::Seconds(_)) | None => None,
        };
        match (&mut *self, named) {
            (Self::Nothing, Some(names)) => *self = Self::Fields(names),
            (Self::Fields(all), Some(names)) => all.extend(names),
            (_, None) => *self = Self::Everything,
            (Self::Everything, _) => {}
        }
    }
}

fn field_names(text: &[u8]) -> Option<Vec<HeaderName>> {
    let names: Result<Vec<_>, _> = elements(text).map(HeaderName::from_bytes).collect();
    names.ok().filter(|names| !names.is_empty())
}

/// A directive's argument, as the two notations have it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    Text(Value<'a>),
    /// A structured field has numbers.
    Seconds(Duration),
}

fn shorten(age: &mut Option<Duration>, seconds: Duration) {
    *age = Some(age.map_or(seconds, |age| age.min(seconds)));
}

/// The longest time that is told apart from for ever (RFC 9111, 1.2.2).
pub(super) const FOREVER: u64 = 1 << 31;

/// An age in whole seconds. Too large a one is as long as can be; what is no number is zero.
fn seconds(argument: Option<Argument<'_>>) -> Duration {
    let text = match argument {
        Some(Argument::Seconds(seconds)) => return seconds,
        Some(Argument::Text(text)) => text.unescaped(),
        None => return Duration::ZERO,
    };
    delta_seconds(&text).unwrap_or_default()
}

/// `delta-seconds` (1.2.2).
pub(super) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(FOREVER);
    Some(Duration::from_secs(digits.iter().fold(0, add)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

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
        assert_eq!(of(&["max-age=00060"]).max_age, secs(60));
        for huge in [
            "max-age=2147483648",
            "max-age=9223372036854775808",
            "max-age=99999999999999999999999",
        ] {
            assert_eq!(of(&[huge]).max_age, secs(1 << 31), "{huge}");
        }
        assert!(of(&["ext=\"no-store, private\", public"]).public);
        assert!(!of(&["ext=\"no-store, private\", public"]).no_store);
        assert!(of(&["max-age=5, NO-STORE"]).no_store);
        assert!(of(&["MUST-Understand, Immutable"]).must_understand);
        assert!(of(&["must-understand, IMMUTABLE"]).immutable);
        assert!(of(&["proxy-revalidate"]).proxy_revalidate);
        assert_eq!(of(&["max-stale"]).max_stale, Some(Duration::MAX));
        assert_eq!(of(&["max-stale=3, max-stale"]).max_stale, secs(3));
        assert_eq!(of(&["Stale-If-Error=7"]).stale_if_error, secs(7));
        assert_eq!(
            of(&["stale-while-revalidate=7"]).stale_while_revalidate,
            secs(7)
        );
        let unknown = "x-very-long-and-unknown-directive=1, community=\"UCI\"";
        assert_eq!(of(&[unknown]), Directives::default());
    }

    /// RFC 9111, 5.2.2.4 and 5.2.2.7.
    #[test]
    fn field_names_narrow_a_directive_and_only_names_do() {
        let cookie = Scope::Fields(vec![header::SET_COOKIE]);
        assert_eq!(of(&["private=\"Set-Cookie\""]).private, cookie);
        assert_eq!(of(&["no-cache=set-cookie"]).no_cache, cookie);
        let both = of(&["no-cache=\"set-cookie\"", "no-cache=\"x-a, ETag\""]).no_cache;
        assert_eq!(both.fields().len(), 3);
        for all in [
            "no-cache",
            "no-cache=\"\"",
            "no-cache=\"a b\"",
            "no-cache=\"x\", no-cache",
            "no-cache, no-cache=\"x\"",
        ] {
            assert_eq!(of(&[all]).no_cache, Scope::Everything, "{all}");
        }
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
            "max-age =5",
            "max-age= 5",
        ] {
            assert_eq!(of(&[broken]).max_age, secs(0), "{broken}");
        }
        assert!(of(&["no-store;x"]).no_store);
        assert!(of(&["no-cache;x"]).no_cache.is_everything());
        assert!(of(&["must-revalidate;x"]).must_revalidate);
        assert!(of(&["private=\"never ends"]).private.is_everything());
        assert!(of(&["max-age=60, ext=\"oops, private, no-store"]).no_store);
        assert!(!of(&["max-age=60, proxy-revalidate"]).must_revalidate);
    }

    proptest! {
        /// Of whatever is sent: a prohibition among well-formed directives is heard.
        #[test]
        fn no_bytes_panic_and_none_hide_a_prohibition(noise in "[ -~]{0,40}", bytes: Vec<u8>) {
            let headers = |value: &[u8]| {
                let value = HeaderValue::from_bytes(value).ok()?;
                Some(HeaderMap::from_iter([(header::CACHE_CONTROL, value)]))
            };
            if let Some(headers) = headers(&bytes) {
                let _ = Directives::of(&headers);
            }
            let field = format!("no-store, {noise}");
            prop_assert!(Directives::of(&headers(field.as_bytes()).unwrap()).no_store);
        }
    }
}
