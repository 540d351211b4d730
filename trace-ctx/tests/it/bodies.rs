//! Bodies stream: what the inner body says is what comes out.

use buttress_trace_ctx::{TraceLayer, current};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use testkit::body::by_hand;
use testkit::probe::ProbeError;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt, service_fn};

fn through<B: Body>(body: B) -> impl Body<Data = B::Data, Error = B::Error> {
    let mut body = Some(body);
    let service = TraceLayer::server().layer(service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, &str>(Response::new(body.take().unwrap())))
    }));
    let Ok(response) = tokio_test::block_on(service.oneshot(Request::new(()))) else {
        panic!("the service answers")
    };
    response.into_body()
}

#[test]
fn frames_trailers_and_errors_pass_one_by_one_as_they_come() {
    let (body, hand) = by_hand();
    let mut body = Box::pin(through(body));
    let mut next = |expected: Option<Result<Frame<Bytes>, ProbeError>>| {
        let frame = assert_ready!(task::spawn(body.frame()).poll());
        assert_eq!(format!("{frame:?}"), format!("{expected:?}"));
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    hand.data("one");
    next(Some(Ok(Frame::data("one".into()))));
    hand.data("").data("two");
    next(Some(Ok(Frame::data("".into()))));
    next(Some(Ok(Frame::data("two".into()))));
    hand.trailers(trailers.clone());
    next(Some(Ok(Frame::trailers(trailers))));
    hand.fail();
    next(Some(Err(ProbeError)));
    hand.end();
    next(None);
}

#[test]
fn a_pending_body_is_woken_by_its_own_waker() {
    let (body, hand) = by_hand();
    let mut body = Box::pin(through(body));
    let mut frame = task::spawn(body.frame());
    assert_pending!(frame.poll());
    assert!(!frame.is_woken());
    hand.data("x");
    assert!(frame.is_woken());
    assert_ready!(frame.poll());
}

#[test]
fn hints_are_the_inner_body_s_at_every_step() {
    let mut body = Box::pin(through(Full::new(Bytes::from("hello"))));
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    assert_ready!(task::spawn(body.frame()).poll());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());

    let (unknown, hand) = by_hand();
    let body = through(unknown);
    assert_eq!(body.size_hint().exact(), None);
    hand.announce(7);
    assert_eq!(body.size_hint().exact(), Some(7));
}

#[test]
fn the_context_is_current_while_the_body_is_polled_and_dropped() {
    struct OnDrop;
    impl Drop for OnDrop {
        fn drop(&mut self) {
            assert!(current().is_some(), "while dropped");
        }
    }
    let watch = OnDrop;
    let stream = futures_util::stream::poll_fn(move |_| {
        let _ = &watch;
        assert!(current().is_some(), "while polled");
        std::task::Poll::Ready(Some(Ok::<_, &str>(Frame::data(Bytes::from("x")))))
    });
    let mut body = Box::pin(through(StreamBody::new(stream)));
    assert_ready!(task::spawn(body.frame()).poll());
    assert!(current().is_none());
    drop(body);
    assert!(current().is_none());
}
