//! What the cache did with a request, for people and for programs (RFC 9211).

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// What the cache did; in the extensions of responses, if the layer is asked to
/// [put it there](super::HttpCacheLayer::response_extension).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// The response came from the store; the inner service was not called.
    Hit,
    /// The inner service was called.
    Forwarded(Forwarded),
}

/// Why the inner service was called (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Forwarded {
    /// The request is not for a cache: it asks for a part, or switches protocols.
    Bypass,
    /// Its method is not one that is answered from a store.
    Method,
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

impl CacheOutcome {
    /// The member of `Cache-Status` for the cache `name`, a token.
    pub(super) fn cache_status(self, name: &str, stored: bool) -> HeaderValue {
        let text = match self {
            Self::Hit => format!("{name}; hit"),
            Self::Forwarded(why) if stored => format!("{name}; fwd={}; stored", why.token()),
            Self::Forwarded(why) => format!("{name}; fwd={}", why.token()),
        };
        // A name is checked to be a token when the layer is built.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("cache"))
    }

    pub(super) fn x_cache(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT-MEMORY",
            Self::Forwarded(Forwarded::Bypass | Forwarded::Method) => "BYPASS",
            Self::Forwarded(_) => "MISS",
        })
    }
}

impl Forwarded {
    fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
        }
    }
}

/// Adds this cache's word after those of the caches nearer to the origin (RFC 9211, section 2).
pub(super) fn tell(
    headers: &mut HeaderMap,
    name: &str,
    x_cache: bool,
    outcome: CacheOutcome,
    stored: bool,
) {
    headers.append(CACHE_STATUS, outcome.cache_status(name, stored));
    if x_cache {
        headers.insert(X_CACHE, outcome.x_cache());
    }
}
