//! Allocations per call, exactly.

use std::hint::black_box;

use buttress_trace_ctx::{
    Always, B3, Baggage, ClientIp, Extracted, FastIds, Finished, Head, Hosts, Jaeger, Never,
    PeerAddr, Policy, Propagator, ResponseFuture, SampledOnly, Sampler, TraceBody, TraceContext,
    TraceLayer, TraceState, W3c, XRay, attribute,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use testkit::alloc::{Counting, count};
use tower::{Layer, Service, service_fn};

use crate::server::PARENT;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the second run: the first one seeds generators and makes room in maps.
fn allocations<T>(mut run: impl FnMut() -> T) -> u64 {
    drop(run());
    count(|| black_box(run())).0.count
}

fn headers(tracestate: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(PARENT));
    headers.insert("x-request-id", HeaderValue::from_static("req-1"));
    if let Some(state) = tracestate {
        headers.insert("tracestate", HeaderValue::from_static(state));
    }
    headers
}

#[test]
fn reading_allocates_nothing() {
    for state in [None, Some("a=1,b=2"), Some("a=1 , ,\tb=2"), Some("BAD")] {
        let headers = headers(state);
        assert_eq!(allocations(|| W3c.extract(&headers)), 0, "{state:?}");
    }
    let long = "k=v,".repeat(32);
    let value = HeaderValue::from_str(&long).unwrap();
    drop(value.clone());
    assert_eq!(
        allocations(|| TraceState::parse(value.clone()).unwrap().len()),
        0
    );
}

#[test]
fn taking_in_and_sending_on_allocates_the_one_new_header() {
    for (state, expected) in [(None, 1), (Some("a=1"), 2)] {
        let mut request = Request::new(());
        *request.headers_mut() = headers(state);
        let policy = Policy::default();
        let mut out = HeaderMap::with_capacity(8);
        let through = || {
            let context = policy.accept(&mut request);
            policy.inject(&context, &mut out);
        };
        assert_eq!(allocations(through), expected, "and the place of a state");
    }
}

/// Calls a service the way a server does, reads the body, and counts.
fn per_request(layer: Option<impl Sampler>, with_extensions: bool) -> u64 {
    let handler = service_fn(|request: Request<()>| {
        drop(request);
        std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::from_static(
            b"hello",
        )))))
    });
    let request = || {
        let mut request = Request::new(());
        *request.headers_mut() = headers(None);
        if with_extensions {
            request.extensions_mut().insert(7_u8);
        }
        request
    };
    let Some(sampler) = layer else {
        let mut bare = handler;
        return allocations(|| drive(bare.call(request())));
    };
    let mut service = TraceLayer::server().sampler(sampler).layer(handler);
    allocations(|| drive(service.call(request())))
}

/// Polls to the end without a runtime, which would allocate.
fn drive<B>(call: impl Future<Output = Result<Response<B>, &'static str>>)
where
    B: http_body::Body,
{
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(response)) = std::pin::pin!(call).poll(&mut cx) else {
        panic!()
    };
    let mut body = std::pin::pin!(response.into_body());
    while let std::task::Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) {}
}

#[test]
fn the_server_layer_allocates_only_the_extension_sampled_or_not() {
    let bare = per_request(None::<Always>, false);
    assert_eq!(
        per_request(Some(Always), false) - bare,
        3,
        "map, table and value"
    );
    assert_eq!(
        per_request(Some(Never), false) - bare,
        3,
        "the same when unsampled"
    );
    let bare = per_request(None::<Always>, true);
    assert_eq!(per_request(Some(Always), true) - bare, 1, "the value");
    assert_eq!(per_request(Some(Never), true) - bare, 1);
}

#[test]
fn a_sink_that_listens_costs_one_allocation() {
    let handler = || {
        service_fn(|request: Request<()>| {
            drop(request);
            let body = Full::new(Bytes::from_static(b"hello"));
            std::future::ready(Ok::<_, &str>(Response::new(body)))
        })
    };
    let mut silent = TraceLayer::server().layer(handler());
    let listen = |finished: &Finished<'_>| {
        black_box(finished.total);
    };
    let mut heard = TraceLayer::server().sink(listen).layer(handler());
    let silent = allocations(|| drive(silent.call(Request::new(()))));
    assert_eq!(
        allocations(|| drive(heard.call(Request::new(())))) - silent,
        1
    );
}

#[test]
fn nothing_is_built_for_a_request_that_is_not_sampled() {
    let handler = || {
        service_fn(|request: Request<()>| {
            drop(request);
            std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::new()))))
        })
    };
    let told = |finished: &Finished<'_>| {
        black_box(format!("{:?}", finished.method));
    };
    let layer = || TraceLayer::server().sampler(Never);
    let mut silent = layer().layer(handler());
    let mut heard = layer().sink(SampledOnly(told)).layer(handler());
    let mut sampled = TraceLayer::server()
        .sampler(Always)
        .sink(SampledOnly(told))
        .layer(handler());
    let request = || Request::new(());
    let nothing = allocations(|| drive(silent.call(request())));
    assert_eq!(allocations(|| drive(heard.call(request()))), nothing);
    assert!(allocations(|| drive(sampled.call(request()))) > nothing);
}

#[test]
fn what_is_said_of_a_request_that_nobody_is_told_of_is_not_kept() {
    let says = || {
        service_fn(|request: Request<()>| {
            drop(request);
            buttress_trace_ctx::attribute("cart.items", 3);
            buttress_trace_ctx::event("cart loaded");
            buttress_trace_ctx::error(&std::fmt::Error);
            std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::new()))))
        })
    };
    let silent = service_fn(|request: Request<()>| {
        drop(request);
        std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::new()))))
    });
    let sampled = |_: &Finished<'_>| {};
    let layer = TraceLayer::server()
        .sampler(Never)
        .sink(SampledOnly(sampled));
    let (mut says, mut silent) = (layer.layer(says()), layer.layer(silent));
    let request = || Request::new(());
    let said = allocations(|| drive(says.call(request())));
    assert_eq!(said, allocations(|| drive(silent.call(request()))));
}

#[test]
fn what_a_copy_says_or_who_comes_too_late_is_not_kept() {
    use buttress_trace_ctx::{attribute, current};

    let late = |_: &Finished<'_>| {
        assert_eq!(count(|| attribute("late", 1)).0.count, 0);
    };
    let mut service = TraceLayer::server()
        .sink(late)
        .layer(service_fn(|_: Request<()>| {
            attribute("first", 1);
            let copy = current().unwrap();
            copy.clone().scope(|| ());
            let says = || copy.clone().scope(|| attribute("copy", 1));
            assert_eq!(count(says).0.count, 0);
            std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::new()))))
        }));
    drive(service.call(Request::new(())));
}

#[test]
fn futures_and_bodies_stay_small() {
    // Where the context is, what is shared, and the record; and whether what is inside is still there.
    assert_eq!(size_of::<TraceBody<(), ()>>(), 32);
    assert_eq!(size_of::<TraceBody<(), fn(&Finished<'_>)>>(), 32);
    // And whether all that has gone into the body.
    assert_eq!(size_of::<ResponseFuture<(), ()>>(), 40);
    assert_eq!(size_of::<ResponseFuture<(), fn(&Finished<'_>)>>(), 40);
}

#[test]
fn every_other_format_is_read_without_an_allocation_too() {
    let formats: [&dyn Propagator; 5] = [
        &B3::single(),
        &B3::multi(),
        &Jaeger,
        &XRay,
        &(B3::single(), W3c),
    ];
    for format in formats {
        let mut headers = HeaderMap::new();
        format.inject(&TraceContext::root(&FastIds), &mut headers);
        let Extracted::Remote(_) = format.extract(&headers) else {
            panic!("what is written is read")
        };
        assert_eq!(allocations(|| format.extract(&headers)), 0, "{headers:?}");
    }
}

#[test]
fn baggage_is_kept_as_it_came() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "baggage",
        HeaderValue::from_static("a=1,tenant=acme;p=2,b=%20"),
    );
    assert_eq!(allocations(|| Baggage::from_headers(&headers)), 0);
    let baggage = Baggage::from_headers(&headers);
    assert_eq!(allocations(|| baggage.get("tenant")), 0);
    assert_eq!(allocations(|| baggage.get("b")), 1, "decoded");
    assert_eq!(allocations(|| baggage.to_header_value()), 0);
    headers.append("baggage", HeaderValue::from_static("c=3"));
    let joined = allocations(|| Baggage::from_headers(&headers));
    assert!(joined <= 5, "two lines are joined: {joined}");
}

#[test]
fn hosts_and_clients_are_recognized_without_an_allocation() {
    let hosts: Hosts = "api.example, *.svc.local, [::1]:80".parse().unwrap();
    let target = "http://a.B.svc.local:81/x".parse().unwrap();
    assert_eq!(allocations(|| hosts.contain(&target)), 0);
    let client_ip = ClientIp::x_forwarded_for("10.0.0.0/8".parse().unwrap());
    let mut request = Request::builder()
        .header("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.1.1.1")
        .body(())
        .unwrap();
    let peer = PeerAddr(([10, 0, 0, 1], 1).into());
    request.extensions_mut().insert(peer);
    let found = || client_ip.of(&Head::of(&request));
    assert_eq!(found(), Some([192, 0, 2, 7].into()));
    assert_eq!(allocations(found), 0);
}

/// What a call allocates over the bare one, with or without the context in its extensions.
fn per_call(context: &TraceContext, in_extensions: bool) -> u64 {
    let handler = || {
        service_fn(|request: Request<()>| {
            drop(request);
            std::future::ready(Ok::<_, &str>(Response::new(Full::new(Bytes::new()))))
        })
    };
    let request = || {
        let mut request = Request::new(());
        request.headers_mut().reserve(8);
        if in_extensions {
            request
                .extensions_mut()
                .insert::<TraceContext>(context.clone());
        }
        request
    };
    let mut bare = handler();
    let mut traced = TraceLayer::client().layer(handler());
    context.clone().scope(|| {
        let without = allocations(|| drive(bare.call(request())));
        let with = allocations(|| drive(traced.call(request())));
        with - without
    })
}

#[test]
fn the_client_layer_allocates_the_one_new_header_and_another_for_an_id_of_ours() {
    let mut incoming = Request::new(());
    *incoming.headers_mut() = headers(None);
    let received = Policy::default().accept(&mut incoming);
    let generated = Policy::default().accept(&mut Request::new(()));
    for in_extensions in [true, false] {
        assert_eq!(per_call(&received, in_extensions), 1);
        assert_eq!(per_call(&generated, in_extensions), 2);
    }
}

/// However much that is.
#[test]
fn what_was_said_of_a_request_is_not_copied_for_its_calls() {
    let call = || drop(Policy::default().descend(&Request::new(())));
    let says_much = service_fn(async |_: Request<()>| {
        attribute("key", "value");
        // What is beside the notes is one allocation anew.
        let few = allocations(call);
        (0..100).for_each(|n| attribute("key", format!("value {n}")));
        assert_eq!(allocations(call), few);
        Ok::<_, &str>(Response::new(Full::new(Bytes::new())))
    });
    let mut service = TraceLayer::server()
        .sink(|_: &Finished<'_>| ())
        .layer(says_much);
    drive(service.call(Request::new(())));
}

#[test]
fn generated_ids_are_rendered_only_when_asked_for() {
    let policy = Policy::default();
    assert_eq!(allocations(|| policy.accept(&mut Request::new(()))), 0);
    let context = policy.accept(&mut Request::new(()));
    assert_eq!(allocations(|| context.clone()), 0);
    assert_eq!(allocations(|| context.request_id().to_header_value()), 1);
}

#[test]
fn a_body_costs_nothing_per_frame() {
    let mut service = TraceLayer::server().layer(service_fn(|_: Request<()>| {
        let frames =
            (0..100).map(|_| Ok::<_, &str>(http_body::Frame::data(Bytes::from_static(b"x"))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        std::future::ready(Ok::<_, &str>(Response::new(body)))
    }));
    let response = tokio_test::block_on(service.call(Request::new(()))).unwrap();
    let mut body = Box::pin(response.into_body());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let (spent, frames) = count(|| {
        (0..100)
            .filter(|_| {
                std::pin::Pin::new(&mut body.frame())
                    .poll(&mut cx)
                    .is_ready()
            })
            .count()
    });
    assert_eq!((spent.count, frames), (0, 100));
}
