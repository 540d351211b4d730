//! Log lines that carry the ids, and the span of a request.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use buttress_trace_ctx::{InTrace, JsonFormat, RouteName, TraceContext, TraceLayer, TracingSink};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultFields, FmtSpan, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;

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

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

struct Noon;

impl FormatTime for Noon {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str("noon")
    }
}

/// Runs with a JSON subscriber of its own, and hands back the lines.
fn logged(run: impl FnOnce()) -> Vec<Value> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .event_format(JsonFormat::new().with_timer(Noon))
        .fmt_fields(JsonFields::new())
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    log.lines()
}

fn context() -> TraceContext {
    let mut request = Request::builder()
        .header("traceparent", PARENT)
        .header("x-request-id", "req-1")
        .body(())
        .unwrap();
    buttress_trace_ctx::Policy::default().accept(&mut request)
}

#[test]
fn a_line_inside_a_request_carries_the_ids_at_the_top() {
    let cx = context();
    let span_id = cx.span_id().to_string();
    let lines = logged(|| {
        let work = async {
            let _span = tracing::info_span!("checkout", cart = "c\"1").entered();
            tracing::warn!(
                sku = 7,
                price = 1.5,
                gone = true,
                trace_id = "shadow",
                "sold out"
            );
        };
        tokio_test::block_on(work.in_trace(cx));
    });
    let expected = json!({
        "timestamp": "noon",
        "level": "WARN",
        "target": "it::logs",
        "trace_id": &PARENT[3..35],
        "span_id": span_id,
        "request_id": "req-1",
        "message": "sold out",
        "fields": {"sku": 7, "price": 1.5, "gone": true, "trace_id": "shadow"},
        "spans": [{"name": "checkout", "fields": {"cart": "c\"1"}}],
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn a_line_outside_any_request_has_no_ids() {
    let lines = logged(|| tracing::info!("started"));
    let expected =
        json!({"timestamp": "noon", "level": "INFO", "target": "it::logs", "message": "started"});
    assert_eq!(lines, [expected]);
}

#[test]
fn whatever_is_logged_a_line_is_one_line_of_json() {
    let hostile = "\n\r\"}\u{0}\u{1b}[31m{\"trace_id\":\"x\"}\u{2028}é";
    let lines = logged(|| {
        let _span = tracing::info_span!("s", hostile, debug = ?hostile).entered();
        tracing::error!(hostile, debug = ?hostile, nan = f64::NAN, "{hostile}");
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], hostile);
    assert_eq!(lines[0]["fields"]["hostile"], hostile);
    assert_eq!(lines[0]["spans"][0]["fields"]["hostile"], hostile);
}

#[test]
fn an_event_that_is_below_no_span_and_spans_without_fields_are_lines_too() {
    let lines = logged(|| {
        let _outer = tracing::info_span!("outer").entered();
        let _inner = tracing::info_span!("inner", a = 1).entered();
        tracing::info!(parent: None, "alone");
        tracing::info!("below");
    });
    assert_eq!(lines[0]["spans"], json!([]));
    let both = json!([{"name": "outer", "fields": {}}, {"name": "inner", "fields": {"a": 1}}]);
    assert_eq!(lines[1]["spans"], both);
}

#[test]
fn what_an_event_says_may_log_itself() {
    struct Talks;
    impl std::fmt::Display for Talks {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::warn!("inside");
            f.write_str("talks")
        }
    }
    let lines = logged(|| tracing::info!(who = %Talks, "outside"));
    let outside = lines.iter().find(|line| line["message"] == "outside");
    assert_eq!(outside.unwrap()["fields"]["who"], "talks");
}

#[test]
fn with_another_field_format_span_fields_are_a_string() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .event_format(JsonFormat::new())
        .fmt_fields(DefaultFields::new())
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let _span = tracing::info_span!("s", a = 1).entered();
        tracing::info!("x");
    });
    assert_eq!(
        log.lines()[0]["spans"],
        json!([{"name": "s", "fields": "a=1"}])
    );
}

#[test]
fn a_request_is_a_span_and_one_event_at_its_end() {
    let lines = logged(|| {
        let service = TraceLayer::server()
            .sink(TracingSink::new().complete_span())
            .layer(service_fn(async |_: Request<()>| {
                tracing::info!("handling");
                let mut response = Response::new(Full::new(Bytes::from("hello")));
                response
                    .extensions_mut()
                    .insert(RouteName::from_static("/orders/{id}"));
                Ok::<_, &str>(response)
            }));
        let request = Request::builder()
            .uri("/orders/7?card=4242")
            .header("traceparent", PARENT)
            .header("authorization", "Bearer secret")
            .body(())
            .unwrap();
        let response = tokio_test::block_on(service.oneshot(request)).unwrap();
        tokio_test::block_on(response.into_body().collect())
            .map(drop)
            .unwrap();
    });
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["handling", "request finished"]);
    for line in &lines {
        assert_eq!(line["trace_id"], PARENT[3..35]);
        assert_eq!(line["spans"][0]["name"], "request");
        assert_eq!(
            line["spans"][0]["fields"]["span_id"], line["span_id"],
            "the ids agree"
        );
        let text = line.to_string();
        assert!(!text.contains("4242") && !text.contains("secret") && !text.contains("/orders/7"));
    }
    let end = &lines[1];
    assert_eq!(end["spans"][0]["fields"]["otel.name"], "GET /orders/{id}");
    assert_eq!(end["spans"][0]["fields"]["http.response.status_code"], 200);
    assert_eq!(end["fields"]["outcome"], "complete");
    assert_eq!(end["fields"]["bytes"], 5);
}

#[test]
fn what_is_written_of_a_span_itself_carries_its_ids_from_the_first_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_span_events(FmtSpan::FULL)
        .event_format(JsonFormat::new())
        .fmt_fields(JsonFields::new())
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let call = TraceLayer::client()
            .sink(TracingSink::new())
            .layer(service_fn(async |_: Request<()>| {
                Ok::<_, &str>(Response::new(Full::<Bytes>::default()))
            }));
        let serve = TraceLayer::server()
            .sink(TracingSink::new())
            .layer(service_fn(async |_: Request<()>| {
                call.clone().oneshot(Request::new(())).await
            }));
        let response = tokio_test::block_on(serve.oneshot(Request::new(()))).unwrap();
        tokio_test::block_on(response.into_body().collect())
            .map(drop)
            .unwrap();
    });
    let lines = log.lines();
    let news = lines.iter().filter(|line| line["message"] == "new");
    let of_spans: Vec<_> = news.map(|line| &line["span_id"]).collect();
    assert_eq!(
        of_spans.len(),
        2,
        "the server's and the client's: {lines:#?}"
    );
    assert_ne!(of_spans[0], of_spans[1]);
    for line in &lines {
        let innermost = line["spans"].as_array().unwrap().last().unwrap();
        assert_eq!(line["span_id"], innermost["fields"]["span_id"], "{line}");
        assert_eq!(line["trace_id"], innermost["fields"]["trace_id"], "{line}");
    }
}

#[test]
fn without_a_subscriber_nothing_is_begun() {
    let told = Arc::new(Mutex::new(0));
    let counter = told.clone();
    let count = move |_: &buttress_trace_ctx::Finished<'_>| *counter.lock().unwrap() += 1;
    let service = TraceLayer::server()
        .sink((TracingSink::new(), count))
        .layer(service_fn(async |_: Request<()>| {
            assert!(tracing::Span::current().is_none());
            Ok::<_, &str>(Response::new(Full::new(Bytes::new())))
        }));
    tokio_test::block_on(service.oneshot(Request::new(())))
        .map(drop)
        .unwrap();
    assert_eq!(*told.lock().unwrap(), 1);
}

#[cfg(feature = "tokio")]
#[test]
fn lines_of_a_spawned_task_carry_the_ids_when_it_was_asked_to() {
    let cx = context();
    let span_id = cx.span_id().to_string();
    let lines = logged(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handler = async {
            let kept = buttress_trace_ctx::spawn(async { tracing::info!("kept") });
            let bare = tokio::spawn(async { tracing::info!("bare") });
            kept.await.unwrap();
            bare.await.unwrap();
        };
        runtime.block_on(handler.in_trace(cx));
    });
    let of = |message: &str| {
        lines
            .iter()
            .find(|line| line["message"] == message)
            .unwrap()
    };
    assert_eq!(of("kept")["trace_id"], PARENT[3..35]);
    assert_eq!(of("kept")["span_id"], span_id);
    assert_eq!(of("kept")["request_id"], "req-1");
    assert!(of("bare").get("trace_id").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_ids_and_words_come_a_line_is_one_line_of_json(
        id in prop::collection::vec(any::<u8>(), 0..140), said in any::<String>(),
    ) {
        let mut request = Request::new(());
        if let Ok(id) = http::HeaderValue::from_bytes(&id) {
            request.headers_mut().insert("x-request-id", id);
        }
        let cx = buttress_trace_ctx::Policy::default().accept(&mut request);
        let lines = logged(|| {
            cx.scope(|| {
                let _span = tracing::info_span!("s", said = &*said).entered();
                tracing::info!(said = &*said, "{said}");
            });
        });
        prop_assert_eq!(lines.len(), 1);
        prop_assert_eq!(lines[0]["message"].as_str(), Some(&*said));
        let id = lines[0]["request_id"].as_str().unwrap();
        prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~+/=:-".contains(&b)));
    }
}
