//! The service: always ready; a hit is an answer at once.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};

use buttress_wire::{Refusal, grpc::Code};
use http::header::{AGE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::body::CacheBody;
use super::conditional::{is_not_modified, not_modified_headers};
use super::future::{Miss, ResponseFuture};
use super::key::{with_buffer, write_primary};
use super::layer::Shared;
use super::reuse::{Reuse, Why, Wish};
use super::status::{CacheOutcome, Forwarded};
use super::store::{Found, Kind, Stored, find};

/// Made by [`HttpCacheLayer`](super::HttpCacheLayer).
#[derive(Clone)]
pub struct HttpCache<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> HttpCache<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqB, B> Service<Request<ReqB>> for HttpCache<S>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    ReqB: Body,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<CacheBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, B>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let decision = with_buffer(|key| {
            write_primary(key, &self.shared.partition(&parts), &parts);
            self.decide(&parts, has_body, key)
        });
        let (why, primary) = match decision {
            Ok(response) => return ResponseFuture::answer(response),
            Err(forward) => forward,
        };
        let miss = Miss::new(&self.shared, &parts, primary, why);
        ResponseFuture::forward(self.inner.clone(), Request::from_parts(parts, body), miss)
    }
}

impl<S> HttpCache<S> {
    /// The answer from the store; else why the request is forwarded, and its primary key.
    fn decide<B>(
        &self,
        parts: &request::Parts,
        has_body: bool,
        primary: &[u8],
    ) -> Result<Response<CacheBody<B>>, (Forwarded, Vec<u8>)> {
        let wish = Wish::of(&parts.headers);
        if let Some(why) = passes_by(parts, has_body) {
            return match why {
                Forwarded::Bypass if wish.is_only_if_cached() => {
                    Ok(gateway_timeout(&parts.headers))
                }
                _ => Err((why, primary.to_vec())),
            };
        }
        let now = Instant::now();
        let why = match find(&self.shared.cache, primary, &parts.headers, now) {
            Found::Response(hit) => {
                let Kind::Response(stored) = &hit.0 else {
                    unreachable!("find resolves variants")
                };
                match wish.reuse(&stored.policy, stored.age(now)) {
                    Reuse::Fresh | Reuse::Stale => return Ok(self.answer(parts, stored, now)),
                    Reuse::Validate(Why::Request) => Forwarded::Request,
                    Reuse::Validate(Why::Response) | Reuse::WhileRevalidating => Forwarded::Stale,
                }
            }
            Found::Nothing => Forwarded::UriMiss,
            Found::OtherVariant => Forwarded::VaryMiss,
        };
        if wish.is_only_if_cached() {
            return Ok(gateway_timeout(&parts.headers));
        }
        Err((why, primary.to_vec()))
    }

    fn answer<B>(
        &self,
        parts: &request::Parts,
        stored: &Stored,
        now: Instant,
    ) -> Response<CacheBody<B>> {
        let recorded = &stored.recorded;
        // Of any other response a condition says nothing (RFC 9110, 13.2.1).
        let not_modified =
            recorded.status().is_success() && is_not_modified(&parts.headers, recorded.headers());
        let mut response = if not_modified {
            let mut response = Response::new(CacheBody::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = not_modified_headers(recorded.headers());
            response
        } else if parts.method == Method::HEAD {
            recorded.response().map(|_| CacheBody::empty())
        } else {
            recorded.response().map(CacheBody::hit)
        };
        // It is there already: an insertion might make room for one more before it looks.
        if let Some(age) = response.headers_mut().get_mut(AGE) {
            *age = age_value(stored.age(now).as_secs());
        }
        if self.shared.extension {
            response.extensions_mut().insert(CacheOutcome::Hit);
        }
        response
    }
}

/// Why a request is not answered from the store, whatever is in it.
fn passes_by(parts: &request::Parts, has_body: bool) -> Option<Forwarded> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Forwarded::Method);
    }
    let headers = &parts.headers;
    // A body is not in the key, although the answer may depend on it.
    let bypass = has_body
        || headers.contains_key(http::header::RANGE)
        || headers.contains_key(http::header::UPGRADE)
        || headers.contains_key(http::header::IF_MATCH)
        || headers.contains_key(http::header::IF_UNMODIFIED_SINCE);
    bypass.then_some(Forwarded::Bypass)
}

/// The value of `Age`. The first minutes are made once, since every hit needs one.
fn age_value(seconds: u64) -> HeaderValue {
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
fn gateway_timeout<B>(request: &HeaderMap) -> Response<CacheBody<B>> {
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "urn:buttress:problem:cache-only-if-cached",
        "Nothing stored satisfies the request, and it forbids to ask the origin",
        Code::Unavailable,
    )
    .response(request)
    .map(CacheBody::refusal)
}

impl<S: std::fmt::Debug> std::fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
