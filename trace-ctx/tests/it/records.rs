//! Exactly one record per request, at its true end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use buttress_trace_ctx::{
    Finished, Outcome, RouteName, SampledOnly, Sampling, Sink, TraceLayer, current,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use testkit::body::{Hand, HandBody, by_hand};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{ManualClock, Noted, Seen};

/// A server that answers with a body fed by hand, after 10 ms.
struct Exchange {
    body: std::pin::Pin<Box<dyn Body<Data = Bytes, Error = testkit::probe::ProbeError>>>,
    hand: Hand,
    seen: Seen,
    clock: ManualClock,
}

fn exchange(method: Method, head: impl FnOnce(HandBody) -> Response<HandBody>) -> Exchange {
    let (seen, clock) = (Seen::default(), ManualClock::new());
    let layer = TraceLayer::server().sink(seen.clone()).clock(clock.clone());
    let (body, hand) = by_hand();
    let mut response = Some(head(body));
    let ticking = clock.clone();
    let mut service = layer.layer(service_fn(move |_: Request<()>| {
        ticking.advance(10);
        std::future::ready(Ok::<_, &str>(response.take().unwrap()))
    }));
    let request = Request::builder().method(method).body(()).unwrap();
    let response = tokio_test::block_on(service.call(request)).unwrap();
    Exchange {
        body: Box::pin(response.into_body()),
        hand,
        seen,
        clock,
    }
}

fn poll(body: &mut (impl Body + Unpin + ?Sized)) -> std::task::Poll<()> {
    task::spawn(body.frame()).poll().map(|_| ())
}

#[test]
fn a_body_that_ends_is_complete_when_it_ends() {
    let mut exchange = exchange(Method::GET, Response::new);
    assert_pending!(poll(&mut exchange.body));
    exchange.clock.advance(5);
    exchange.hand.data("hello");
    assert_ready!(poll(&mut exchange.body));
    assert!(exchange.seen.records().is_empty(), "not before its end");
    exchange.clock.advance(7);
    exchange.hand.end();
    assert_ready!(poll(&mut exchange.body));
    exchange.clock.advance(1000);
    let expected = Noted {
        outcome: Outcome::Complete,
        status: Some(200),
        grpc_status: None,
        bytes: 5,
        head_ms: Some(10),
        total_ms: 22,
        route: None,
    };
    assert_eq!(exchange.seen.only(), expected);
    drop(exchange.body);
    assert_eq!(exchange.seen.only(), expected, "and no second record");
}

#[test]
fn a_body_that_fails_is_a_body_error() {
    let mut exchange = exchange(Method::GET, Response::new);
    exchange.hand.data("hello").fail();
    assert_ready!(poll(&mut exchange.body));
    assert_ready!(poll(&mut exchange.body));
    assert_eq!(exchange.seen.only().outcome, Outcome::BodyError);
    drop(exchange.body);
    assert_eq!(exchange.seen.only().bytes, 5);
}

#[test]
fn a_body_dropped_before_its_end_is_body_dropped() {
    let mut exchange = exchange(Method::GET, Response::new);
    exchange.hand.data("hello");
    assert_ready!(poll(&mut exchange.body));
    assert_pending!(poll(&mut exchange.body));
    drop(exchange.body);
    assert!(exchange.hand.is_dropped());
    assert_eq!(exchange.seen.only().outcome, Outcome::BodyDropped);
}

#[test]
fn a_body_dropped_after_its_declared_length_is_complete() {
    let by_header = |body| {
        Response::builder()
            .header("content-length", "5")
            .body(body)
            .unwrap()
    };
    let mut exchange = exchange(Method::GET, by_header);
    exchange.hand.data("hel");
    assert_ready!(poll(&mut exchange.body));
    exchange.hand.data("lo");
    assert_ready!(poll(&mut exchange.body));
    assert!(exchange.seen.records().is_empty());
    drop(exchange.body);
    assert_eq!(exchange.seen.only().outcome, Outcome::Complete);
}

#[test]
fn a_body_that_nobody_would_read_is_complete_when_dropped() {
    let status =
        |status: StatusCode| move |body| Response::builder().status(status).body(body).unwrap();
    for (method, code, outcome) in [
        (Method::HEAD, StatusCode::OK, Outcome::Complete),
        (Method::GET, StatusCode::NO_CONTENT, Outcome::Complete),
        (Method::GET, StatusCode::NOT_MODIFIED, Outcome::Complete),
        (
            Method::GET,
            StatusCode::SWITCHING_PROTOCOLS,
            Outcome::Complete,
        ),
        (Method::CONNECT, StatusCode::OK, Outcome::Complete),
        (
            Method::CONNECT,
            StatusCode::BAD_GATEWAY,
            Outcome::BodyDropped,
        ),
        (Method::GET, StatusCode::OK, Outcome::BodyDropped),
    ] {
        let exchange = exchange(method.clone(), status(code));
        drop(exchange.body);
        assert_eq!(exchange.seen.only().outcome, outcome, "{method} {code}");
    }
}

#[test]
fn a_body_that_says_it_is_over_is_not_asked_again() {
    let seen = Seen::default();
    let layer = TraceLayer::server().sink(seen.clone());
    let empty = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
    }));
    let response = tokio_test::block_on(empty.oneshot(Request::new(()))).unwrap();
    assert_eq!(
        seen.only().outcome,
        Outcome::Complete,
        "known with the head"
    );
    drop(response);
    assert_eq!(seen.only().outcome, Outcome::Complete);
}

#[test]
fn trailers_tell_the_grpc_status_and_the_head_where_there_are_none() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "14".parse().unwrap());
    let mut with_trailers = exchange(Method::POST, Response::new);
    with_trailers.hand.data("x").trailers(trailers).end();
    while with_trailers.seen.records().is_empty() {
        assert_ready!(poll(&mut with_trailers.body));
    }
    assert_eq!(with_trailers.seen.only().grpc_status, Some(14));

    let in_head = |body| {
        Response::builder()
            .header("grpc-status", "5")
            .body(body)
            .unwrap()
    };
    let mut both = exchange(Method::POST, in_head);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    both.hand.trailers(trailers).end();
    while both.seen.records().is_empty() {
        assert_ready!(poll(&mut both.body));
    }
    assert_eq!(both.seen.only().grpc_status, Some(0), "the last word");

    let trailers_only = exchange(Method::POST, in_head);
    drop(trailers_only.body);
    assert_eq!(trailers_only.seen.only().grpc_status, Some(5));
}

#[test]
fn a_dropped_future_is_a_client_that_is_gone() {
    let seen = Seen::default();
    let layer = TraceLayer::server().sink(seen.clone());
    for polls in 0..3 {
        let mut never = layer.layer(service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<Empty<Bytes>>, &str>>().await
        }));
        let mut call = task::spawn(never.call(Request::new(())));
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        assert_eq!(seen.active(), 1);
        drop(call);
        assert_eq!(seen.active(), 0);
        assert_eq!(seen.records()[polls].outcome, Outcome::FutureDropped);
    }
}

#[test]
fn an_error_of_the_service_is_an_error() {
    let seen = Seen::default();
    let layer = TraceLayer::server().sink(seen.clone());
    let mut failing = layer.layer(service_fn(async |_: Request<()>| {
        Err::<Response<Empty<Bytes>>, _>("no")
    }));
    let mut call = task::spawn(failing.call(Request::new(())));
    assert_eq!(assert_ready!(call.poll()).unwrap_err(), "no");
    assert_eq!(seen.only().outcome, Outcome::Error);
    drop(call);
    assert_eq!(seen.only().status, None);
}

/// Ready when it is first polled, and keeps what it has until it is dropped.
struct Keeps(Option<Result<Response<Empty<Bytes>>, &'static str>>, Log);

type Log = std::sync::Arc<std::sync::Mutex<Vec<String>>>;

impl Future for Keeps {
    type Output = Result<Response<Empty<Bytes>>, &'static str>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.0.take().unwrap())
    }
}

impl Drop for Keeps {
    fn drop(&mut self) {
        let span = current().map(|context| context.span_id().to_string());
        self.1.lock().unwrap().push(span.unwrap_or_default());
    }
}

#[test]
fn a_future_that_is_ready_goes_in_its_own_context_and_before_its_record() {
    for answer in [Ok(Response::new(Empty::new())), Err("no")] {
        let log = Log::default();
        let (told, inside) = (log.clone(), log.clone());
        let sink = move |request: &Finished<'_>| {
            let span = request.context.span_id();
            told.lock().unwrap().push(format!("told of {span}"));
        };
        let layer = TraceLayer::server().sink(sink);
        let mut answers = Some(Keeps(Some(answer), inside));
        let mut service = layer.layer(service_fn(move |_: Request<()>| answers.take().unwrap()));
        let mut call = task::spawn(service.call(Request::new(())));
        drop(assert_ready!(call.poll()));
        drop(call);
        let log = log.lock().unwrap();
        assert!(!log[0].is_empty() && log[1] == format!("told of {}", log[0]));
    }
}

#[test]
fn a_future_that_is_ready_goes_in_its_context_though_nobody_listens() {
    let log = Log::default();
    let inside = Keeps(Some(Ok(Response::new(Empty::new()))), log.clone());
    let mut inside = Some(inside);
    let mut service =
        TraceLayer::server().layer(service_fn(move |_: Request<()>| inside.take().unwrap()));
    drop(tokio_test::block_on(service.call(Request::new(()))));
    assert_eq!(log.lock().unwrap()[0].len(), 16);
}

#[test]
fn a_panic_in_the_call_the_future_or_the_body_is_told_once() {
    fn panics() -> Result<Response<Empty<Bytes>>, &'static str> {
        panic!("handler")
    }
    let seen = Seen::default();
    let layer = TraceLayer::server().sink(seen.clone());

    let mut in_call = layer.layer(service_fn(|_: Request<()>| std::future::ready(panics())));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(in_call.call(Request::new(()))))).is_err());
    assert_eq!(seen.only().outcome, Outcome::Panic);

    let mut in_future = layer.layer(service_fn(async |_: Request<()>| panics()));
    let mut call = Box::pin(in_future.call(Request::new(())));
    let polled = catch_unwind(AssertUnwindSafe(|| {
        tokio_test::block_on(call.as_mut()).map(drop)
    }));
    assert!(polled.is_err());
    drop(call);
    assert_eq!(seen.records()[1].outcome, Outcome::Panic);

    let mut in_body = layer.layer(service_fn(async |_: Request<()>| {
        let body = Full::new(Bytes::from("x"))
            .map_frame(|_| -> http_body::Frame<Bytes> { panic!("body") });
        Ok::<_, &str>(Response::new(body))
    }));
    let response = tokio_test::block_on(in_body.call(Request::new(()))).unwrap();
    let mut body = Box::pin(response.into_body());
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut body)));
    assert!(polled.is_err());
    drop(body);
    assert_eq!(seen.records()[2].outcome, Outcome::Panic);
    assert_eq!((seen.active(), seen.records().len()), (0, 3));
    assert!(buttress_trace_ctx::current().is_none());
}

#[test]
fn a_panic_where_a_body_is_asked_what_it_is_is_a_panic() {
    struct Odd {
        panics_in_hint: bool,
        asked: std::cell::Cell<usize>,
        panics_when_asked: usize,
    }
    impl Body for Odd {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, &'static str>>> {
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from("x")))))
        }
        fn is_end_stream(&self) -> bool {
            self.asked.set(self.asked.get() + 1);
            assert_ne!(self.asked.get(), self.panics_when_asked);
            false
        }
        fn size_hint(&self) -> http_body::SizeHint {
            assert!(!self.panics_in_hint);
            http_body::SizeHint::default()
        }
    }
    for (panics_in_hint, panics_when_asked) in [(true, 0), (false, 1), (false, 2)] {
        let seen = Seen::default();
        let mut service =
            TraceLayer::server()
                .sink(seen.clone())
                .layer(service_fn(move |_: Request<()>| {
                    let asked = std::cell::Cell::new(0);
                    std::future::ready(Ok::<_, &str>(Response::new(Odd {
                        panics_in_hint,
                        asked,
                        panics_when_asked,
                    })))
                }));
        let all = catch_unwind(AssertUnwindSafe(|| {
            let response = tokio_test::block_on(service.call(Request::new(()))).unwrap();
            let mut body = Box::pin(response.into_body());
            let _ = poll(&mut body);
        }));
        assert!(all.is_err());
        assert_eq!(seen.only().outcome, Outcome::Panic);
        assert!(buttress_trace_ctx::current().is_none());
    }
}

#[test]
fn what_a_handler_says_is_told_and_what_a_copy_says_is_not() {
    use buttress_trace_ctx::{InTrace, attribute, current};

    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = told.clone();
    let sink = move |finished: &Finished<'_>| {
        attribute("said", "while it is told");
        *notes.lock().unwrap() = finished.notes().to_vec();
    };
    let service = TraceLayer::server()
        .sink(sink)
        .layer(service_fn(async |_: Request<()>| {
            attribute("first", 1);
            async { attribute("copy", 0) }
                .in_trace(current().unwrap())
                .await;
            current().unwrap().scope(|| attribute("copy", 0));
            attribute("second", 2);
            Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
        }));
    tokio_test::block_on(service.oneshot(Request::new(())))
        .map(drop)
        .unwrap();
    let keys: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .map(|note| match note {
            buttress_trace_ctx::Note::Attribute { key, .. } => key.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, ["first", "second"]);
}

#[test]
fn what_is_kept_of_a_request_has_a_bound() {
    use buttress_trace_ctx::{MAX_NOTES, Note, error, event};

    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = told.clone();
    let sink = move |finished: &Finished<'_>| *notes.lock().unwrap() = finished.notes().to_vec();
    let service = TraceLayer::server()
        .sink(sink)
        .layer(service_fn(async |_: Request<()>| {
            error(&std::io::Error::other("\u{e9}".repeat(100_000)));
            (0..1000).for_each(|_| event("again"));
            Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
        }));
    tokio_test::block_on(service.oneshot(Request::new(())))
        .map(drop)
        .unwrap();
    let notes = told.lock().unwrap();
    assert_eq!(notes.len(), MAX_NOTES);
    let Note::Error { message, .. } = &notes[0] else {
        panic!("{:?}", notes[0])
    };
    assert_eq!(message.len(), 8 * 1024);
}

fn run<K: Sink>(sink: K, sampling: Sampling) {
    let layer = TraceLayer::server()
        .sampler(move |_: &buttress_trace_ctx::SampleRequest<'_>| sampling)
        .sink(sink);
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
    }));
    tokio_test::block_on(service.oneshot(Request::new(())))
        .map(drop)
        .unwrap();
}

#[test]
fn every_sink_of_a_tuple_hears_only_of_what_it_wanted() {
    let (all, sampled, off) = (Seen::default(), Seen::default(), None::<Seen>);
    let closure = Seen::default();
    let told = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = told.clone();
    let count = move |_: &Finished<'_>| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let sinks = std::sync::Arc::new((
        all.clone(),
        SampledOnly(sampled.clone()),
        off,
        (),
        count,
        std::sync::Arc::new(closure.clone()),
    ));
    run(sinks.clone(), Sampling::Deny);
    run(sinks.clone(), Sampling::Defer);
    run(sinks.clone(), Sampling::Accept);
    run(sinks, Sampling::Debug);
    assert_eq!(all.records().len(), 4);
    assert_eq!(sampled.records().len(), 2);
    assert_eq!(closure.records().len(), 4);
    assert_eq!(told.load(std::sync::atomic::Ordering::Relaxed), 4);
    assert_eq!(all.active() + sampled.active() + closure.active(), 0);
}

#[test]
fn the_time_to_the_head_is_known_where_one_of_the_sinks_asks_for_it() {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Careless(Arc<Mutex<Option<bool>>>);
    impl Sink for Careless {
        type Span = ();
        const TIMES_HEAD: bool = false;
        fn begin(&self, _: &buttress_trace_ctx::Started<'_>) -> Option<()> {
            Some(())
        }
        fn end(&self, (): (), finished: &Finished<'_>) {
            *self.0.lock().unwrap() = Some(finished.time_to_head.is_some());
        }
    }
    let told = Careless::default();
    let is_timed = || told.0.lock().unwrap().take().unwrap();
    run(told.clone(), Sampling::Accept);
    assert!(!is_timed());
    run((told.clone(), SampledOnly(told.clone())), Sampling::Accept);
    assert!(!is_timed());
    run(
        Some(Arc::new((told.clone(), Seen::default()))),
        Sampling::Accept,
    );
    assert!(is_timed());
}

#[test]
fn scopes_surround_polls_and_drops_in_the_order_of_the_tuple() {
    use std::sync::{Arc, Mutex};

    #[derive(Clone)]
    struct Scoped(&'static str, Arc<Mutex<Vec<String>>>);
    impl Sink for Scoped {
        type Span = ();
        fn begin(&self, _: &buttress_trace_ctx::Started<'_>) -> Option<()> {
            self.1.lock().unwrap().push(format!("begin {}", self.0));
            Some(())
        }
        fn in_scope<R>(&self, (): &mut (), run: impl FnOnce() -> R) -> R {
            self.1.lock().unwrap().push(format!("+{}", self.0));
            let output = run();
            self.1.lock().unwrap().push(format!("-{}", self.0));
            output
        }
        fn end(&self, (): (), _: &Finished<'_>) {}
    }

    let log = Arc::new(Mutex::new(Vec::new()));
    let layer = TraceLayer::server().sink((Scoped("a", log.clone()), Scoped("b", log.clone())));
    let inside = log.clone();
    let mut service = layer.layer(service_fn(move |_: Request<()>| {
        inside.lock().unwrap().push("call".into());
        std::future::pending::<Result<Response<Empty<Bytes>>, &str>>()
    }));
    let mut call = task::spawn(service.call(Request::new(())));
    assert_eq!(
        log.lock().unwrap().split_off(0),
        [
            "begin a", "+a", "begin b", "-a", "+a", "+b", "call", "-b", "-a"
        ]
    );
    assert_pending!(call.poll());
    assert_eq!(log.lock().unwrap().split_off(0), ["+a", "+b", "-b", "-a"]);
    drop(call);
    assert_eq!(log.lock().unwrap().split_off(0), ["+a", "+b", "-b", "-a"]);
}

#[test]
fn the_route_is_a_template_from_the_response_or_else_the_request() {
    for (in_request, in_response, expected) in [
        (None, None, None),
        (Some("/a/{id}"), None, Some("/a/{id}")),
        (None, Some("/b/{id}"), Some("/b/{id}")),
        (Some("/a/{id}"), Some("/b/{id}"), Some("/b/{id}")),
    ] {
        let seen = Seen::default();
        let service = TraceLayer::server().sink(seen.clone()).layer(service_fn(
            move |_: Request<()>| async move {
                let mut response = Response::new(Empty::<Bytes>::new());
                response.extensions_mut().insert(Vec::<RouteName>::new());
                if let Some(route) = in_response {
                    response
                        .extensions_mut()
                        .insert(RouteName::from_static(route));
                }
                Ok::<_, &str>(response)
            },
        ));
        let mut request = Request::builder().uri("/a/7?secret=1").body(()).unwrap();
        if let Some(route) = in_request {
            request.extensions_mut().insert(RouteName::from(route));
        }
        tokio_test::block_on(service.oneshot(request))
            .map(drop)
            .unwrap();
        assert_eq!(seen.only().route.as_deref(), expected);
    }
}

#[test]
fn a_client_call_has_a_record_of_its_own() {
    let seen = Seen::default();
    let service =
        TraceLayer::client()
            .sink(seen.clone())
            .layer(service_fn(async |_: Request<()>| {
                Ok::<_, &str>(Response::new(Full::new(Bytes::from("hello"))))
            }));
    let response = tokio_test::block_on(service.oneshot(Request::new(()))).unwrap();
    assert!(seen.records().is_empty());
    let mut collect = task::spawn(response.into_body().collect());
    assert_ready_ok!(collect.poll());
    assert_eq!(
        (seen.only().outcome, seen.only().bytes),
        (Outcome::Complete, 5)
    );
}
