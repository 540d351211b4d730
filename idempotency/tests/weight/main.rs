//! What a memory store weighs, beside what it takes. A binary of its own, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use testkit::alloc::{Holding, held};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Holding = Holding;

/// Enough for tables of some hundred keys.
const KEYS: usize = 2000;

type Make = fn() -> Response<Full<Bytes>>;

/// What is taken and what is weighed, for each key.
fn measure(response: Make, copies: bool) -> (usize, usize) {
    let store = MemoryStore::builder().copy(copies).build();
    let layer = IdempotencyLayer::new(store.clone()).single_tenant();
    let mut service = layer.layer(service_fn(move |_: Request<_>| {
        std::future::ready(Ok::<_, Infallible>(response()))
    }));
    let before = held();
    for key in 0..KEYS {
        let order = Request::post("/orders").header("idempotency-key", key);
        let order = order.body(Full::new(Bytes::from_static(b"lamp"))).unwrap();
        let mut call = pin!(service.call(order));
        let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut context()) else {
            panic!("everything is ready")
        };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context()) {
            drop(frame.unwrap());
        }
    }
    ((held() - before) / KEYS, store.snapshot().bytes / KEYS)
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// As handlers write it: field by field, with values of their own.
fn written(fields: usize, value: usize, body: usize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; body])));
    for n in 0..fields {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        let value = HeaderValue::try_from("v".repeat(value)).unwrap();
        response.headers_mut().insert(name, value);
    }
    response
}

/// As it is where most is constant.
fn constant(body: usize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; body])));
    for (name, value) in [
        ("cache-control", "public, max-age=86400"),
        ("content-language", "en"),
        ("content-length", "1024"),
        ("content-type", "application/json"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("server", "shop"),
        ("vary", "accept-encoding"),
        ("x-content-type-options", "nosniff"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().remove("content-length");
    response
}

fn repeated() -> Response<Full<Bytes>> {
    let mut response = written(2, 16, 300);
    for n in 0..12 {
        let link = HeaderValue::try_from(format!("</style-{n}.css>; rel=preload")).unwrap();
        response.headers_mut().append("link", link);
    }
    response
}

fn long_names() -> Response<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    for n in 0..6 {
        let name = HeaderName::try_from(format!("x-{n}-{}", "n".repeat(2000))).unwrap();
        headers.insert(name, HeaderValue::from_static("1"));
    }
    let mut response = written(0, 0, 0);
    *response.headers_mut() = headers;
    response
}

#[test]
fn a_store_weighs_what_it_takes() {
    // What a thread makes once, as the date.
    measure(|| written(0, 0, 0), false);
    let shapes: [(&str, Make); 8] = [
        ("nothing but a status", || written(0, 0, 0)),
        ("a little JSON", || written(3, 16, 300)),
        ("constant fields", || constant(1 << 10)),
        ("fields of its own", || written(9, 24, 1 << 10)),
        ("many fields", || written(40, 60, 200)),
        ("a field repeated", repeated),
        ("long names", long_names),
        ("a large body", || written(3, 16, 1 << 16)),
    ];
    let mut wrong = Vec::new();
    for (shape, make) in shapes {
        for copies in [false, true] {
            let (taken, weighed) = measure(make, copies);
            println!("{shape}, copies {copies}: {taken} bytes are taken, {weighed} weighed");
            // What is longer than any name should be is in a copy twice, and weighed once.
            let taken = taken - usize::from(copies && shape == "long names") * 6 * 2000;
            if weighed.abs_diff(taken) * 100 > taken * 15 {
                wrong.push((shape, copies));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
