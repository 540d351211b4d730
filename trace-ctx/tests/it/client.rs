//! What goes out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use buttress_trace_ctx::{
    ClientLayer, ClientService, FastIds, Finished, InTrace, Outcome, Policy, TraceContext,
    TraceLayer, current,
};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, ServiceExt, service_fn};

type Sent = Arc<Mutex<Vec<(HeaderMap, Option<TraceContext>)>>>;
type Answer = std::future::Ready<Result<Response<Empty<Bytes>>, &'static str>>;

fn client() -> (
    ClientService<
        impl Service<
            Request<()>,
            Response = Response<Empty<Bytes>>,
            Error = &'static str,
            Future = Answer,
        >,
    >,
    Sent,
) {
    let sent = Sent::default();
    let seen = sent.clone();
    let layer = TraceLayer::client().correlation_id(HeaderName::from_static("x-correlation-id"));
    let service = layer.layer(service_fn(move |request: Request<()>| {
        let parent = current().expect("an attempt is current while it is made");
        let traceparent = request.headers()["traceparent"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(parent.traceparent().to_string(), traceparent);
        let extension = request.extensions().get().cloned();
        seen.lock()
            .unwrap()
            .push((request.headers().clone(), extension));
        std::future::ready(Ok(Response::new(Empty::new())))
    }));
    (service, sent)
}

fn inside(context: &TraceContext) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(context.clone());
    request
}

#[test]
fn every_attempt_is_a_span_of_its_own_in_the_same_trace() {
    let context = TraceContext::root(&FastIds);
    let (mut client, sent) = client();
    for _ in 0..10 {
        tokio_test::block_on(client.call(inside(&context)))
            .map(drop)
            .unwrap();
    }
    let mut spans = HashSet::from([context.span_id().to_string()]);
    for (headers, attempt) in sent.lock().unwrap().iter() {
        let traceparent = headers["traceparent"].to_str().unwrap();
        assert_eq!(traceparent[3..35], context.trace_id().to_string());
        assert!(
            spans.insert(traceparent[36..52].to_owned()),
            "a span id was used twice"
        );
        assert_eq!(traceparent[53..], *"02", "random, and not sampled");
        assert_eq!(headers["x-request-id"], context.request_id().to_string());
        assert_eq!(headers["x-correlation-id"], headers["x-request-id"]);
        assert!(!headers.contains_key("tracestate"));
        let attempt = attempt.as_ref().unwrap();
        assert_eq!(
            attempt.parent_id(),
            Some(context.span_id()),
            "layers below see the attempt"
        );
    }
}

/// Tries again until it goes well.
#[derive(Clone)]
struct Again;

impl<R> tower::retry::Policy<Request<()>, R, &'static str> for Again {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<()>,
        result: &mut Result<R, &'static str>,
    ) -> Option<Self::Future> {
        result.is_err().then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<()>) -> Option<Request<()>> {
        Some(request.clone())
    }
}

#[test]
fn below_a_retry_each_attempt_is_a_span_with_a_record() {
    let context = TraceContext::root(&FastIds);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (records, attempts) = (told.clone(), Arc::new(Mutex::new(0)));
    let traced = TraceLayer::client()
        .sink(move |finished: &Finished<'_>| {
            records
                .lock()
                .unwrap()
                .push((finished.context.clone(), finished.outcome));
        })
        .layer(service_fn(move |_: Request<()>| {
            *attempts.lock().unwrap() += 1;
            std::future::ready(match *attempts.lock().unwrap() {
                3 => Ok(Response::new(Empty::<Bytes>::new())),
                _ => Err("not yet"),
            })
        }));
    let retrying = tower::retry::RetryLayer::new(Again).layer(traced);
    tokio_test::block_on(retrying.oneshot(inside(&context)))
        .map(drop)
        .unwrap();
    let told = told.lock().unwrap();
    let outcomes: Vec<_> = told.iter().map(|record| record.1).collect();
    assert_eq!(
        outcomes,
        [Outcome::Error, Outcome::Error, Outcome::Complete]
    );
    let spans: HashSet<_> = told.iter().map(|(attempt, _)| attempt.span_id()).collect();
    assert_eq!(spans.len(), 3);
    for (attempt, _) in told.iter() {
        assert_eq!(attempt.parent_id(), Some(context.span_id()));
        assert_eq!(attempt.trace_id(), context.trace_id());
    }
}

#[test]
fn copies_of_what_came_in_are_replaced() {
    let context = TraceContext::root(&FastIds);
    let (mut client, sent) = client();
    let mut request = inside(&context);
    for (name, value) in [
        ("traceparent", crate::server::PARENT),
        ("traceparent", "second"),
        ("tracestate", "theirs=1"),
        ("x-request-id", "theirs"),
        ("x-correlation-id", "theirs"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    tokio_test::block_on(client.call(request))
        .map(drop)
        .unwrap();
    let sent = sent.lock().unwrap();
    let (headers, _) = &sent[0];
    assert_eq!(headers.len(), 3);
    assert!(!format!("{headers:?}").contains("theirs"));
}

#[test]
fn without_an_extension_the_current_context_is_the_parent() {
    let context = TraceContext::root(&FastIds);
    let trace_id = context.trace_id().to_string();
    let (mut client, sent) = client();
    let call = async { client.call(Request::new(())).await.map(drop) };
    tokio_test::block_on(call.in_trace(context)).unwrap();
    let sent = sent.lock().unwrap();
    assert_eq!(sent[0].0["traceparent"].to_str().unwrap()[3..35], trace_id);
    assert!(sent[0].1.is_none(), "no extension is made up");
}

#[test]
fn outside_any_trace_a_call_starts_one() {
    let (mut client, sent) = client();
    for _ in 0..2 {
        tokio_test::block_on(client.call(Request::new(())))
            .map(drop)
            .unwrap();
    }
    let sent = sent.lock().unwrap();
    let trace = |i: usize| sent[i].0["traceparent"].to_str().unwrap()[3..35].to_owned();
    assert_ne!(trace(0), trace(1));
}

/// Calls `target` from within a request that came with `fields`, of which the authorization and the tenant are carried.
fn forwarded(client: &ClientLayer, target: &str, own: &[(&str, &str)]) -> HeaderMap {
    let mut incoming = Request::builder()
        .header("traceparent", crate::server::PARENT)
        .header("authorization", "Bearer theirs")
        .header("x-tenant", "acme")
        .header("cookie", "not=carried")
        .body(())
        .unwrap();
    let policy = Policy::default().carry([AUTHORIZATION, HeaderName::from_static("x-tenant")]);
    let context = policy.accept(&mut incoming);
    let mut request = inside(&context);
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in own {
        let name = HeaderName::try_from(*name).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let sent = Arc::new(Mutex::new(HeaderMap::new()));
    let seen = sent.clone();
    let mut service = client.layer(service_fn(move |request: Request<()>| {
        *seen.lock().unwrap() = request.into_parts().0.headers;
        std::future::ready(Ok::<_, &str>(Response::new(Empty::<Bytes>::new())))
    }));
    tokio_test::block_on(service.call(request))
        .map(drop)
        .unwrap();
    std::mem::take(&mut *sent.lock().unwrap())
}

#[test]
fn credentials_go_to_the_hosts_on_the_list_and_to_no_other() {
    let client =
        TraceLayer::client().forward_to("*.svc.local, billing.example:8443".parse().unwrap());
    for (target, goes) in [
        ("http://orders.svc.local/", true),
        ("https://billing.example:8443/", true),
        ("https://billing.example/", false),
        ("http://svc.local.evil.example/", false),
        ("/no/host", false),
    ] {
        let sent = forwarded(&client, target, &[]);
        assert_eq!(
            sent.get("authorization")
                .is_some_and(|it| it == "Bearer theirs"),
            goes,
            "{target}"
        );
        assert_eq!(sent.contains_key("x-tenant"), goes, "{target}");
        assert!(!sent.contains_key("cookie"), "it is not carried");
        assert!(sent.contains_key("traceparent"), "that is another list");
    }
}

#[test]
fn forwarded_credentials_are_marked_and_a_call_s_own_are_kept() {
    let client = TraceLayer::client().forward_to("a.example".parse().unwrap());
    let sent = forwarded(&client, "http://a.example/", &[]);
    assert!(sent["authorization"].is_sensitive());
    assert!(!format!("{sent:?}").contains("theirs"));
    let own = [("authorization", "Basic own")];
    let sent = forwarded(&client, "http://a.example/", &own);
    assert_eq!(sent["authorization"], "Basic own");
    let sent = forwarded(&client, "http://b.example/", &own);
    assert_eq!(sent["authorization"], "Basic own", "not what came in");
    let copied = [("authorization", "Bearer theirs"), ("x-tenant", "acme")];
    let sent = forwarded(&client, "http://b.example/", &copied);
    assert!(
        !sent.contains_key("authorization") && !sent.contains_key("x-tenant"),
        "{sent:?}"
    );
    let sent = forwarded(&TraceLayer::client(), "http://a.example/", &copied);
    assert_eq!(
        sent["authorization"], "Bearer theirs",
        "without a list nothing is done"
    );
}

#[test]
fn the_trace_is_told_to_the_hosts_on_the_list_and_to_no_other() {
    let client = TraceLayer::client()
        .correlation_id(HeaderName::from_static("x-correlation-id"))
        .propagate_to("a.example".parse().unwrap());
    let copies = [
        ("traceparent", crate::server::PARENT),
        ("tracestate", "theirs=1"),
        ("x-request-id", "theirs"),
        ("x-correlation-id", "theirs"),
        ("accept", "*/*"),
    ];
    let told = forwarded(&client, "http://a.example/", &copies);
    assert_eq!(told.len(), 4, "{told:?}");
    let untold = forwarded(&client, "http://b.example/", &copies);
    assert_eq!(untold.keys().collect::<Vec<_>>(), ["accept"]);
}
