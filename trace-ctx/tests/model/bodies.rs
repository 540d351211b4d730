//! Any body through the layer, beside the same body without it, poll by poll.

use std::pin::Pin;
use std::task::{Context, Waker};

use buttress_trace_ctx::{Finished, TraceLayer};
use http::{Request, Response};
use http_body::Body;
use proptest::prelude::*;
use tower::{Layer, Service, service_fn};

use crate::exactly_once::{Scripted, Step};

fn script() -> impl Strategy<Value = (Vec<Step>, bool, Option<u64>)> {
    let step = prop_oneof![
        Just(Step::Pending),
        (0u8..4).prop_map(Step::Data),
        Just(Step::Trailers),
        Just(Step::Fail),
    ];
    let steps = prop::collection::vec(step, 0..8);
    (steps, any::<bool>(), prop::option::of(0u64..20))
}

proptest! {
    #[test]
    fn it_says_what_the_inner_one_says(script in script(), answers in any::<bool>()) {
        let body = || Scripted::new(script.0.clone(), script.1, script.2);
        let mut layer = TraceLayer::server().sink(|_: &Finished<'_>| {});
        if answers {
            layer = layer.server_timing().echo_request_id().response_extension();
        }
        let mut service = layer.layer(service_fn(|_: Request<()>| {
            std::future::ready(Ok::<_, &str>(Response::new(body())))
        }));
        let response = tokio_test::block_on(service.call(Request::new(()))).unwrap();
        let (mut through, mut bare) = (response.into_body(), body());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..script.0.len() + 2 {
            prop_assert_eq!(through.is_end_stream(), bare.is_end_stream());
            prop_assert_eq!(format!("{:?}", through.size_hint()), format!("{:?}", bare.size_hint()));
            let ours = Pin::new(&mut through).poll_frame(&mut cx);
            let theirs = Pin::new(&mut bare).poll_frame(&mut cx);
            prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        }
    }
}
