//! A stored response, made into what one request gets of it.

use buttress_wire::{Refusal, grpc::Code};
use http::header::{self, AGE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, request};
use tokio::time::Instant;

use super::body::CacheBody;
use super::conditional::{is_not_modified, without_representation};
use super::range::{Wanted, cut, unsatisfied, wanted};
use super::settings::Shared;
use super::status::{CacheOutcome, Told, X_CACHE, replace_own};
use super::store::Stored;

/// What a request with `parts` gets of a stored response: all of it, a part, its head, or the news that it has it already.
pub(super) fn answer<B>(
    shared: &Shared,
    parts: &request::Parts,
    stored: &Stored,
    now: Instant,
    outcome: CacheOutcome,
    told: Told<'_>,
) -> Response<CacheBody<B>> {
    let mut response = selected(parts, stored);
    let headers = response.headers_mut();
    // It is there already: an insertion might make room for one more before it looks.
    if let Some(age) = headers.get_mut(AGE) {
        *age = age_value(stored.age(now).as_secs());
    }
    let key = shared.told_key(parts);
    let line = if outcome == CacheOutcome::Hit && key.is_none() && told.detail.is_none() {
        stored.hit_line(&shared.marks.name, now)
    } else {
        let told = Told {
            ttl: Some(stored.ttl(now)),
            key: key.as_deref(),
            ..told
        };
        told.line(&shared.marks.name)
    };
    replace_own(headers, stored.is_only_teller(), line);
    if outcome != CacheOutcome::Hit
        && let Some(x_cache) = headers.get_mut(X_CACHE)
    {
        *x_cache = outcome.x_cache();
    }
    if shared.extension {
        response.extensions_mut().insert(outcome);
    }
    response
}

/// By the order of RFC 9110, 13.2.2.
fn selected<B>(parts: &request::Parts, stored: &Stored) -> Response<CacheBody<B>> {
    let recorded = &stored.recorded;
    let mut response = recorded.response().map(CacheBody::hit);
    let status = recorded.status();
    // Of any other response a condition says nothing (13.2.1).
    if status.is_success() && is_not_modified(&parts.headers, recorded.headers()) {
        let headers = std::mem::take(response.headers_mut());
        *response.headers_mut() = without_representation(headers);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response.map(|_| CacheBody::empty());
    }
    if parts.method == Method::HEAD {
        return response.map(|_| CacheBody::empty());
    }
    // A `Range` is about a 200 to a `GET` (14.2).
    if status == StatusCode::OK && parts.headers.contains_key(header::RANGE) {
        return ranged(&parts.headers, stored, response);
    }
    response
}

fn ranged<B>(
    request: &HeaderMap,
    stored: &Stored,
    mut response: Response<CacheBody<B>>,
) -> Response<CacheBody<B>> {
    let total = stored.total();
    match wanted(request, stored.recorded.headers(), total) {
        Wanted::Whole => response,
        Wanted::Parts(parts) => {
            let headers = response.headers_mut();
            match cut(headers, total, &parts, |part| stored.slice(part)) {
                Some(chunks) => {
                    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                    response.map(|_| CacheBody::chunks(chunks))
                }
                None => response,
            }
        }
        Wanted::Nothing => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let headers = std::mem::take(response.headers_mut());
            let mut headers = without_representation(headers);
            headers.insert(header::CONTENT_RANGE, unsatisfied(total));
            *response.headers_mut() = headers;
            response.map(|_| CacheBody::empty())
        }
    }
}

/// Whether a request can be answered from the parts of a response that are stored.
pub(super) fn has_parts(parts: &request::Parts, stored: &Stored) -> bool {
    let headers = stored.recorded.headers();
    match wanted(&parts.headers, headers, stored.total()) {
        Wanted::Whole => false,
        Wanted::Nothing => true,
        Wanted::Parts(wanted) => wanted.iter().all(|part| stored.slice(part).is_some()),
    }
}

/// The value of `Age`. The first minutes are made once, since every hit needs one.
pub(super) fn age_value(seconds: u64) -> HeaderValue {
    thread_local! {
        static SMALL: Vec<HeaderValue> = (0_u64..300).map(|seconds| {
            let value = HeaderValue::from(seconds);
            // A clone makes the bytes shared, and from then on a clone is a count.
            drop(value.clone());
            value
        }).collect();
    }
    SMALL
        .with(|small| small.get(seconds as usize).cloned())
        .unwrap_or_else(|| HeaderValue::from(seconds))
}

/// RFC 9111, section 5.2.1.7.
pub(super) fn only_if_cached<B>(request: &HeaderMap) -> Response<CacheBody<B>> {
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "urn:buttress:problem:cache-only-if-cached",
        "Nothing stored satisfies the request, and it forbids to ask the origin",
        Code::Unavailable,
    )
    .response(request)
    .map(CacheBody::refusal)
}

/// The origin has said that one of several has not changed, and not which one.
pub(super) fn unmatched<B>(request: &HeaderMap) -> Response<CacheBody<B>> {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "urn:buttress:problem:cache-unmatched-not-modified",
        "The origin says that nothing has changed, of something that is not stored",
        Code::Unavailable,
    )
    .response(request)
    .map(CacheBody::refusal)
}
