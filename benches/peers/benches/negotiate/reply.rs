//! An order that a handler of axum gives, as JSON or CBOR, by what its request prefers: through a router, with the body read to its end. JSON is preferred in what is measured.
//!
//! Each is set up as its documentation shows. `bare` is the router with a handler that gives JSON, whatever is asked for; axum-accept chooses, and leaves the writing to the
//! handler.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use axum_accept::AcceptExtractor;
use axum_content_negotiation as axum_content;
use buttress_negotiate::{self as ours, Negotiated, ReplyBody};
use criterion::{BatchSize, Criterion};
use http::Request;
use http::header::CONTENT_TYPE;
use peers::{exchange, poll};
use serde::Serialize;
use tower::ServiceExt;
use tower_conneg::{CborFormat, ErasedFormat, JsonFormat, NegotiateResponse, ServerConfig};

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

fn at(handler: MethodRouter) -> Router {
    Router::new().route("/orders/4711", handler)
}

fn bare() -> Router {
    at(get(async || Json(ORDER)))
}

fn ours() -> Router {
    type Formats = (ours::Json, ours::Cbor);
    async fn order(negotiated: Negotiated<Formats>) -> http::Response<ReplyBody> {
        let reply = negotiated.reply(&ORDER);
        reply.unwrap_or_else(|error| error.response())
    }
    at(get(order)).layer(ours::NegotiateLayer::new((ours::Json, ours::Cbor)))
}

fn axum_content_negotiation() -> Router {
    at(get(async || axum_content::Negotiate(ORDER))).layer(axum_content::NegotiateLayer)
}

fn tower_conneg() -> Router {
    async fn order(negotiate: tower_conneg::Negotiate<()>) -> NegotiateResponse<Order> {
        negotiate.respond(ORDER)
    }
    let json: Arc<dyn ErasedFormat> = Arc::new(JsonFormat);
    let config = ServerConfig::builder()
        .formats([Arc::clone(&json), Arc::new(CborFormat)])
        .fallback_format(json);
    at(get(order)).layer(tower_conneg::NegotiateLayer::new(config.build()))
}

#[derive(AcceptExtractor)]
enum Extracted {
    #[accept(mediatype = "application/json")]
    Json,
    #[accept(mediatype = "application/cbor")]
    Cbor,
}

fn axum_accept() -> Router {
    async fn order(accept: Extracted) -> Response {
        match accept {
            Extracted::Json => Json(ORDER).into_response(),
            Extracted::Cbor => {
                let kind = [(CONTENT_TYPE, "application/cbor")];
                (kind, "written by whoever likes CBOR").into_response()
            }
        }
    }
    at(get(order))
}

fn request() -> Request<Body> {
    request_for("application/cbor;q=0.5, application/json")
}

fn request_for(accept: &str) -> Request<Body> {
    Request::get("/orders/4711")
        .header("host", "shop.example")
        .header("accept", accept)
        .body(Body::empty())
        .expect("a request")
}

/// Whether it answers with what is preferred.
fn chooses(router: &Router) -> bool {
    let kind = |accept| {
        let response = poll(router.clone().oneshot(request_for(accept))).expect("it answers");
        response.headers()[CONTENT_TYPE].clone()
    };
    kind("application/cbor;q=0.5, application/json") == "application/json"
        && kind("application/cbor, application/json;q=0.5") == "application/cbor"
}

fn bench(criterion: &mut Criterion, name: &str, mut router: Router) {
    let whole = serde_json::to_vec(&ORDER).expect("JSON").len();
    assert_eq!(exchange(&mut router, request()), whole, "{name}");
    assert_eq!(chooses(&router), name != "bare", "{name}");
    criterion.bench_function(&format!("negotiate/reply/{name}"), |bencher| {
        bencher.iter_batched(
            request,
            |request| exchange(&mut router, request),
            BatchSize::SmallInput,
        );
    });
}

pub(crate) fn replies(criterion: &mut Criterion) {
    bench(criterion, "bare", bare());
    bench(criterion, "ours", ours());
    bench(
        criterion,
        "axum-content-negotiation",
        axum_content_negotiation(),
    );
    bench(criterion, "tower-conneg", tower_conneg());
    bench(criterion, "axum-accept", axum_accept());
}
