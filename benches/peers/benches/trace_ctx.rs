//! Trace context: read, a new id, written; and a server layer around a service that answers at once, whose body is read to its end.
//!
//! By one thread, and by two at one layer. Each is set up as its documentation shows, and reports to nowhere: an SDK whose processor drops spans, a subscriber that writes to a sink. A
//! request has seven fields and comes with a parent. Groups are compared within themselves: `quiet` has nobody who listens, `json` writes one line
//! or more per request, `spans` makes a span for an SDK, `denied` the same where the caller has decided that nothing is recorded.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    io,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use buttress_trace_ctx::{
    Extracted, FastIds, JsonFormat, JsonLines, OtelSink, Policy, Propagator, Sink, TraceLayer,
    TracingSink, W3c,
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use opentelemetry::{
    global,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use peers::{both_ways, both_ways_within, poll};
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer as TowerHttp},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::{fmt::format::JsonFields, layer::SubscriberExt};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[derive(Clone)]
struct Hello;

impl Service<Request<Body>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::from("hello"))))
    }
}

fn request(parent: &'static str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("http://shop.example/products/42?view=full");
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive"),
        ("traceparent", parent),
    ] {
        let name = HeaderName::from_static(name);
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    request
}

/// One request from its making to the drop of its body; what making it costs is in `bare`.
fn serve<S, B>(service: &mut S, parent: &'static str)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    poll(std::future::poll_fn(|cx| service.poll_ready(cx))).expect("ready");
    let response = poll(service.call(request(parent))).expect("answers");
    let mut body = pin!(response.into_body());
    while !body.is_end_stream() {
        if poll(std::future::poll_fn(|cx| body.as_mut().poll_frame(cx))).is_none() {
            break;
        }
    }
}

fn measure<S, B>(criterion: &mut Criterion, id: &str, parent: &'static str, service: S)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    measure_under(criterion, None, id, parent, service);
}

/// With a subscriber, which each thread has to be told of.
fn measure_under<S, B>(
    criterion: &mut Criterion,
    subscriber: Option<&Dispatch>,
    id: &str,
    parent: &'static str,
    service: S,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    let enter = || subscriber.map(dispatcher::set_default);
    both_ways_within(criterion, &format!("trace-ctx/{id}"), enter, || {
        let mut service = service.clone();
        move || serve(&mut service, parent)
    });
}

fn ours<K: Sink + Send + Sync>(
    sink: K,
) -> impl Service<Request<Body>, Response = Response<impl http_body::Body>, Error = Infallible>
+ Clone
+ Send {
    TraceLayer::server().sink(sink).layer(Hello)
}

fn tower_http()
-> impl Service<Request<Body>, Response = Response<impl http_body::Body>, Error = Infallible>
+ Clone
+ Send {
    let traced =
        TowerHttp::new_for_http().layer(PropagateRequestIdLayer::x_request_id().layer(Hello));
    SetRequestIdLayer::x_request_id(MakeRequestUuid).layer(traced)
}

/// `bare` clears the table that all of them write to, as they do.
fn codec(criterion: &mut Criterion) {
    codec_of(criterion, "bare", |_, _| {});
    codec_of(criterion, "ours", |incoming, out| {
        let Extracted::Remote(remote) = W3c.extract(incoming.headers()) else {
            unreachable!()
        };
        W3c.inject(&remote.child(&FastIds), out);
    });
    let policy = Policy::default();
    codec_of(criterion, "ours-policy", |incoming, out| {
        let context = policy.accept(incoming);
        policy.inject(&context, out);
    });
    let propagator = TraceContextPropagator::new();
    let ids = opentelemetry_sdk::trace::RandomIdGenerator::default();
    codec_of(criterion, "opentelemetry", |incoming, out| {
        let parent = propagator.extract(&HeaderExtractor(incoming.headers()));
        let span = parent.span().span_context().clone();
        let id = opentelemetry_sdk::trace::IdGenerator::new_span_id(&ids);
        let child = SpanContext::new(
            span.trace_id(),
            id,
            span.trace_flags(),
            false,
            span.trace_state().clone(),
        );
        let child = parent.with_remote_span_context(child);
        propagator.inject_context(&child, &mut HeaderInjector(out));
    });
    codec_of(criterion, "fastrace", |incoming, out| {
        use fastrace::prelude::{SpanContext, SpanId};
        let field = incoming.headers()["traceparent"].to_str().expect("ASCII");
        let parent = SpanContext::decode_w3c_traceparent(field).expect("valid");
        let child = SpanContext::new(parent.trace_id, SpanId::random()).sampled(parent.sampled);
        let field = HeaderValue::from_str(&child.encode_w3c_traceparent());
        out.insert("traceparent", field.expect("ASCII"));
    });
}

/// From the fields of a request into another table of fields, both of which each thread has to itself.
fn codec_of(
    criterion: &mut Criterion,
    name: &str,
    pass_on: impl Fn(&mut Request<Body>, &mut HeaderMap) + Sync,
) {
    both_ways(criterion, &format!("trace-ctx/round-trip/{name}"), || {
        let (mut incoming, mut out) = (request(SAMPLED), HeaderMap::with_capacity(8));
        let pass_on = &pass_on;
        move || {
            out.clear();
            pass_on(&mut incoming, &mut out);
            black_box(&out);
        }
    });
}

fn quiet(criterion: &mut Criterion) {
    measure(criterion, "quiet/bare", SAMPLED, Hello);
    measure(criterion, "quiet/ours", SAMPLED, ours(()));
    measure(criterion, "quiet/ours-unsampled", UNSAMPLED, ours(()));
    measure(criterion, "quiet/tower-http", SAMPLED, tower_http());
    let otel = axum_tracing_opentelemetry::middleware::OtelAxumLayer::default();
    measure(
        criterion,
        "quiet/axum-tracing-opentelemetry",
        SAMPLED,
        otel.layer(Hello),
    );
}

/// Both write through subscribers that are made alike, to nowhere; `ours-access-log` needs none.
fn json(criterion: &mut Criterion) {
    measure(criterion, "json/bare", SAMPLED, Hello);
    measure(
        criterion,
        "json/ours-access-log",
        SAMPLED,
        ours(JsonLines::new(io::sink())),
    );
    let subscriber = tracing_subscriber::fmt()
        .event_format(JsonFormat::new())
        .fmt_fields(JsonFields::new())
        .with_writer(io::sink)
        .finish();
    measure_under(
        criterion,
        Some(&subscriber.into()),
        "json/ours-tracing",
        SAMPLED,
        ours(TracingSink::new()),
    );
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(io::sink)
        .finish();
    // At INFO, as ours: by its default nothing would be written here.
    let layer = TowerHttp::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(tracing::Level::INFO))
        .on_response(DefaultOnResponse::new().level(tracing::Level::INFO));
    let traced = layer.layer(PropagateRequestIdLayer::x_request_id().layer(Hello));
    let service = SetRequestIdLayer::x_request_id(MakeRequestUuid).layer(traced);
    measure_under(
        criterion,
        Some(&subscriber.into()),
        "json/tower-http",
        SAMPLED,
        service,
    );
}

/// Takes spans, and does nothing with them.
#[derive(Debug)]
struct Nowhere;

impl SpanProcessor for Nowhere {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}
    fn on_end(&self, _: SpanData) {}
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct NoReport;

impl fastrace::collector::Reporter for NoReport {
    fn report(&mut self, _: Vec<fastrace::collector::SpanRecord>) {}
}

fn spans(criterion: &mut Criterion) {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Nowhere)
        .build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());
    fastrace::set_reporter(NoReport, fastrace::collector::Config::default());
    for (group, parent) in [("spans", SAMPLED), ("denied", UNSAMPLED)] {
        let id = |peer: &str| format!("{group}/{peer}");
        measure(criterion, &id("bare"), parent, Hello);
        let own = OtelSink::provider().with_span_processor(Nowhere).build();
        measure(
            criterion,
            &id("ours"),
            parent,
            ours(OtelSink::new(own.tracer("shop"))),
        );
        let layer = opentelemetry_instrumentation_tower::http::server::LayerBuilder::builder();
        let layer = layer.with_metrics(false).build().expect("a layer");
        measure(
            criterion,
            &id("opentelemetry-instrumentation-tower"),
            parent,
            layer.layer(Hello),
        );
        measure(
            criterion,
            &id("fastrace"),
            parent,
            fastrace_axum::FastraceLayer::default().layer(Hello),
        );
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("shop")));
        let subscriber = Dispatch::new(subscriber);
        let subscriber = Some(&subscriber);
        let layer = axum_tracing_opentelemetry::middleware::OtelAxumLayer::default();
        let name = id("axum-tracing-opentelemetry");
        measure_under(criterion, subscriber, &name, parent, layer.layer(Hello));
        let layer = tower_otel::trace::HttpLayer::server(tracing::Level::INFO);
        let name = id("tower-otel");
        measure_under(criterion, subscriber, &name, parent, layer.layer(Hello));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = codec, quiet, json, spans
}
criterion_main!(benches);
