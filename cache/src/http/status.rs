//! What the cache did with a request, for people and for programs (RFC 9211).

use std::borrow::Cow;
use std::fmt::Write;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// What the cache did; in the extensions of responses, if the layer is asked to
/// [put it there](super::HttpCacheLayer::response_extension).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// The response came from the store, and is fresh or was asked for as it is; the inner service was not called.
    Hit,
    /// The same, from the level that other processes share.
    HitRedis,
    /// A stale response came from the store: while it is asked for anew, or since the inner service failed.
    Stale,
    /// The inner service said that the stored response still holds.
    Revalidated,
    /// The response is shared with another request that was forwarded at the same time.
    Collapsed(Forwarded),
    /// The inner service was called, and this is its response.
    Forwarded(Forwarded),
}

/// Why the inner service was called (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Forwarded {
    /// The request is not for a cache: it has a body, switches protocols, or is not to be cached.
    Bypass,
    /// Its method is not one that is answered from a store.
    Method,
    /// A part of what is asked for is stored.
    Partial,
    /// The stored response is not what the request asks for.
    Request,
    /// What is stored is stale, or has to be validated before each use.
    Stale,
    /// Nothing is stored for the target.
    UriMiss,
    /// Something is stored, for other values of the selecting fields.
    VaryMiss,
}

/// `Cache-Status`.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `X-Cache`: what the Express middleware and most proxies tell.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// One member of `Cache-Status`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    /// Why it was forwarded; without it, it was a hit.
    pub(super) why: Option<Forwarded>,
    /// What the inner service answered, where it is not what is sent (2.3).
    pub(super) fwd_status: Option<StatusCode>,
    pub(super) stored: bool,
    pub(super) collapsed: bool,
    /// Seconds of freshness left; negative for how long it has been stale.
    pub(super) ttl: Option<i64>,
    pub(super) key: Option<&'a str>,
    pub(super) detail: Option<&'static str>,
}

/// What one cache tells of requests that it forwards, in its own words: made once, and most have nothing to add.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    passed: [HeaderValue; Forwarded::ALL.len()],
    stored: [HeaderValue; Forwarded::ALL.len()],
}

impl Lines {
    /// Of the cache of this name.
    pub(super) fn of(name: &str) -> Self {
        let line = |why, stored| {
            let told = Told {
                why: Some(why),
                stored,
                ..Told::default()
            };
            told.line(name)
        };
        Self {
            passed: Forwarded::ALL.map(|why| line(why, false)),
            stored: Forwarded::ALL.map(|why| line(why, true)),
        }
    }

    pub(super) fn forwarded(&self, why: Forwarded, stored: bool) -> HeaderValue {
        let lines = if stored { &self.stored } else { &self.passed };
        lines[why as usize].clone()
    }
}

impl Told<'_> {
    /// The member for the cache `name`, a token.
    pub(super) fn line(&self, name: &str) -> HeaderValue {
        let mut line = String::with_capacity(64);
        // Writing to a string does not fail.
        let _ = self.write(&mut line, name);
        // A name is checked to be a token when the layer is built.
        HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static("cache"))
    }

    fn write(&self, line: &mut String, name: &str) -> std::fmt::Result {
        line.push_str(name);
        match self.why {
            None => line.push_str("; hit"),
            Some(why) => write!(line, "; fwd={}", why.token())?,
        }
        if let Some(status) = self.fwd_status {
            write!(line, "; fwd-status={}", status.as_u16())?;
        }
        if self.stored {
            line.push_str("; stored");
        }
        if self.collapsed {
            line.push_str("; collapsed");
        }
        if let Some(ttl) = self.ttl {
            write!(line, "; ttl={ttl}")?;
        }
        if let Some(key) = self.key {
            line.push_str("; key=");
            push_string(line, key);
        }
        if let Some(detail) = self.detail {
            write!(line, "; detail={detail}")?;
        }
        Ok(())
    }
}

/// A cache's name, a token of HTTP, as a structured token, or a string if it does not begin as such a one (RFC 9651, 3.3.4; RFC 9211, 2).
pub(super) fn name(token: &str) -> Cow<'_, str> {
    if token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*') {
        return token.into();
    }
    let mut string = String::new();
    push_string(&mut string, token);
    string.into()
}

/// As a structured string (RFC 9651, 4.1.6); what cannot be in one becomes a question mark.
fn push_string(line: &mut String, text: &str) {
    line.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => line.extend(['\\', char]),
            ' '..='~' => line.push(char),
            _ => line.push('?'),
        }
    }
    line.push('"');
}

impl CacheOutcome {
    pub(super) fn x_cache(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT-MEMORY",
            Self::HitRedis => "HIT-REDIS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Collapsed(_) => "COLLAPSED",
            Self::Forwarded(Forwarded::Bypass | Forwarded::Method) => "BYPASS",
            Self::Forwarded(_) => "MISS",
        })
    }
}

impl Forwarded {
    /// Each at its own place.
    const ALL: [Self; 7] = [
        Self::Bypass,
        Self::Method,
        Self::Partial,
        Self::Request,
        Self::Stale,
        Self::UriMiss,
        Self::VaryMiss,
    ];

    fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Partial => "partial",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
        }
    }
}

/// Puts `value` in place of the last line of `Cache-Status`: the one that is this cache's.
pub(super) fn replace_own(headers: &mut HeaderMap, is_only: bool, value: HeaderValue) {
    let own = if is_only {
        headers.get_mut(CACHE_STATUS)
    } else {
        let lines = headers
            .iter_mut()
            .filter(|(name, _)| **name == CACHE_STATUS);
        lines.map(|(_, value)| value).last()
    };
    if let Some(own) = own {
        *own = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told: Told<'_>, expected: &str) {
        assert_eq!(told.line("shop"), expected);
    }

    /// RFC 9211, 2.
    #[test]
    fn a_line_tells_all_that_is_known() {
        check(Told::default(), "shop; hit");
        let miss = Told {
            why: Some(Forwarded::UriMiss),
            stored: true,
            ..Told::default()
        };
        check(miss, "shop; fwd=uri-miss; stored");
        let full = Told {
            why: Some(Forwarded::Stale),
            fwd_status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
            ttl: Some(-5),
            key: Some("http://h/\"\\é"),
            detail: Some("why"),
        };
        check(
            full,
            "shop; fwd=stale; fwd-status=304; stored; collapsed; ttl=-5; key=\"http://h/\\\"\\\\?\"; detail=why",
        );
    }

    #[test]
    fn a_name_is_a_structured_token_or_string() {
        for (token, expected) in [
            ("shop", "shop"),
            ("*", "*"),
            ("Shop.example", "Shop.example"),
            ("1st", "\"1st\""),
            ("-x", "\"-x\""),
        ] {
            assert_eq!(name(token), expected);
            let line = Told::default().line(&name(token));
            let parsed: Result<sfv::List, _> = sfv::Parser::new(line.as_bytes()).parse();
            assert_eq!(parsed.unwrap().len(), 1, "{token}");
        }
    }

    #[test]
    fn lines_are_made_once_and_say_the_same() {
        let lines = Lines::of("shop");
        for why in Forwarded::ALL {
            for stored in [false, true] {
                let told = Told {
                    why: Some(why),
                    stored,
                    ..Told::default()
                };
                assert_eq!(lines.forwarded(why, stored), told.line("shop"));
            }
        }
    }

    #[test]
    fn only_the_own_line_is_replaced() {
        let upstream = HeaderValue::from_static("origin; hit");
        let mut headers = HeaderMap::new();
        for line in [&upstream, &HeaderValue::from_static("mine")] {
            headers.append(CACHE_STATUS, line.clone());
        }
        replace_own(&mut headers, false, HeaderValue::from_static("newer"));
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["origin; hit", "newer"]);
    }
}
