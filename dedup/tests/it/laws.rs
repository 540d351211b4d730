use buttress_dedup::DedupLayer;
use testkit::probe::Probe;

testkit::tower_laws! {
    mod the_generic_layer {
        readiness: Always,
        layer: DedupLayer::new(|request: &u8| Some(*request)),
        request: || 7_u8,
        answer: |_: &Probe, request: u8| Ok(request),
        read: async |answer: u8| assert_eq!(answer, 7),
        given_back: |layer: &DedupLayer<_, u8, u8, _>| assert!(layer.snapshot().is_idle()),
    }
}

#[cfg(feature = "http")]
mod http {
    use ::http::{Request, Response};
    use buttress_dedup::http::{BodyError, DedupBody, DedupLayer};
    use bytes::Bytes;
    use http_body_util::Empty;
    use testkit::laws::read_body;
    use testkit::probe::ProbedBody;

    testkit::tower_laws! {
        mod the_layer {
            readiness: Always,
            layer: DedupLayer::<ProbedBody>::http(),
            request: || Request::new(Empty::<Bytes>::new()),
            answer: |probe, _: Request<Empty<Bytes>>| Ok(Response::new(probe.body(&["a", "b"]))),
            read: |response: Response<DedupBody<ProbedBody>>| read_body(response),
            given_back: |layer: &DedupLayer<ProbedBody>| assert!(layer.snapshot().is_idle()),
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
}
