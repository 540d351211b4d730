//! Trace context: reading, a new id and writing; and the server layer around a service that answers at once.

use buttress_trace_ctx::{
    Extracted, FastIds, Finished, Policy, Propagator, ServerLayer, Sink, TraceContext, TraceLayer,
    W3c,
};
use http::HeaderMap;
use tower_layer::Layer;

use super::http::{Body, Fixed, request};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// Recorded, by its caller.
pub const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Not recorded, by its caller.
pub const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Sampled or not, the layer may cost the same.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "trace-ctx/round-trip/ours",
        budget: Some(Budget::new(100.0, 1)),
        zero: Zero::beside(|| Work::new(|| ())),
        work: round_trip,
    }),
    Row::Call(Call {
        id: "trace-ctx/round-trip/ours-policy",
        budget: None,
        zero: Zero::beside(|| Work::new(|| ())),
        work: policy,
    }),
    Row::Call(Call {
        id: "trace-ctx/quiet/ours",
        budget: Some(Budget::new(200.0, 3)),
        zero: Zero::over(|| bare(SAMPLED)),
        work: || server(TraceLayer::server(), SAMPLED),
    }),
    Row::Call(Call {
        id: "trace-ctx/quiet/ours-unsampled",
        budget: Some(Budget::new(200.0, 3)),
        zero: Zero::over(|| bare(UNSAMPLED)).named("bare-unsampled"),
        work: || server(TraceLayer::server(), UNSAMPLED),
    }),
    Row::Call(Call {
        id: "trace-ctx/told/ours",
        budget: None,
        zero: Zero::over(|| bare(SAMPLED)),
        work: || server(TraceLayer::server().sink(ignore), SAMPLED),
    }),
    Row::Call(Call {
        id: "trace-ctx/client/ours",
        budget: Some(Budget::new(120.0, 1)),
        zero: Zero::over(bare_client),
        work: client,
    }),
];

/// The propagator by itself: the caller's context, a span below it, and its headers.
fn round_trip() -> Work {
    let (request, mut out) = (request(&[("traceparent", SAMPLED)]), room());
    Work::new(move || {
        let Extracted::Remote(remote) = W3c.extract(request.headers()) else {
            unreachable!("it is valid")
        };
        W3c.inject(&remote.child(&FastIds), &mut out);
    })
}

/// The same with everything that the layers decide: trust, sampling, and the request id.
fn policy() -> Work {
    let (mut request, mut out) = (traced(SAMPLED), room());
    let policy = Policy::default();
    Work::new(move || {
        let context = policy.accept(&mut request);
        policy.inject(&context, &mut out);
    })
}

fn bare(traceparent: &'static str) -> Work {
    let (mut service, request) = (Fixed::new(hello()), traced(traceparent));
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}

fn server<K: Sink + 'static>(layer: ServerLayer<K>, traceparent: &'static str) -> Work {
    let (mut service, request) = (layer.layer(Fixed::new(hello())), traced(traceparent));
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}

/// Without fields, so that what is taken away as the bare service is small beside what is left.
#[must_use]
pub fn hello() -> http::Response<Body> {
    http::Response::new(Body::from("hello"))
}

/// A request that says in what trace it is.
#[must_use]
pub fn traced(traceparent: &'static str) -> http::Request<http_body_util::Empty<bytes::Bytes>> {
    request(&[("traceparent", traceparent), ("x-request-id", "req-1")])
}

/// A sink that listens and does nothing.
fn ignore(_: &Finished<'_>) {}

fn room() -> HeaderMap {
    HeaderMap::with_capacity(8)
}

/// A call as a handler makes it: a few fields, with room for more, in the context of the request it is made for.
fn outgoing(context: &TraceContext) -> http::Request<http_body_util::Empty<bytes::Bytes>> {
    let mut request = http::Request::new(http_body_util::Empty::new());
    *request.headers_mut() = room();
    for (name, value) in [("host", "stock.svc"), ("accept", "application/json")] {
        let value = http::HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    request.extensions_mut().insert(context.clone());
    request
}

fn bare_client() -> Work {
    let context = Policy::default().accept(&mut traced(SAMPLED));
    let mut service = Fixed::new(hello());
    Work::new(move || {
        let Ok(response) = call(&mut service, outgoing(&context));
        body_to_end(response)
    })
}

fn client() -> Work {
    let context = Policy::default().accept(&mut traced(SAMPLED));
    let mut service = TraceLayer::client().layer(Fixed::new(hello()));
    Work::new(move || {
        let Ok(response) = call(&mut service, outgoing(&context));
        body_to_end(response)
    })
}
