//! What the sinks make of a record.

use std::time::Duration;

use buttress_trace_ctx::{Deferring, Never, ParentBased, SampledOr, SlowOnly, TraceLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};

use crate::support::{ManualClock, Seen};

type Answer = std::future::Ready<Result<Response<Full<Bytes>>, &'static str>>;

fn hello(
    clock: ManualClock,
) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = &'static str, Future = Answer>
{
    service_fn(move |_: Request<()>| {
        clock.advance(250);
        std::future::ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
    })
}

fn send<S, B>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<B>, Error = &'static str>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    tokio_test::block_on(async {
        let response = service.call(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
}

#[test]
fn only_the_slow_are_told_of() {
    for (limit, told) in [(250, 1), (251, 0)] {
        let (clock, seen) = (ManualClock::new(), Seen::default());
        let sink = SlowOnly::new(Duration::from_millis(limit), seen.clone());
        let layer = TraceLayer::server().clock(clock.clone()).sink(sink);
        send(&mut layer.layer(hello(clock)), Request::new(()));
        assert_eq!(seen.records().len(), told);
    }
}

#[cfg(feature = "json")]
#[test]
fn a_common_log_line_is_one_line_whatever_comes() {
    use buttress_trace_ctx::{CommonLog, PeerAddr};
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (clock, out) = (ManualClock::new(), Out::default());
    clock.advance(1_000_000_000_000);
    let layer = TraceLayer::server()
        .clock(clock.clone())
        .sink(CommonLog::new(out.clone()));
    let mut service = layer.layer(hello(clock));
    let mut request = Request::get("/a\"b\u{e9}?secret=1").body(()).unwrap();
    request
        .extensions_mut()
        .insert(PeerAddr("9.9.9.9:80".parse().unwrap()));
    send(&mut service, request);
    send(&mut service, Request::new(()));
    let lines = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        lines,
        "9.9.9.9 - - [09/Sep/2001:01:46:40 +0000] \"GET /a\\x22b\\xc3\\xa9 HTTP/1.1\" 200 5\n\
         - - - [09/Sep/2001:01:46:40 +0000] \"GET / HTTP/1.1\" 200 5\n"
    );
}

#[cfg(feature = "metrics")]
#[test]
fn durations_are_measured_and_what_is_active_cannot_leak() {
    use buttress_trace_ctx::MetricsSink;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use std::sync::{Arc, Mutex};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let (clock, traces) = (ManualClock::new(), Arc::new(Mutex::new(Vec::new())));
    let noted = traces.clone();
    metrics::with_local_recorder(&recorder, || {
        let sink = MetricsSink::new().exemplar(move |context, total| {
            noted.lock().unwrap().push((context.trace_id(), total));
        });
        let layer = TraceLayer::server().clock(clock.clone()).sink(sink);
        let mut service = layer.layer(hello(clock));
        send(&mut service, Request::get("/orders/7").body(()).unwrap());
        drop(service.call(Request::builder().method("MADEUP").body(()).unwrap()));
    });
    assert_eq!(traces.lock().unwrap()[0].1, Duration::from_millis(250));
    let mut seen: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let value = match value {
                DebugValue::Gauge(value) => format!("{value}"),
                DebugValue::Histogram(values) => format!("{values:?}"),
                DebugValue::Counter(value) => value.to_string(),
            };
            let labels = key
                .key()
                .labels()
                .map(|l| format!("{}={}", l.key(), l.value()));
            format!(
                "{} {:?} {value}",
                key.key().name(),
                labels.collect::<Vec<_>>()
            )
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            r#"http.server.active_requests ["http.request.method=GET", "url.scheme=http"] 0"#,
            r#"http.server.active_requests ["http.request.method=_OTHER", "url.scheme=http"] 0"#,
            r#"http.server.request.duration ["http.request.method=GET", "url.scheme=http", "http.response.status_code=200"] [0.25]"#,
            r#"http.server.request.duration ["http.request.method=_OTHER", "url.scheme=http", "error.type=future_dropped"] [0.25]"#,
        ]
    );
}

#[cfg(feature = "metrics")]
#[test]
fn what_went_wrong_is_named_in_few_words() {
    use buttress_trace_ctx::MetricsSink;
    use metrics_util::debugging::DebuggingRecorder;

    let respond = |status: u16, grpc: &'static str| {
        service_fn(move |_: Request<()>| {
            let response = Response::builder().status(status);
            let response = response.header("grpc-status", grpc);
            let body = Full::new(Bytes::from_static(b"hello"));
            std::future::ready(Ok::<_, &str>(response.body(body).unwrap()))
        })
    };
    let errors = |recorder: &DebuggingRecorder| -> Vec<_> {
        let all = recorder.snapshotter().snapshot().into_vec();
        let histograms = all
            .into_iter()
            .filter(|(key, ..)| key.key().name().ends_with("duration"));
        histograms
            .map(|(key, ..)| {
                let labels: Vec<_> = key.key().labels().cloned().collect();
                let error = labels.into_iter().find(|label| label.key() == "error.type");
                error.map(|label| label.value().to_owned())
            })
            .collect()
    };
    for (is_server, status, grpc, read, expected) in [
        (true, 200, "0", true, None),
        (true, 200, "13", true, Some("INTERNAL")),
        (true, 200, "5", true, None),
        (false, 200, "5", true, Some("NOT_FOUND")),
        (false, 200, "4294967295", true, Some("_OTHER")),
        (true, 503, "x", true, Some("503")),
        (true, 404, "x", true, None),
        (false, 404, "x", true, Some("404")),
        (true, 200, "x", false, Some("body_dropped")),
        // Who calls and does not read the answer has made no error.
        (false, 200, "x", false, None),
        (false, 500, "x", false, Some("500")),
    ] {
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || {
            let (server, client) = (TraceLayer::server(), TraceLayer::client());
            let (request, sink) = (Request::new(()), MetricsSink::new());
            let response = if is_server {
                let mut service = server.sink(sink).layer(respond(status, grpc));
                tokio_test::block_on(service.call(request)).map(Response::into_body)
            } else {
                let mut service = client.sink(sink).layer(respond(status, grpc));
                tokio_test::block_on(service.call(request)).map(Response::into_body)
            };
            let body = response.unwrap();
            if read {
                tokio_test::block_on(body.collect()).map(drop).unwrap();
            }
        });
        let expected: Vec<_> = [expected.map(ToOwned::to_owned)].into();
        assert_eq!(
            errors(&recorder),
            expected,
            "{is_server} {status} {grpc} {read}"
        );
    }
}

#[test]
fn to_a_sink_inside_what_was_deferred_and_is_wanted_is_sampled() {
    use buttress_trace_ctx::{Finished, SampledOnly};
    use std::sync::{Arc, Mutex};

    for (status, told) in [(200, 0), (500, 1)] {
        let sampled = Arc::new(Mutex::new(Vec::new()));
        let seen = sampled.clone();
        let sink = move |finished: &Finished<'_>| {
            seen.lock().unwrap().push(finished.context.is_sampled());
        };
        let mut service = TraceLayer::server()
            .sampler(Deferring(Never))
            .sink(SampledOr::failed(SampledOnly(sink)))
            .layer(service_fn(move |_: Request<()>| {
                let response = Response::builder().status(status);
                let response = response.body(Full::<Bytes>::default()).unwrap();
                std::future::ready(Ok::<_, &str>(response))
            }));
        send(&mut service, Request::new(()));
        assert_eq!(*sampled.lock().unwrap(), vec![true; told]);
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_handlers_ask_for_the_context_and_routes_are_templates() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use buttress_trace_ctx::{MatchedPath, TraceContext};
    use tower::ServiceExt;

    let seen = Seen::default();
    let handler = |context: TraceContext| async move { context.trace_id().to_string() };
    let layer = TraceLayer::server().route(MatchedPath).sink(seen.clone());
    let app = Router::new()
        .route("/orders/{id}", get(handler))
        .layer(layer);
    let request = Request::get("/orders/7").header("traceparent", crate::server::PARENT);
    let response = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, crate::server::PARENT[3..35]);
    assert_eq!(seen.only().route.as_deref(), Some("/orders/{id}"));
}

#[test]
fn what_was_deferred_is_told_of_when_it_failed_or_took_long() {
    let clock = ManualClock::new();
    let deny_all = || Deferring(Never);
    for (millis, status, sampling, told) in [
        (0, 200, None, false),
        (0, 500, None, true),
        (0, 404, None, false),
        (9, 200, None, false),
        (10, 200, None, true),
        (0, 200, Some("01"), true),
        (10, 500, Some("00"), false),
    ] {
        let (seen, time) = (Seen::default(), clock.clone());
        let sink = SampledOr::failed(seen.clone()).or_slower_than(Duration::from_millis(10));
        let mut service = TraceLayer::server()
            .sampler(ParentBased(deny_all()))
            .clock(clock.clone())
            .sink(sink)
            .layer(service_fn(move |_: Request<()>| {
                time.advance(millis);
                let response = Response::builder().status(status);
                let response = response.body(Full::<Bytes>::default()).unwrap();
                std::future::ready(Ok::<_, &str>(response))
            }));
        let mut request = Request::new(());
        if let Some(flags) = sampling {
            let parent = format!("{}{flags}", &crate::server::PARENT[..53]);
            request
                .headers_mut()
                .insert("traceparent", parent.parse().unwrap());
        }
        tokio_test::block_on(service.call(request))
            .map(drop)
            .unwrap();
        assert_eq!(
            seen.records().len(),
            usize::from(told),
            "{millis} ms, {status}, {sampling:?}"
        );
        let denied = sampling == Some("00");
        assert_eq!(
            seen.active(),
            usize::from(!denied && !told),
            "what is kept for whom"
        );
    }
}
