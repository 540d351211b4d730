//! The service: always ready; a hit is an answer at once.

use std::cell::RefCell;
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
use super::key::write_primary;
use super::layer::Shared;
use super::reuse::Wish;
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
        let decision = with_primary_key(&self.shared, &parts, |key| self.decide(&parts, key));
        let (why, primary) = match decision {
            Decision::Answer(response) => return ResponseFuture::answer(*response),
            Decision::Forward(why, primary) => (why, primary),
        };
        let miss = Miss::new(&self.shared, &parts, primary, why);
        ResponseFuture::forward(self.inner.clone(), Request::from_parts(parts, body), miss)
    }
}

enum Decision<B> {
    Answer(Box<Response<CacheBody<B>>>),
    Forward(Forwarded, Vec<u8>),
}

impl<S> HttpCache<S> {
    fn decide<B>(&self, parts: &request::Parts, primary: &[u8]) -> Decision<B> {
        if let Some(why) = passes_by(parts) {
            return Decision::Forward(why, primary.to_vec());
        }
        let wish = Wish::of(&parts.headers);
        let why = match find(&self.shared.cache, primary, &parts.headers) {
            Found::Response(hit) => {
                let Kind::Response(stored) = &hit.0 else {
                    unreachable!("find resolves variants")
                };
                let now = Instant::now();
                if wish.is_met_by(stored.age(now), stored.left(now)) {
                    return Decision::Answer(Box::new(answer(parts, stored, now)));
                }
                Forwarded::Request
            }
            Found::Nothing => Forwarded::UriMiss,
            Found::OtherVariant => Forwarded::VaryMiss,
        };
        if wish.is_only_if_cached() {
            return Decision::Answer(Box::new(gateway_timeout(&parts.headers)));
        }
        Decision::Forward(why, primary.to_vec())
    }
}

/// Why a request is not answered from the store, whatever is in it.
fn passes_by(parts: &request::Parts) -> Option<Forwarded> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Forwarded::Method);
    }
    let headers = &parts.headers;
    let bypass = headers.contains_key(http::header::RANGE)
        || headers.contains_key(http::header::UPGRADE)
        || headers.contains_key(http::header::IF_MATCH)
        || headers.contains_key(http::header::IF_UNMODIFIED_SINCE);
    bypass.then_some(Forwarded::Bypass)
}

fn answer<B>(parts: &request::Parts, stored: &Stored, now: Instant) -> Response<CacheBody<B>> {
    let recorded = &stored.recorded;
    let not_modified = is_not_modified(&parts.headers, recorded.headers());
    let mut response = if not_modified {
        let mut response = Response::new(CacheBody::refusal(Default::default()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified_headers(recorded.headers());
        response
    } else if parts.method == Method::HEAD {
        recorded
            .response()
            .map(|_| CacheBody::refusal(Default::default()))
    } else {
        recorded.response().map(CacheBody::hit)
    };
    response
        .headers_mut()
        .insert(AGE, age_value(stored.age(now).as_secs()));
    response.extensions_mut().insert(CacheOutcome::Hit);
    response
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

/// Runs `f` with the primary key, which is written into a buffer that this thread keeps.
fn with_primary_key<T>(shared: &Shared, parts: &request::Parts, f: impl FnOnce(&[u8]) -> T) -> T {
    thread_local! {
        static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, so that a callback of the user's may come back here.
    let mut key = KEY.take();
    key.clear();
    write_primary(&mut key, &shared.partition(parts), parts);
    let result = f(&key);
    KEY.set(key);
    result
}

impl<S: std::fmt::Debug> std::fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
