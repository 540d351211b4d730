//! Taking things out of the store by request.

use buttress_wire::{Refusal, grpc::Code};
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, request};

use super::body::CacheBody;
use super::settings::Shared;
use super::store::{expire, invalidate, remove};
use crate::Depth;

/// Asks for what is purged to be stale, and not gone.
const SOFT: HeaderName = HeaderName::from_static("x-soft-purge");

/// The answer to a `PURGE`, if this cache takes any.
pub(super) fn purge<B>(shared: &Shared, parts: &request::Parts) -> Option<Response<CacheBody<B>>> {
    let may_purge = shared.hooks.purge.as_ref()?;
    if parts.method.as_str() != "PURGE" {
        return None;
    }
    if !may_purge(parts) {
        return Some(refused(&parts.headers));
    }
    let depth = if parts.headers.contains_key(SOFT) {
        Depth::Expire
    } else {
        Depth::Remove
    };
    let tags: Vec<_> = shared.header_tags(&parts.headers).collect();
    if tags.is_empty() {
        purge_target(shared, parts, depth);
    } else {
        invalidate(&shared.cache, &tags, Depth::Remove);
    }
    let mut done = Response::new(CacheBody::empty());
    *done.status_mut() = StatusCode::NO_CONTENT;
    let no_store = HeaderValue::from_static("no-store");
    done.headers_mut().insert(CACHE_CONTROL, no_store);
    Some(done)
}

/// Takes what is at a target, with all its variants.
pub(super) fn purge_target(shared: &Shared, parts: &request::Parts, depth: Depth) {
    match depth {
        Depth::Expire => {
            let (soft, hard) = shared.soft_and_hard_keys_of(parts);
            hard.iter().for_each(|key| remove(&shared.cache, key));
            soft.iter()
                .for_each(|key| expire(&shared.cache, key, shared.keep));
        }
        Depth::Remove => {
            let keys = shared.keys_of(parts).into_iter();
            keys.for_each(|key| remove(&shared.cache, &key));
        }
    }
}

fn refused<B>(request: &HeaderMap) -> Response<CacheBody<B>> {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "urn:buttress:problem:cache-purge-refused",
        "This client may not take anything out of the cache",
        Code::PermissionDenied,
    )
    .response(request)
    .map(CacheBody::refusal)
}
