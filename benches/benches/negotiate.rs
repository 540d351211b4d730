//! Criterion on `rows/negotiate.rs`; and on what stands beside peers without a promise: the choice from a `HeaderMap`, the layer by itself, and a reply that is written in what was
//! chosen.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use benches::kit::{body_to_end, call};
use benches::rows::negotiate::{BROWSER, ROWS, offers, thousand, unlimited};
use buttress_negotiate::{Cbor, Json, MessagePack, NegotiateLayer, Negotiated, Offers, Xml};
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

fn main() {
    support::bench(ROWS, |criterion| {
        headers(criterion, "json", &offers(), "application/json");
        headers(criterion, "1000-ranges", &unlimited(), &thousand());
        layers(criterion);
        replies(criterion);
    });
}

fn headers(criterion: &mut Criterion, path: &str, offers: &Offers<u8>, field: &str) {
    let field = HeaderValue::from_str(field).expect("a field");
    let headers = HeaderMap::from_iter([(ACCEPT, field)]);
    criterion.bench_function(&format!("negotiate/{path}/ours-headers"), |bencher| {
        bencher.iter(|| {
            let chosen = offers.select(black_box(&headers));
            chosen.expect("there is one").index()
        });
    });
}

/// Around a service that answers at once, with four formats.
fn layers(criterion: &mut Criterion) {
    let answer = |_: &Request<()>| Response::new(Full::<Bytes>::default());
    let bare = Handler(answer);
    exchange(criterion, "browser-layer/bare", BROWSER, bare);
    let formats = (Json, Cbor, MessagePack, Xml::root("all"));
    let layered = NegotiateLayer::new(formats).layer(bare);
    exchange(criterion, "browser-layer/ours-layer", BROWSER, layered);
}

/// An order as JSON, which its request prefers to CBOR. What is `bare` writes JSON, whatever is asked for.
fn replies(criterion: &mut Criterion) {
    const ACCEPTED: &str = "application/cbor;q=0.5, application/json";
    let write = |_: &Request<()>| {
        let written = serde_json::to_vec(&ORDER).expect("JSON");
        Response::new(Full::new(Bytes::from(written)))
    };
    exchange(criterion, "reply/bare", ACCEPTED, Handler(write));
    let reply = |request: &Request<()>| {
        let negotiated = Negotiated::<(Json, Cbor)>::of(request).expect("the layer is there");
        let reply = negotiated.reply(&ORDER);
        reply.unwrap_or_else(|error| error.response())
    };
    let layered = NegotiateLayer::new((Json, Cbor)).layer(Handler(reply));
    exchange(criterion, "reply/ours", ACCEPTED, layered);
}

/// One request, which is not measured, and its answer, read to the end.
fn exchange<S, B>(criterion: &mut Criterion, name: &str, accepted: &'static str, mut service: S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let request = || {
        let mut request = Request::new(());
        let accepted = HeaderValue::from_static(accepted);
        request.headers_mut().insert(ACCEPT, accepted);
        request
    };
    criterion.bench_function(&format!("negotiate/{name}"), |bencher| {
        bencher.iter_batched(
            request,
            |request| {
                let Ok(response) = call(&mut service, request);
                body_to_end(response)
            },
            BatchSize::SmallInput,
        );
    });
}

/// Answers at once.
#[derive(Clone, Copy)]
struct Handler<F>(F);

impl<F, B> Service<Request<()>> for Handler<F>
where
    F: Fn(&Request<()>) -> Response<B>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok((self.0)(&request)))
    }
}

#[derive(Serialize)]
struct Order {
    id: u64,
    customer: &'static str,
    paid: bool,
    lines: [Line; 3],
}

#[derive(Clone, Copy, Serialize)]
struct Line {
    product: &'static str,
    pieces: u32,
    cents: u32,
}

const ORDER: Order = Order {
    id: 4711,
    customer: "ada",
    paid: true,
    lines: [Line {
        product: "brick",
        pieces: 12,
        cents: 350,
    }; 3],
};
