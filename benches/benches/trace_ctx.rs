//! Criterion on `rows/trace_ctx.rs`; and on what stands beside peers without a promise: a line of JSON for each request, a span for the SDK of OpenTelemetry, the same where the
//! caller has decided that nothing is recorded, and two threads at one layer.

mod support;
#[path = "support/threads.rs"]
mod threads;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use benches::kit::{body_to_end, call};
use benches::rows::http::Fixed;
use benches::rows::trace_ctx::{ROWS, SAMPLED, UNSAMPLED, hello, traced};
use buttress_trace_ctx::{JsonFormat, JsonLines, OtelSink, TraceLayer, TracingSink};
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tower_layer::Layer;
use tower_service::Service;
use tracing_subscriber::fmt::format::JsonFields;

use threads::both_ways;
use two_threads::two_threads;

fn main() {
    support::bench(ROWS, |criterion| {
        quiet(criterion);
        spans(criterion);
        json(criterion);
    });
}

/// What has rows, with two threads.
fn quiet(criterion: &mut Criterion) {
    for (bare, ours, parent) in [
        ("bare", "ours", SAMPLED),
        ("bare-unsampled", "ours-unsampled", UNSAMPLED),
    ] {
        let id = |name| format!("trace-ctx/quiet/{name}");
        two_threads(criterion, &id(bare), || calls(&hellos(), parent));
        let layered = TraceLayer::server().layer(hellos());
        two_threads(criterion, &id(ours), || calls(&layered, parent));
    }
}

/// Spans that are made, and taken by who does nothing with them.
fn spans(criterion: &mut Criterion) {
    for (path, parent) in [("spans", SAMPLED), ("denied", UNSAMPLED)] {
        let id = |name| format!("trace-ctx/{path}/{name}");
        both_ways(criterion, &id("bare"), || calls(&hellos(), parent));
        let provider = OtelSink::provider().with_span_processor(Nowhere).build();
        let sink = OtelSink::new(provider.tracer("shop"));
        let layered = TraceLayer::server().sink(sink).layer(hellos());
        both_ways(criterion, &id("ours"), || calls(&layered, parent));
    }
}

/// Lines that are written to nowhere. Last: from then on there is a subscriber.
fn json(criterion: &mut Criterion) {
    let id = |name| format!("trace-ctx/json/{name}");
    both_ways(criterion, &id("bare"), || calls(&hellos(), SAMPLED));
    let sink = JsonLines::new(io::sink());
    let layered = TraceLayer::server().sink(sink).layer(hellos());
    both_ways(criterion, &id("ours-access-log"), || {
        calls(&layered, SAMPLED)
    });
    tracing_subscriber::fmt()
        .event_format(JsonFormat::new())
        .fmt_fields(JsonFields::new())
        .with_writer(io::sink)
        .init();
    let layered = TraceLayer::server()
        .sink(TracingSink::new())
        .layer(hellos());
    both_ways(criterion, &id("ours-tracing"), || calls(&layered, SAMPLED));
}

fn hellos() -> Fixed {
    Fixed::new(hello())
}

/// One request after the other, each answered and read to its end.
fn calls<S, B>(service: &S, parent: &'static str) -> impl FnMut() + Send + use<S, B>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: Body,
{
    let (mut service, request) = (service.clone(), traced(parent));
    move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response);
    }
}

/// Takes spans, and does nothing with them.
#[derive(Debug)]
struct Nowhere;

impl SpanProcessor for Nowhere {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
