//! Plain `tracing` spans of a handler, in OpenTelemetry's export and in the log, are below the request's span.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use buttress_trace_ctx::{
    Always, JsonFormat, Never, OtelSink, ParentBased, Probability, Sampler, TraceContext,
    TraceLayer, TracingSink, current,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::trace::{Span as _, SpanId, SpanKind, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;

use crate::server::PARENT;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a handler writes who knows `tracing` and nothing of us: a span across an await, one in it, a line in each.
async fn checkout() -> TraceContext {
    let work = async {
        tokio::task::yield_now().await;
        tracing::info!("cart loaded");
        let reserve = tracing::info_span!("reserve", sku = 7);
        reserve.in_scope(|| tracing::warn!("low stock"));
    };
    work.instrument(tracing::info_span!("checkout")).await;
    current().unwrap()
}

struct Ran {
    context: TraceContext,
    exported: Vec<SpanData>,
    lines: Vec<Value>,
}

impl Ran {
    #[track_caller]
    fn span(&self, name: &str) -> &SpanData {
        let mut found = self.exported.iter().filter(|span| span.name == name);
        let span = found.next().expect(name);
        assert!(found.next().is_none());
        span
    }
}

/// Runs the handler behind our layer, with both subscribers of a program that logs and exports.
fn run(sampler: impl Sampler, cover: bool) -> Ran {
    let exporter = InMemorySpanExporter::default();
    let provider = OtelSink::provider()
        .with_simple_exporter(exporter.clone())
        .build();
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("tracing")))
        .with(
            tracing_subscriber::fmt::layer()
                .event_format(JsonFormat::new())
                .fmt_fields(JsonFields::new())
                .with_writer(move || lines.clone()),
        );
    let context =
        tracing::subscriber::with_default(subscriber, || serve(sampler, cover, &provider));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    Ran {
        context,
        exported: exporter.get_finished_spans().unwrap(),
        lines: text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

fn serve(sampler: impl Sampler, cover: bool, provider: &SdkTracerProvider) -> TraceContext {
    let sink = OtelSink::new(provider.tracer("shop"));
    let tracer = provider.tracer("handler");
    let seen = Arc::new(Mutex::new(None));
    let told = seen.clone();
    let layer = TraceLayer::server().sampler(sampler).sink(if cover {
        sink.cover_unsampled()
    } else {
        sink
    });
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let (told, tracer) = (told.clone(), tracer.clone());
        async move {
            *told.lock().unwrap() = Some(checkout().await);
            tracer.start("by hand").end();
            Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
        }
    }));
    let request = Request::builder()
        .header("traceparent", PARENT)
        .body(())
        .unwrap();
    let response = tokio_test::block_on(service.oneshot(request)).unwrap();
    tokio_test::block_on(response.into_body().collect())
        .map(drop)
        .unwrap();
    seen.lock().unwrap().take().unwrap()
}

#[test]
fn spans_of_a_handler_are_below_ours_in_the_export_and_in_the_log() {
    let ran = run(ParentBased(Always), false);
    let ours = ran.span("GET");
    assert_eq!(
        ours.span_context.span_id().to_string(),
        ran.context.span_id().to_string()
    );
    let (checkout, reserve) = (ran.span("checkout"), ran.span("reserve"));
    assert_eq!(checkout.parent_span_id, ours.span_context.span_id());
    assert_eq!(
        ran.span("by hand").parent_span_id,
        ours.span_context.span_id()
    );
    assert_eq!(reserve.parent_span_id, checkout.span_context.span_id());
    assert!(ours.parent_span_is_remote, "the caller's");
    assert_eq!(ran.exported.len(), 4);
    for span in &ran.exported {
        assert_eq!(span.span_context.trace_id().to_string(), &PARENT[3..35]);
    }
    assert_eq!(reserve.events.events[0].name, "low stock");

    assert_eq!(ran.lines.len(), 2);
    for line in &ran.lines {
        assert_eq!(line["trace_id"], &PARENT[3..35]);
        assert_eq!(line["span_id"], ran.context.span_id().to_string());
        assert_eq!(line["spans"][0]["name"], "checkout");
    }
    assert_eq!(ran.lines[1]["message"], "low stock");
    assert_eq!(ran.lines[1]["spans"][1]["fields"]["sku"], 7);
}

/// What is exported of a request with this probability, and of what its handler and `TracingSink` make below it.
fn beside_a_sink_of_tracing(probability: f64) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = OtelSink::provider()
        .with_simple_exporter(exporter.clone())
        .build();
    let bridge = tracing_opentelemetry::layer().with_tracer(provider.tracer("tracing"));
    let subscriber = tracing_subscriber::registry().with(bridge);
    let ours = OtelSink::new(provider.tracer("shop")).cover_unsampled();
    let service = TraceLayer::server()
        .sampler(Probability::new(probability))
        .sink((ours, TracingSink::new()))
        .layer(service_fn(async |_: Request<()>| {
            tracing::info_span!("checkout").in_scope(|| ());
            Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
        }));
    tracing::subscriber::with_default(subscriber, || {
        let response = tokio_test::block_on(service.oneshot(Request::new(())));
        response.map(drop).unwrap();
    });
    exporter.get_finished_spans().unwrap()
}

#[test]
fn beside_a_sink_of_tracing_everything_is_one_trace() {
    let exported = beside_a_sink_of_tracing(1.0);
    let below = |parent: SpanId| {
        let mut found = exported.iter().filter(|span| span.parent_span_id == parent);
        let span = found.next().unwrap();
        assert!(found.next().is_none(), "{exported:#?}");
        (&*span.name, span.span_context.span_id())
    };
    let (ours, id) = below(SpanId::INVALID);
    let (of_the_sink, id) = below(id);
    let (of_the_handler, _) = below(id);
    assert_eq!(
        [ours, of_the_sink, of_the_handler],
        ["GET", "GET", "checkout"]
    );
    assert_eq!(exported.len(), 3);
    assert_eq!(beside_a_sink_of_tracing(0.0), []);
}

#[test]
fn a_root_is_exported_with_its_probability_and_what_is_called_for_it_as_of_this_process() {
    let exporter = InMemorySpanExporter::default();
    let provider = OtelSink::provider()
        .with_simple_exporter(exporter.clone())
        .build();
    let answer = || std::future::ready(Ok::<_, &str>(Response::new(Empty::<Bytes>::new())));
    let call = TraceLayer::client()
        .sink(OtelSink::new(provider.tracer("call")))
        .layer(service_fn(move |_: Request<()>| answer()));
    let shop = TraceLayer::server()
        .sampler(Probability::new(1.0))
        .sink(OtelSink::new(provider.tracer("shop")))
        .layer(service_fn(move |_: Request<()>| {
            let call = call.clone();
            async move { call.oneshot(Request::new(())).await }
        }));
    tokio_test::block_on(shop.oneshot(Request::new(())))
        .map(drop)
        .unwrap();
    let exported = exporter.get_finished_spans().unwrap();
    let of = |kind| exported.iter().find(|span| span.span_kind == kind).unwrap();
    let (root, call) = (of(SpanKind::Server), of(SpanKind::Client));
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(call.parent_span_id, root.span_context.span_id());
    assert!(!call.parent_span_is_remote);
    for span in [root, call] {
        assert_eq!(span.span_context.trace_id(), root.span_context.trace_id());
        assert_eq!(span.span_context.trace_state().get("ot"), Some("th:0"));
    }
}

#[test]
fn below_a_request_that_is_not_recorded_nothing_is_when_it_is_covered() {
    let ran = run(Never, true);
    assert!(ran.exported.is_empty(), "{:?}", ran.exported);
    assert_eq!(ran.lines.len(), 2, "lines are lines all the same");
    assert_eq!(ran.lines[0]["trace_id"], &PARENT[3..35]);
    let orphans = run(Never, false);
    assert_eq!(
        orphans.exported.len(),
        3,
        "what is not covered is a trace of its own"
    );
}
