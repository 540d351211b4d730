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
    EncodeError, Format, Formats, Html, Json, MediaType, NdJson, NegotiateLayer, Negotiated,
    Record, ReplyBody, ReplyError, RowEncoder, StreamError,
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

/// Where a [`Fussy`] collection fails.
#[derive(Clone, Copy, PartialEq)]
enum Fails {
    AtBegin,
    AtEnd,
}

/// A format that has no way to begin, or to end, a collection.
struct Fussy(Fails);

impl Format for Fussy {
    type Rows = Fussy;

    fn name(&self) -> &'static str {
        "fussy"
    }
    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("a/fussy")] }
    }
    fn encode<T: Serialize + ?Sized>(&self, _: &T, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
    fn rows(&self, _: &'static [&'static str]) -> Fussy {
        Fussy(self.0)
    }
}

impl RowEncoder for Fussy {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'(');
        match self.0 {
            Fails::AtBegin => Err(EncodeError::new("no begin")),
            Fails::AtEnd => Ok(()),
        }
    }
    fn row<T: Record>(&mut self, _: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'.');
        Ok(())
    }
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b')');
        Err(EncodeError::new("no end"))
    }
}

/// What a handler gets from a layer with these formats.
fn chosen_of<F: Formats>(formats: F, accept: &str) -> Negotiated<F> {
    let found = RefCell::new(None);
    let service = NegotiateLayer::new(formats).layer(service_fn(async |request: Request<()>| {
        *found.borrow_mut() = Negotiated::of(&request);
        Ok::<_, io::Error>(Response::new(ReplyBody::default()))
    }));
    let request = Request::builder().header("accept", accept).body(());
    block_on(service.oneshot(request.unwrap())).unwrap();
    found.into_inner().unwrap()
}

#[test]
fn a_collection_that_has_no_begin_or_end_is_none() {
    for (fails, told) in [(Fails::AtBegin, "no begin"), (Fails::AtEnd, "no end")] {
        let fussy = chosen_of((Fussy(fails),), "*/*");
        let error = block_on(fussy.stream(source(&[Step::Row(1)]))).unwrap_err();
        let reason = std::error::Error::source(&error).unwrap();
        assert_eq!(reason.to_string(), told);
        assert!(fussy.rows(&[Row(Ok(1))]).is_err());
    }
    let fussy = chosen_of((Fussy(Fails::AtEnd),), "*/*");
    let response = block_on(fussy.stream(source(&[Step::Row(1), Pending]))).unwrap();
    let (sent, end) = polls(response.into_body());
    assert_eq!(sent, [Some("(.".into())], "what an end began is not sent");
    assert!(end.is_err());
}

#[test]
fn an_error_line_ends_the_body_and_nothing_follows_it() {
    let lines = chosen_of((NdJson::new().error_line("{\"error\":true}"),), "*/*");
    for last in [Error, Unwritable] {
        let steps = [
            Step::Row(1),
            Pending,
            Step::Row(2),
            Pending,
            last,
            Step::Row(3),
        ];
        let response = block_on(lines.stream(source(&steps))).unwrap();
        let (sent, end) = polls(response.into_body());
        assert_eq!(
            sent,
            [
                Some("1\n2\n".to_owned()),
                Some("{\"error\":true}\n".to_owned())
            ]
        );
        assert!(end.is_ok());
    }
    let early = block_on(lines.stream(source(&[Error]))).unwrap_err();
    assert_eq!(
        early.response().status(),
        500,
        "there is no need for a line yet"
    );
    let plain = chosen_of((NdJson::new(),), "*/*");
    let response = block_on(plain.stream(source(&[Step::Row(1), Pending, Error]))).unwrap();
    assert!(polls(response.into_body()).1.is_err());
}

#[test]
fn what_stands_before_the_first_record_is_not_sent_alone() {
    let html = chosen_of((Html::title("All"),), "*/*");
    #[derive(Serialize)]
    struct Cell {
        n: u8,
    }
    impl Record for Cell {
        const COLUMNS: &'static [&'static str] = &["n"];
    }
    let (sender, receiver) = std::sync::mpsc::channel::<u8>();
    let rows = stream::poll_fn(move |_| match receiver.try_recv() {
        Ok(n) => Poll::Ready(Some(Ok::<_, io::Error>(Cell { n }))),
        Err(std::sync::mpsc::TryRecvError::Empty) => Poll::Pending,
        Err(std::sync::mpsc::TryRecvError::Disconnected) => Poll::Ready(None),
    });
    let mut reply = task::spawn(html.stream(rows));
    assert_pending!(reply.poll());
    sender.send(1).unwrap();
    let mut body = assert_ready!(reply.poll()).unwrap().into_body();
    drop(sender);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Some(Ok(first))) = Pin::new(&mut body).poll_frame(&mut cx) else {
        panic!("the end is there")
    };
    let page = String::from_utf8(first.into_data().unwrap().to_vec()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<td>1</td>"));
    assert!(page.ends_with("</tbody></table></body></html>\n"));
}

#[test]
fn whatever_is_whole_has_a_length() {
    let rows: Vec<Row> = (0..10_000).map(|n| Row(Ok(n))).collect();
    for response in [
        negotiated().rows(&rows).unwrap(),
        negotiated().reply(&rows).unwrap(),
    ] {
        let length = response.body().size_hint().exact().unwrap();
        assert!(length > 16 * 1024);
        assert_eq!(response.headers()["content-length"], length.to_string());
    }
}

/// Panics when it is written.
struct Bad;

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Bad", 1)?;
        fields.serialize_field("n", &1)?;
        panic!("a record panics");
    }
}

/// A record that is written, or that panics.
enum Row3 {
    Good(u8),
    Bad,
}

impl Serialize for Row3 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Good(n) => std::collections::BTreeMap::from([("n", n)]).serialize(serializer),
            Self::Bad => Bad.serialize(serializer),
        }
    }
}

impl Record for Row3 {
    const COLUMNS: &'static [&'static str] = &["n"];
}

/// Polls through panics, and tells what was sent and how it ended.
fn through_panics(mut body: ReplyBody) -> (String, Option<bool>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut sent = String::new();
    for _ in 0..20 {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Pin::new(&mut body).poll_frame(&mut cx)
        }));
        match polled {
            Err(_) | Ok(Poll::Pending) => {}
            Ok(Poll::Ready(None)) => return (sent, Some(true)),
            Ok(Poll::Ready(Some(Err(_)))) => return (sent, Some(false)),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                sent += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
            }
        }
    }
    (sent, None)
}

#[test]
fn after_a_panic_that_was_caught_nothing_ends_well() {
    fn panicking(at: usize, in_source: bool) -> impl Stream<Item = Result<Row3, io::Error>> + Send {
        let mut polls = 0;
        stream::poll_fn(move |_| {
            polls += 1;
            match polls {
                2 => Poll::Pending,
                n if n == at && in_source => panic!("a source panics"),
                n if n == at => Poll::Ready(Some(Ok(Row3::Bad))),
                n if n > 6 => Poll::Ready(None),
                n => Poll::Ready(Some(Ok(Row3::Good(n as u8)))),
            }
        })
    }
    let mut ends = vec![];
    for in_source in [false, true] {
        for at in 3..6 {
            let rows = || panicking(at, in_source);
            let json = chosen_of((Json,), "*/*");
            ends.push((block_on(json.stream(rows())).unwrap(), "[{\"n\":1}"));
            let html = chosen_of((Html::title("All"),), "*/*");
            ends.push((block_on(html.stream(rows())).unwrap(), "<!DOCTYPE html>"));
            #[cfg(feature = "csv")]
            {
                let csv = chosen_of((buttress_negotiate::Csv::new(),), "*/*");
                ends.push((block_on(csv.stream(rows())).unwrap(), ""));
            }
        }
    }
    let ends: Vec<_> = ends
        .into_iter()
        .map(|(response, start)| (through_panics(response.into_body()), start))
        .collect();
    let line = chosen_of((NdJson::new().error_line("\"broken\""),), "*/*");
    let line = block_on(line.stream(panicking(4, false))).unwrap();
    let line = through_panics(line.into_body());
    for ((sent, end), start) in ends {
        assert_eq!(end, Some(false), "{sent}");
        assert!(sent.starts_with(start) || sent.is_empty(), "{sent}");
        assert!(
            !sent.contains(",{,") && !sent.ends_with("{\"n\":1"),
            "{sent}"
        );
    }
    assert_eq!(
        line,
        ("{\"n\":1}\n{\"n\":3}\n\"broken\"\n".to_owned(), Some(true))
    );
}
