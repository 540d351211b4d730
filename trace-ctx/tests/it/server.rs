//! What the server layer gives to handlers and to callers.

use std::sync::{Arc, Mutex};

use buttress_trace_ctx::{
    BaggageFields, ClientIp, ClientLayer, Clock, Finished, InTrace, PeerAddr, Policy, Probability,
    SequentialIds, ServerLayer, SystemClock, TraceContext, TraceLayer, Trust, W3c, current,
};
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, ServiceExt, service_fn};

pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

/// What a handler saw: the context in its request's extensions, and the request's headers.
type Inside = (TraceContext, http::HeaderMap);

fn call<K: buttress_trace_ctx::Sink>(
    layer: &ServerLayer<K>,
    request: Request<()>,
) -> (Inside, http::response::Parts) {
    let inside = Arc::new(Mutex::new(None));
    let seen = inside.clone();
    let service = layer.layer(service_fn(move |request: Request<()>| {
        let context = request.extensions().get::<TraceContext>().unwrap().clone();
        assert_eq!(
            current().unwrap().span_id(),
            context.span_id(),
            "in the call"
        );
        *seen.lock().unwrap() = Some((context.clone(), request.headers().clone()));
        async move {
            assert_eq!(
                current().unwrap().span_id(),
                context.span_id(),
                "in the future"
            );
            let response = Response::builder()
                .header("x-request-id", "the handler's own")
                .header("server-timing", "db;dur=1")
                .body(Empty::<Bytes>::new());
            Ok::<_, &str>(response.unwrap())
        }
    }));
    let response = tokio_test::block_on(service.oneshot(request)).unwrap();
    (
        inside.lock().unwrap().take().unwrap(),
        response.into_parts().0,
    )
}

fn sent() -> Request<()> {
    Request::builder()
        .header("traceparent", PARENT)
        .header("tracestate", "a=1")
        .header("tracestate", "b=2")
        .header("x-request-id", "req-1")
        .body(())
        .unwrap()
}

#[test]
fn a_handler_finds_its_context_in_the_request_and_as_the_current_one() {
    let ((context, _), _) = call(&TraceLayer::server(), sent());
    assert_eq!(context.trace_id().to_string(), &PARENT[3..35]);
    assert_eq!(context.parent_id().unwrap().to_string(), &PARENT[36..52]);
    assert_eq!(context.state().as_bytes(), b"a=1,b=2");
    assert_eq!(context.request_id().to_string(), "req-1");
}

#[test]
fn a_response_tells_nothing_unless_asked() {
    let (_, parts) = call(&TraceLayer::server(), sent());
    assert_eq!(parts.headers.len(), 2);
    assert_eq!(parts.headers["x-request-id"], "the handler's own");
    assert!(parts.extensions.get::<TraceContext>().is_none());
}

#[test]
fn a_response_tells_what_was_asked_for() {
    let layer = TraceLayer::server()
        .correlation_id(HeaderName::from_static("x-correlation-id"))
        .echo_request_id()
        .echo_correlation_id()
        .echo_trace_id(HeaderName::from_static("x-trace-id"))
        .server_timing()
        .response_extension();
    let ((context, _), parts) = call(&layer, sent());
    assert_eq!(parts.headers["x-request-id"], "req-1");
    assert_eq!(parts.headers["x-correlation-id"], "req-1");
    assert_eq!(parts.headers["x-trace-id"], context.trace_id().to_string());
    let timings: Vec<_> = parts.headers.get_all("server-timing").iter().collect();
    let ours = format!("trace;desc={}", context.traceparent());
    assert_eq!(timings, ["db;dur=1", &ours], "beside what the handler said");
    let told = parts.extensions.get::<TraceContext>().unwrap();
    assert_eq!(told.span_id(), context.span_id());
}

#[test]
fn a_hostile_request_id_reaches_nobody() {
    let layer = TraceLayer::server().echo_request_id();
    for hostile in [
        "",
        "a b",
        "a,b",
        "\"}",
        "<script>",
        &"a".repeat(129),
        "\u{e9}",
    ] {
        let request = Request::builder()
            .header(
                "x-request-id",
                http::HeaderValue::from_bytes(hostile.as_bytes()).unwrap(),
            )
            .body(())
            .unwrap();
        let ((context, headers), parts) = call(&layer, request);
        assert_eq!(context.request_id().to_string().len(), 32, "{hostile:?}");
        assert_eq!(
            parts.headers["x-request-id"],
            context.request_id().to_string()
        );
        assert!(!headers.contains_key("x-request-id"));
    }
}

#[test]
fn at_the_edge_every_request_is_a_trace_of_our_own() {
    let mut request = sent();
    let baggage = "tenant=evil".parse().unwrap();
    request.headers_mut().insert("baggage", baggage);
    let ((context, headers), _) = call(&TraceLayer::edge(), request);
    assert_ne!(context.trace_id().to_string(), &PARENT[3..35]);
    assert!(context.baggage().is_empty());
    assert_ne!(context.request_id().to_string(), "req-1");
    assert!(headers.is_empty(), "{headers:?}");
}

#[test]
fn at_the_edge_strangers_cannot_have_everything_recorded() {
    let layer = TraceLayer::edge();
    let sampled = || call(&layer, sent()).0.0.is_sampled();
    let started = SystemClock.now();
    let recorded = (0..10_000).filter(|_| sampled()).count() as f64;
    let seconds = (SystemClock.now() - started).as_secs_f64();
    assert!(recorded >= 100.0, "a hundred at once: {recorded}");
    assert!(
        recorded <= 100.0 + 100.0 * seconds,
        "and a hundred a second: {recorded} in {seconds} s"
    );
    let ((context, _), _) = call(&TraceLayer::edge().trust(Trust::Continue), sent());
    assert!(context.is_sampled(), "whom we trust decides");
}

#[test]
fn inside_baggage_and_correlation_go_on_and_ids_come_back() {
    let mut request = sent();
    for (name, value) in [("baggage", "tenant=acme"), ("x-correlation-id", "order-7")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let ((context, _), parts) = call(&TraceLayer::internal(), request);
    assert_eq!(context.baggage().get("tenant").unwrap(), "acme");
    assert_eq!(context.correlation_id().to_string(), "order-7");
    assert_eq!(parts.headers["x-request-id"], "req-1");
    assert_eq!(parts.headers["x-correlation-id"], "order-7");
    assert_eq!(context.trace_id().to_string(), &PARENT[3..35]);
}

#[test]
fn what_is_taken_in_inside_goes_on_by_a_client_that_writes_it() {
    let sent_on = Arc::new(Mutex::new(None));
    let seen = sent_on.clone();
    let client = TraceLayer::client()
        .propagator((W3c, BaggageFields))
        .correlation_id(HeaderName::from_static("x-correlation-id"))
        .layer(service_fn(move |call: Request<()>| {
            *seen.lock().unwrap() = Some(call.headers().clone());
            std::future::ready(Ok::<_, &str>(Response::new(Empty::<Bytes>::new())))
        }));
    let server = TraceLayer::internal().layer(service_fn(move |_: Request<()>| {
        client.clone().oneshot(Request::new(()))
    }));
    let mut request = sent();
    for (name, value) in [("baggage", "tenant=acme"), ("x-correlation-id", "order-7")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    tokio_test::block_on(server.oneshot(request))
        .map(drop)
        .unwrap();
    let call = sent_on.lock().unwrap().take().unwrap();
    for (name, value) in [
        ("baggage", "tenant=acme"),
        ("x-correlation-id", "order-7"),
        ("x-request-id", "req-1"),
    ] {
        assert_eq!(call[name], value);
    }
}

#[test]
fn a_passthrough_changes_nothing_on_the_way_in_or_out() {
    for hostile in [false, true] {
        let mut request = sent();
        if hostile {
            for (name, value) in [("traceparent", "junk"), ("x-request-id", "not valid")] {
                request.headers_mut().append(name, value.parse().unwrap());
            }
        }
        let before = request.headers().clone();
        let ((context, inside), parts) = call(&TraceLayer::passthrough(), request);
        assert_eq!(inside, before);
        let continued = context.trace_id().to_string() == PARENT[3..35];
        assert_eq!(continued, !hostile);
        assert_eq!(parts.headers.len(), 2, "the handler's own");
        assert_eq!(parts.headers["x-request-id"], "the handler's own");
    }
}

#[test]
fn who_asks_is_known_to_context_and_records() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let service = TraceLayer::server()
        .client_ip(ClientIp::x_forwarded_for("10.0.0.0/8".parse().unwrap()))
        .sink(move |finished: &Finished<'_>| {
            let user = finished.context.user().map(ToOwned::to_owned);
            seen.lock()
                .unwrap()
                .push((finished.context.client_ip(), user));
        })
        .layer(service_fn(|request: Request<()>| {
            buttress_trace_ctx::user("u-17");
            let below = current().unwrap().child(&SequentialIds::new());
            assert_eq!(below.user(), Some("u-17"), "calls know it too");
            let passed_on = Policy::default().descend(&request);
            assert_eq!(passed_on.user(), Some("u-17"), "also of the request itself");
            std::future::ready(Ok::<_, &str>(Response::new(Empty::<Bytes>::new())))
        }));
    for (peer, expected) in [
        ("10.0.0.1:1", "192.0.2.7"),
        ("203.0.113.9:1", "203.0.113.9"),
    ] {
        let mut request = sent();
        let forwarded = "192.0.2.7".parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", forwarded);
        request
            .extensions_mut()
            .insert(PeerAddr(peer.parse().unwrap()));
        tokio_test::block_on(service.clone().oneshot(request))
            .map(drop)
            .unwrap();
        let record = told.lock().unwrap().pop().unwrap();
        assert_eq!(
            record,
            (Some(expected.parse().unwrap()), Some("u-17".to_owned()))
        );
    }
    buttress_trace_ctx::user("outside any request: nobody is told");
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_that_is_spawned_with_us_keeps_the_context() {
    let server = TraceLayer::server().layer(service_fn(|_: Request<()>| async {
        let id = current().unwrap().span_id();
        let inside = buttress_trace_ctx::spawn(async { current().unwrap().span_id() });
        assert_eq!(inside.await.unwrap(), id);
        Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(server.oneshot(sent())).map(drop).unwrap();
}

#[test]
fn trust_can_be_decided_for_each_request() {
    let layer = TraceLayer::server().trust(|head: &buttress_trace_ctx::Head<'_>| {
        let inside = head
            .headers
            .get("x-mesh")
            .is_some_and(|secret| secret == "s3cret");
        if inside { Trust::Continue } else { Trust::Link }
    });
    let ((stranger, _), _) = call(&layer, sent());
    let mut request = sent();
    request
        .headers_mut()
        .insert("x-mesh", "s3cret".parse().unwrap());
    let ((friend, _), _) = call(&layer, request);
    assert_ne!(stranger.trace_id(), friend.trace_id());
    assert_eq!(friend.trace_id().to_string(), &PARENT[3..35]);
}

#[test]
fn parts_can_be_replaced() {
    let layer = TraceLayer::server()
        .propagator(())
        .sampler(Probability::new(0.0))
        .ids(SequentialIds::new())
        .request_id(HeaderName::from_static("x-id"));
    let ((context, _), _) = call(&layer, sent());
    assert!(!context.is_sampled());
    assert_eq!(context.trace_id().to_bytes()[15], 1);
    assert!(!context.flags().is_random());
}

#[test]
fn a_changed_clone_leaves_the_original_alone() {
    let plain = TraceLayer::server().propagator(W3c);
    let echoing = plain.clone().echo_request_id();
    let (_, parts) = call(&plain, sent());
    assert_eq!(parts.headers["x-request-id"], "the handler's own");
    let (_, parts) = call(&echoing, sent());
    assert_eq!(parts.headers["x-request-id"], "req-1");
}

#[test]
fn a_spawned_task_calls_out_within_the_trace() {
    let outgoing = Arc::new(Mutex::new(None));
    let seen = outgoing.clone();
    let client = ClientLayer::layer(
        &TraceLayer::client(),
        service_fn(move |request: Request<()>| {
            *seen.lock().unwrap() = Some(request.headers().clone());
            std::future::ready(Ok::<_, &str>(Response::new(Empty::<Bytes>::new())))
        }),
    );
    let server = TraceLayer::server().layer(service_fn(move |_: Request<()>| {
        let mut client = client.clone();
        async move {
            let call = async move { client.call(Request::new(())).await.map(drop) };
            tokio::spawn(call.in_current_trace()).await.unwrap()?;
            Ok::<_, &str>(Response::new(Empty::<Bytes>::new()))
        }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(server.oneshot(sent())).map(drop).unwrap();
    let headers = outgoing.lock().unwrap().take().unwrap();
    assert_eq!(
        &headers["traceparent"].to_str().unwrap()[3..35],
        &PARENT[3..35]
    );
    assert_eq!(headers["x-request-id"], "req-1");
    assert_eq!(headers["tracestate"], "a=1,b=2");
}
