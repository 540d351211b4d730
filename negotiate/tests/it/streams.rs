//! Collections on their way: when the head is sent, what is sent together, what an error becomes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use buttress_negotiate::{
    EncodeError, Json, NegotiateLayer, Negotiated, Record, ReplyBody, ReplyError, StreamError,
};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::{Request, Response};
use http_body::Body;
use serde::{Serialize, Serializer};
use tokio_test::{assert_pending, assert_ready, block_on, task};
use tower::{Layer, ServiceExt, service_fn};

#[derive(Clone, Debug)]
struct Row(Result<u32, ()>);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Ok(number) => serializer.serialize_u32(number),
            Err(()) => Err(serde::ser::Error::custom("this row cannot be written")),
        }
    }
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["n"];
}

/// What a source does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Step {
    Row(u32),
    Unwritable,
    Pending,
    Error,
}
use Step::{Error, Pending, Unwritable};

/// A source that does as it is told, and wakes at once where it is pending.
fn source(steps: &[Step]) -> impl Stream<Item = Result<Row, io::Error>> + Send + use<> {
    let mut steps = VecDeque::from(steps.to_vec());
    stream::poll_fn(move |cx| match steps.pop_front() {
        None => Poll::Ready(None),
        Some(Step::Row(number)) => Poll::Ready(Some(Ok(Row(Ok(number))))),
        Some(Unwritable) => Poll::Ready(Some(Ok(Row(Err(()))))),
        Some(Error) => Poll::Ready(Some(Err(io::Error::other("the database is gone")))),
        Some(Pending) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
}

/// What a handler gets whose caller wants JSON.
fn negotiated() -> Negotiated<(Json,)> {
    let found = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&found);
    let service = NegotiateLayer::new((Json,)).layer(service_fn(move |request: Request<()>| {
        *kept.borrow_mut() = Negotiated::of(&request);
        std::future::ready(Ok::<_, io::Error>(Response::new(ReplyBody::default())))
    }));
    block_on(service.oneshot(Request::new(()))).unwrap();
    found.take().unwrap()
}

fn open(steps: &[Step]) -> Result<Response<ReplyBody>, StreamError<io::Error>> {
    block_on(negotiated().stream(source(steps)))
}

/// What comes at each poll of a body: `None` where it is pending.
fn polls(mut body: ReplyBody) -> (Vec<Option<String>>, Result<(), ReplyError>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut all = vec![];
    loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Pending => all.push(None),
            Poll::Ready(None) => return (all, Ok(())),
            Poll::Ready(Some(Err(error))) => return (all, Err(error)),
            Poll::Ready(Some(Ok(frame))) => {
                let data: Bytes = frame.into_data().unwrap();
                all.push(Some(String::from_utf8(data.to_vec()).unwrap()));
            }
        }
    }
}

#[test]
fn the_head_waits_for_the_first_record() {
    let mut reply = task::spawn(negotiated().stream(source(&[Pending, Pending, Step::Row(1)])));
    assert_pending!(reply.poll());
    assert!(reply.is_woken(), "the source wakes");
    assert_pending!(reply.poll());
    let response = assert_ready!(reply.poll()).unwrap();
    assert_eq!(polls(response.into_body()).0, [Some("[1]".to_owned())]);
}

#[test]
fn an_error_before_the_head_can_have_a_status() {
    let early: [&[Step]; 3] = [
        &[Error],
        &[Pending, Error],
        // Nothing has been sent yet: this is early too.
        &[Step::Row(1), Step::Row(2), Error],
    ];
    for steps in early {
        let error = open(steps).unwrap_err();
        assert_eq!(error.response().status(), 500);
        assert!(
            matches!(&error, StreamError::Rows(e) if e.to_string() == "the database is gone"),
            "{error:?}"
        );
    }
    let error = open(&[Step::Row(1), Unwritable]).unwrap_err();
    assert!(matches!(&error, StreamError::Encode(_)), "{error:?}");
    assert_eq!(error.response().status(), 500);
}

#[test]
fn an_error_after_the_head_breaks_the_body_and_the_records_before_it_arrive() {
    for (last, told) in [(Error, "the database is gone"), (Unwritable, "the value")] {
        let steps = [Step::Row(1), Pending, Step::Row(2), last, Step::Row(3)];
        let (sent, end) = polls(open(&steps).unwrap().into_body());
        // The head was sent after the first record; the body's first look at the source found the second.
        assert_eq!(sent, [Some("[1,2".into())]);
        let error = end.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().starts_with(told), "{source}");
        let is_encode = error.downcast_ref::<EncodeError>().is_some();
        assert_eq!(is_encode, matches!(last, Unwritable));
    }
}

#[test]
fn what_is_there_is_sent_when_the_source_has_no_more_for_now() {
    let steps = [
        Step::Row(1),
        Step::Row(2),
        Pending,
        Pending,
        Step::Row(3),
        Pending,
    ];
    let (sent, end) = polls(open(&steps).unwrap().into_body());
    // The first pause sent the head, the second what was there.
    let expected = [Some("[1,2"), Some(",3"), Some("]")];
    assert_eq!(sent, expected.map(|s| s.map(str::to_owned)));
    assert!(end.is_ok());
}

#[test]
fn what_is_there_at_once_has_a_length_and_what_comes_later_has_none() {
    let response = open(&[Step::Row(1), Step::Row(2)]).unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.body().size_hint().exact(), Some(5));
    let response = open(&[]).unwrap();
    assert_eq!(response.headers()["content-length"], "2");
    let response = open(&[Step::Row(1), Pending]).unwrap();
    assert_eq!(response.headers().get("content-length"), None);
    assert_eq!(response.body().size_hint().exact(), None);
    assert!(!response.body().is_end_stream());
    let response = open(&[Step::Row(1), Pending, Error]).unwrap();
    let mut body = response.into_body();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let _first = Pin::new(&mut body).poll_frame(&mut cx);
    assert!(!body.is_end_stream(), "an error is still to come");
    let mut body = open(&[Step::Row(1)]).unwrap().into_body();
    let _all = Pin::new(&mut body).poll_frame(&mut cx);
    assert!(body.is_end_stream(), "a server need not ask again");
}

/// Endless, and counted.
fn endless(taken: &Arc<AtomicUsize>) -> impl Stream<Item = Result<Row, io::Error>> + use<> {
    let taken = Arc::clone(taken);
    stream::iter(0..).map(move |number| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(Row(Ok(number)))
    })
}

#[test]
fn no_more_is_taken_than_is_read_and_a_batch_is_16_kib() {
    let taken = Arc::new(AtomicUsize::new(0));
    let response = block_on(negotiated().stream(endless(&taken))).unwrap();
    let mut body = response.into_body();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut records = 0;
    for _ in 0..20 {
        let frame = match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!((16_384..16_400).contains(&frame.len()), "{}", frame.len());
        records += frame.iter().filter(|byte| **byte == b',').count();
        assert_eq!(
            taken.load(Ordering::Relaxed),
            records + 1,
            "none was taken in advance"
        );
    }
}

#[test]
fn dropping_the_future_or_the_body_drops_the_source() {
    let held = Arc::new(());
    let source = |first: &[Step]| {
        let held = Arc::clone(&held);
        source(first).chain(stream::pending()).inspect(move |_| {
            let _held = &held;
        })
    };
    let mut waiting = task::spawn(negotiated().stream(source(&[])));
    assert_pending!(waiting.poll());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(waiting);
    assert_eq!(Arc::strong_count(&held), 1);
    let response = block_on(negotiated().stream(source(&[Step::Row(1)]))).unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    drop(response);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn the_source_is_dropped_as_soon_as_it_has_failed_or_ended() {
    let held = Arc::new(());
    for last in [Some(Error), None] {
        let kept = Arc::clone(&held);
        let mut steps = vec![Step::Row(1), Pending, Step::Row(2)];
        steps.extend(last);
        let source = source(&steps).inspect(move |_| {
            let _kept = &kept;
        });
        let mut body = block_on(negotiated().stream(source)).unwrap().into_body();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _first = Pin::new(&mut body).poll_frame(&mut cx);
        assert_eq!(
            Arc::strong_count(&held),
            1,
            "after {last:?}, before the body is"
        );
    }
}

#[test]
#[should_panic(expected = "polled to its end once")]
fn a_future_that_is_done_is_not_polled_again() {
    let mut reply = Box::pin(negotiated().stream(source(&[])));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(reply.as_mut().poll(&mut cx).is_ready());
    let _ = reply.as_mut().poll(&mut cx);
}
