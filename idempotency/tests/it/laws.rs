use std::sync::atomic::{AtomicUsize, Ordering};

use buttress_idempotency::{IdempotencyLayer, IdempotentBody, MemoryStore, RequestBody, Scoped};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use testkit::laws::read_body;
use testkit::probe::ProbedBody;

type Req = Request<RequestBody<Full<Bytes>>>;

fn layer() -> IdempotencyLayer<MemoryStore, Scoped> {
    IdempotencyLayer::new(MemoryStore::new()).single_tenant()
}

/// Each time with a key of its own, for a repetition does not reach the inner service.
fn keyed() -> Request<Full<Bytes>> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let key = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
    Request::post("/")
        .header("idempotency-key", key)
        .body(Full::from("body"))
        .unwrap()
}

fn nothing_runs(layer: &IdempotencyLayer<MemoryStore, Scoped>) {
    assert_eq!(
        layer.tasks().running(),
        0,
        "work goes on that nobody waits for"
    );
}

testkit::tower_laws! {
    mod a_keyed_request {
        readiness: Always,
        layer: layer(),
        request: keyed,
        answer: |probe, _: Req| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<IdempotentBody<ProbedBody>>| read_body(response),
        given_back: nothing_runs,
    }
}

testkit::tower_laws! {
    mod a_request_without_a_key {
        readiness: Always,
        layer: layer(),
        request: || Request::post("/").body(Full::<Bytes>::from("body")).unwrap(),
        answer: |probe, _: Req| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<IdempotentBody<ProbedBody>>| read_body(response),
        given_back: nothing_runs,
    }
}
