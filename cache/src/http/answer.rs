//! A stored response, made into what one request gets of it.

use std::time::Duration;

use buttress_wire::{Refusal, grpc::Code};
use http::header::{self, AGE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, request};

use super::age::age_value;
use super::body::CacheBody;
use super::conditional::{is_not_modified, without_representation};
use super::glance::Glance;
use super::range::{Wanted, cut, unsatisfied, wanted};
use super::settings::Shared;
use super::status::{CACHE_STATUS, CacheOutcome, Told, X_CACHE, replace_own};
use super::stored::Stored;

/// What a request gets of a stored response of this age: all of it, a part, its head, or the news that it has it already.
pub(super) fn answer<B>(
    shared: &Shared,
    request: &Glance<'_>,
    stored: &Stored,
    age: Duration,
    outcome: CacheOutcome,
    told: Told<'_>,
) -> Response<CacheBody<B>> {
    let mut response = selected(request, stored);
    let headers = response.headers_mut();
    if outcome == CacheOutcome::Hit && !shared.tell_key && told.detail.is_none() {
        let words = stored.words(&shared.marks.name, age);
        put_words(headers, stored.is_only_teller(), words.age, words.line);
    } else {
        let key = shared.told_key(request.parts);
        let told = Told {
            ttl: Some(stored.ttl_at(age)),
            key: key.as_deref(),
            ..told
        };
        let line = told.line(&shared.marks.name);
        let age = age_value(age.as_secs());
        put_words(headers, stored.is_only_teller(), age, line);
    }
    // What another process stored may have been marked otherwise there.
    if shared.marks.x_cache && (outcome != CacheOutcome::Hit || !stored.tells_x_cache) {
        headers.insert(X_CACHE, outcome.x_cache());
    } else if stored.tells_x_cache && !shared.marks.x_cache {
        headers.remove(X_CACHE);
    }
    if shared.extension {
        response.extensions_mut().insert(outcome);
    }
    response
}

/// Puts the words of this answer where they belong. What is stored has their places before all others: finding them by their names would be the largest part
/// of a hit.
pub(super) fn put_words(
    headers: &mut HeaderMap,
    is_only_teller: bool,
    age: HeaderValue,
    line: HeaderValue,
) {
    let mut fields = headers.iter_mut();
    match (fields.next(), fields.next()) {
        (Some((first, its_age)), Some((second, its_line)))
            if is_only_teller && *first == AGE && *second == CACHE_STATUS =>
        {
            *its_age = age;
            *its_line = line;
        }
        _ => {
            headers.insert(AGE, age);
            replace_own(headers, is_only_teller, line);
        }
    }
}

/// By the order of RFC 9110, 13.2.2.
fn selected<B>(request: &Glance<'_>, stored: &Stored) -> Response<CacheBody<B>> {
    let recorded = &stored.recorded;
    let mut response = Response::new(CacheBody::hit(recorded.replay_body()));
    *response.status_mut() = recorded.status();
    *response.headers_mut() = recorded.headers().clone();
    let status = recorded.status();
    // Of any other response a condition says nothing (13.2.1).
    if request.is_conditional()
        && status.is_success()
        && is_not_modified(request.headers(), recorded.headers())
    {
        let headers = std::mem::take(response.headers_mut());
        *response.headers_mut() = without_representation(headers);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response.map(|_| CacheBody::empty());
    }
    if request.parts.method == Method::HEAD {
        tell_length(&mut response, stored);
        return response.map(|_| CacheBody::empty());
    }
    // A `Range` is about a 200 to a `GET` (14.2).
    if request.has_range() && status == StatusCode::OK {
        return ranged(request.headers(), stored, response);
    }
    response
}

/// How long the content would be, where nobody has said it yet (RFC 9110, 8.6): a server that sees none takes it for empty.
fn tell_length<B>(response: &mut Response<B>, stored: &Stored) {
    let has_content = !matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let headers = response.headers_mut();
    let is_said = headers.contains_key(header::CONTENT_LENGTH);
    if has_content && !is_said && stored.recorded.trailers().is_none() {
        headers.insert(header::CONTENT_LENGTH, stored.total().into());
    }
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
