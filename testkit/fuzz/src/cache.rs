//! The HTTP cache: fields of requests and responses as they come, one by line, and what is read from the level that processes share.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use buttress_cache::http::{CacheOutcome, CachedResponse, HttpCacheLayer, ResponseCodec};
use buttress_cache::l2::{Codec, conformance};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full};
use tower_layer::Layer;
use tower_service::Service;

const BODY: &str = "0123456789";

/// Answers with these fields, and once more with the same.
#[derive(Clone)]
struct Origin(HeaderMap);

impl Service<Request<Empty<Bytes>>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let mut response = Response::new(Full::from(BODY));
        response.headers_mut().clone_from(&self.0);
        ready(Ok(response))
    }
}

/// The fields that a cache reads, by the first byte of a line.
fn fields(bytes: &[u8], names: &[HeaderName]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n').take(32);
    let field = |line: &[u8]| {
        let (which, value) = line.split_first()?;
        let name = names.get(usize::from(which.wrapping_sub(b'a')))?;
        Some((name.clone(), HeaderValue::from_bytes(value).ok()?))
    };
    lines.filter_map(field).collect()
}

fn names(names: &'static str) -> Vec<HeaderName> {
    names
        .split_whitespace()
        .map(HeaderName::from_static)
        .collect()
}

/// What a client gets, whatever the fields say: the whole, or a part of it that is as long as it says, or nothing.
fn ask(layer: &HttpCacheLayer, origin: &Origin, request: &HeaderMap) -> Option<CacheOutcome> {
    let mut call = Request::get("http://shop/a?b=1&sid=2")
        .body(Empty::new())
        .ok()?;
    call.headers_mut().clone_from(request);
    let future = pin!(layer.layer(origin.clone()).call(call));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = future.poll(&mut cx) else {
        panic!("nothing here waits");
    };
    let outcome = response.extensions().get().copied();
    let (head, body) = response.into_parts();
    let Poll::Ready(Ok(body)) = pin!(body.collect()).poll(&mut cx) else {
        panic!("nothing here waits");
    };
    let body = body.to_bytes();
    match head.status.as_u16() {
        200 => assert_eq!(body, BODY),
        206 => {
            let length = head.headers.get(header::CONTENT_LENGTH);
            assert_eq!(length, Some(&HeaderValue::from(body.len())));
            assert!(head.headers.contains_key(header::CONTENT_RANGE) || body.len() > BODY.len());
        }
        status => assert!([304, 416, 504].contains(&status), "{status}"),
    }
    outcome
}

fn layer() -> HttpCacheLayer {
    HttpCacheLayer::new(
        CachedResponse::cache()
            .max_weight(1 << 20)
            .slots(1024)
            .build(),
    )
    .heuristic(Duration::from_secs(60))
    .no_vary_search(true)
    .tag_header(HeaderName::from_static("surrogate-key"))
    .response_extension()
}

/// Fields of a response: directives, targeted ones, dates, `Age`, `Vary`, groups, parameters, tags.
pub(super) fn response(bytes: &[u8]) {
    static NAMES: LazyLock<Vec<HeaderName>> = LazyLock::new(|| {
        names(
            "cache-control cdn-cache-control expires age date last-modified etag vary cache-groups no-vary-search surrogate-key \
             connection content-range set-cookie cache-status content-location",
        )
    });
    let said = fields(bytes, &NAMES);
    let lines = said.get_all(header::CACHE_CONTROL).iter();
    let all = lines.map(|line| line.as_bytes().to_ascii_lowercase());
    let all: Vec<_> = all.collect();
    // Who understands it does not listen to `no-store`; and a targeted field goes before both.
    let is_plain = !said.contains_key("cdn-cache-control")
        && !all
            .concat()
            .windows(15)
            .any(|word| word == b"must-understand");
    let forbids = |name: &str| is_plain && all.iter().any(|line| line == name.as_bytes());
    let (layer, origin) = (layer(), Origin(said.clone()));
    for _ in 0..2 {
        let outcome = ask(&layer, &origin, &HeaderMap::new());
        if forbids("no-store") || forbids("private") {
            assert!(!matches!(outcome, Some(CacheOutcome::Hit)), "{said:?}");
        }
    }
}

/// Fields of a request for what is stored: directives, conditions, ranges.
pub(super) fn request(bytes: &[u8]) {
    static NAMES: LazyLock<Vec<HeaderName>> = LazyLock::new(|| {
        names(
            "cache-control pragma range if-range if-none-match if-modified-since accept-encoding accept authorization cookie host",
        )
    });
    let origin = Origin(HeaderMap::from_iter([
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        ),
        (header::ETAG, HeaderValue::from_static("\"1\"")),
        (
            header::VARY,
            HeaderValue::from_static("accept-encoding, accept"),
        ),
    ]));
    let layer = layer();
    let request = fields(bytes, &NAMES);
    for request in [&HeaderMap::new(), &request, &request] {
        ask(&layer, &origin, request);
    }
}

/// A stored response, a rule or a list of variants, as another process wrote it.
pub(super) fn stored(bytes: &[u8]) {
    let Ok(response) = ResponseCodec.decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let again = ResponseCodec
        .encode(&response)
        .expect("what was read is written");
    ResponseCodec.decode(again).expect("and read again");
}

/// An entry of the second level.
pub(super) fn frame(bytes: &[u8]) {
    if let Some(payload) = conformance::payload_of(Bytes::copy_from_slice(bytes), b"key") {
        assert!(payload.len() <= 1 << 30);
    }
}
