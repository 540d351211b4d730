//! What the HTTP rows have in common.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{Empty, Full};
use tower_service::Service;

/// All of it at once.
pub type Body = Full<Bytes>;

/// Ready, and answers at once with a copy of one response. As cheap to clone as a router is.
#[derive(Clone, Debug)]
pub struct Fixed(Arc<Response<Body>>);

impl Fixed {
    /// Answers with this one.
    #[must_use]
    pub fn new(response: Response<Body>) -> Self {
        Self(Arc::new(response))
    }
}

impl<B> Service<Request<B>> for Fixed {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::clone(&self.0)))
    }
}

/// What a browser sends, more or less: six fields, and those of `more`.
#[must_use]
pub fn request(more: &[(&'static str, &'static str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("http://shop.example/products/42?view=full");
    let fields = [
        ("host", "shop.example"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive"),
    ];
    *request.headers_mut() = headers(fields.iter().chain(more));
    request
}

/// A body of so many bytes under nine fields.
#[must_use]
pub fn response(len: usize) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; len])));
    *response.headers_mut() = headers(&[
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=86400"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("vary", "accept-encoding"),
        ("content-language", "en"),
        ("x-content-type-options", "nosniff"),
        ("server", "shop"),
    ]);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, len.into());
    response
}

fn headers<'a>(fields: impl IntoIterator<Item = &'a (&'static str, &'static str)>) -> HeaderMap {
    let field = |&(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.into_iter().map(field).collect()
}
