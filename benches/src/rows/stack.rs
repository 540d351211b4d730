//! All layers of a server around a hello world that no cache answers; and both that and a hit of the gateway as shares of what hyper alone can do.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Empty, Full};
use tower_service::Service;

use super::http::{Body, Fixed, request, response};
use crate::kit::{Call, Row, Served, Share, Work, Zero, body_to_end, call, serve, spawn};
use crate::stack;

/// Without a server first, then with one.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "stack/hello/ours",
        budget: None,
        zero: Zero::over(|| exchange(Fixed::new(hello()))),
        work: || exchange(stack::server(Fixed::new(hello()))),
    }),
    Row::Share(Share {
        id: "stack/server",
        budget: 0.9,
        ours: || serve(|| stack::server(Fixed::new(hello()))),
        bare: || serve(|| Fixed::new(told())),
    }),
    Row::Share(Share {
        id: "stack/gateway-hit",
        budget: 0.9,
        ours: || gateway(&[]),
        bare: origin,
    }),
    Row::Share(Share {
        id: "stack/gateway-cache-hit",
        budget: 0.9,
        ours: || gateway(&["--only", "cache"]),
        bare: origin,
    }),
];

fn origin() -> io::Result<Served> {
    serve(|| Fixed::new(page()))
}

/// With everything it has, unless `which` says otherwise. What is asked for is in its cache from the second request on.
fn gateway(which: &[&str]) -> io::Result<Served> {
    let origin = origin()?;
    let upstream = format!("http://{}", origin.address());
    // It would hang up while others are measured.
    let mut args = vec![
        "--quiet",
        "--threads",
        "1",
        "--patience",
        "600000",
        "--upstream",
        &upstream,
    ];
    args.extend(which);
    Ok(spawn("gateway", &args)?.behind(origin))
}

/// What is to be made anew for everybody.
#[must_use]
pub fn hello() -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello, world")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same with the fields that the layers add: the same goes out, and what it costs to write it is hyper's.
fn told() -> Response<Body> {
    let mut response = hello();
    let headers = response.headers_mut();
    let status = HeaderValue::from_static("buttress; fwd=uri-miss");
    headers.insert("cache-status", status);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A kibibyte that a cache may keep, under nine fields.
#[must_use]
pub fn page() -> Response<Body> {
    response(1 << 10)
}

fn exchange<S, B>(mut service: S) -> Work
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + 'static,
    B: http_body::Body,
{
    let request = request(&[]);
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}
