use ::http::{Request, Response};
use buttress_dedup::http::{BodyError, DedupBody, DedupLayer};
use bytes::Bytes;
use http_body_util::Empty;
use testkit::laws::read_body;
use testkit::probe::ProbedBody;

testkit::tower_laws! {
    mod the_http_layer {
        readiness: Always,
        layer: DedupLayer::<ProbedBody>::http(),
        request: || Request::new(Empty::<Bytes>::new()),
        answer: |probe, _: Request<Empty<Bytes>>| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<DedupBody<ProbedBody>>| read_body(response),
        given_back: |layer: &DedupLayer<ProbedBody>| {
            assert!(layer.snapshot().is_idle());
        },
    }
}

testkit::tower_laws! {
    mod a_request_that_passes_alone {
        readiness: Always,
        layer: DedupLayer::<ProbedBody>::http().key(|_, _| None),
        request: || Request::new(Empty::<Bytes>::new()),
        answer: |probe, _: Request<Empty<Bytes>>| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<DedupBody<ProbedBody>>| read_body(response),
        given_back: |_: &DedupLayer<ProbedBody>| {},
    }
}

#[test]
fn a_bodys_error_is_an_error_that_can_be_sent() {
    fn is_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_error::<BodyError>();
}
