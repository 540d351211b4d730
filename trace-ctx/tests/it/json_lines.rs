//! The access log: whole lines of valid JSON, whatever comes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use buttress_trace_ctx::{
    ClientIp, JsonLines, Networks, PeerAddr, RouteName, ServerLayer, Sink, TraceLayer,
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

use crate::server::PARENT;
use crate::support::ManualClock;

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

impl Log {
    fn only_line(&self) -> Value {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(text.ends_with('\n'));
        serde_json::from_str(&text).unwrap()
    }
}

fn answer<K: Sink>(layer: &ServerLayer<K>, clock: &ManualClock, request: Request<()>) {
    let clock = clock.clone();
    let service = layer.layer(service_fn(move |_: Request<()>| {
        clock.advance(2);
        let mut response = Response::new(Full::new(Bytes::from("hello")));
        response
            .extensions_mut()
            .insert(RouteName::from_static("/orders/{id}"));
        std::future::ready(Ok::<_, &str>(response))
    }));
    let response = tokio_test::block_on(service.oneshot(request)).unwrap();
    tokio_test::block_on(response.into_body().collect())
        .map(drop)
        .unwrap();
}

#[test]
fn a_line_says_who_asked_where_that_is_known() {
    let (log, clock) = (Log::default(), ManualClock::new());
    let layer = TraceLayer::server()
        .clock(clock.clone())
        .client_ip(ClientIp::x_forwarded_for(Networks::default()))
        .sink(JsonLines::new(log.clone()));
    let mut request = Request::builder()
        .header("user-agent", "curl/8 \"x\"")
        .body(())
        .unwrap();
    let peer = PeerAddr("192.0.2.7:1".parse().unwrap());
    request.extensions_mut().insert(peer);
    let service = layer.layer(service_fn(|_: Request<()>| {
        buttress_trace_ctx::user("u\n17");
        std::future::ready(Ok::<_, &str>(Response::new(Full::<Bytes>::default())))
    }));
    tokio_test::block_on(service.oneshot(request))
        .map(drop)
        .unwrap();
    let line = log.only_line();
    assert_eq!(line["client_ip"], "192.0.2.7");
    assert_eq!(line["user"], "u\n17");
    assert_eq!(line["user_agent"], "curl/8 \"x\"");
}

#[test]
fn of_a_call_our_own_user_agent_is_not_told() {
    let log = Log::default();
    let service = TraceLayer::client()
        .sink(JsonLines::new(log.clone()))
        .layer(service_fn(|_: Request<()>| {
            std::future::ready(Ok::<_, &str>(Response::new(Full::<Bytes>::default())))
        }));
    let request = Request::builder().header("user-agent", "shop/1");
    let request = request.body(()).unwrap();
    tokio_test::block_on(service.oneshot(request))
        .map(drop)
        .unwrap();
    let line = log.only_line();
    assert_eq!(line["kind"], "client");
    assert!(line.get("user_agent").is_none());
}

#[test]
fn a_line_has_the_ids_and_what_happened_and_no_query() {
    let (log, clock) = (Log::default(), ManualClock::new());
    let layer = TraceLayer::server()
        .clock(clock.clone())
        .sink(JsonLines::new(log.clone()));
    let request = Request::builder()
        .uri("/orders/7?card=4242")
        .header("traceparent", PARENT)
        .header("x-request-id", "req-1")
        .body(())
        .unwrap();
    answer(&layer, &clock, request);
    let mut line = log.only_line();
    let span_id = line["span_id"].take();
    assert_eq!(span_id.as_str().unwrap().len(), 16);
    let expected = json!({
        "timestamp": "1970-01-01T00:00:00.002Z",
        "kind": "server",
        "trace_id": &PARENT[3..35],
        "span_id": null,
        "parent_span_id": &PARENT[36..52],
        "request_id": "req-1",
        "sampled": true,
        "method": "GET",
        "path": "/orders/7",
        "route": "/orders/{id}",
        "status": 200,
        "outcome": "complete",
        "bytes": 5,
        "time_to_head_ms": 2.0,
        "total_ms": 2.0,
    });
    assert_eq!(line, expected);
}

#[test]
fn a_method_nobody_knows_is_no_name() {
    let (log, clock) = (Log::default(), ManualClock::new());
    let layer = TraceLayer::server()
        .clock(clock.clone())
        .sink(JsonLines::new(log.clone()));
    let method = Method::from_bytes(b"X-MADE-UP").unwrap();
    answer(
        &layer,
        &clock,
        Request::builder().method(method).body(()).unwrap(),
    );
    assert_eq!(log.only_line()["method"], "_OTHER");
}

#[test]
fn a_line_that_the_writer_refuses_is_counted_and_the_request_goes_on() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (lines, clock) = (Arc::new(JsonLines::new(Full)), ManualClock::new());
    let layer = TraceLayer::server().sink(lines.clone());
    answer(&layer, &clock, Request::new(()));
    answer(&layer, &clock, Request::new(()));
    assert_eq!(lines.lost(), 2);
}

proptest! {
    #[test]
    fn whatever_is_sent_a_line_is_one_line_of_json(
        id in prop::collection::vec(any::<u8>(), 0..200),
        traceparent in prop::collection::vec(any::<u8>(), 0..80),
        path in "/[!-~]{0,40}",
    ) {
        let (log, clock) = (Log::default(), ManualClock::new());
        let layer = TraceLayer::server().sink(JsonLines::new(log.clone()));
        let mut request = Request::new(());
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        for (name, bytes) in [("x-request-id", id), ("traceparent", traceparent)] {
            if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                request.headers_mut().insert(name, value);
            }
        }
        answer(&layer, &clock, request);
        let line = log.only_line();
        let id = line["request_id"].as_str().unwrap();
        prop_assert!((1..=128).contains(&id.len()));
        prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~+/=:-".contains(&b)));
    }
}
