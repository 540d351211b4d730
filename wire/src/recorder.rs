//! Keeping a response while it streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::recorded::Recorded;

/// How a recording ended. There is no such thing as half a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The body broke, was dropped before its end, or was not as long as announced.
    Aborted,
    /// The whole response.
    Complete(Recorded),
    /// The body is larger than the limit. It streams on; nothing is kept.
    Overflow,
}

/// The plain machine behind [`Recorder`]: what has been seen of a response so far, up to a limit.
///
/// Use it by itself where something has to happen between the end of a body and the moment that its reader learns of it.
#[derive(Debug)]
pub struct Recording {
    head: Recorded,
    body: Kept,
    trailers: Option<HeaderMap>,
    limit: usize,
    seen: u64,
    announced: Option<u64>,
}

impl Recording {
    /// Begins to record a response with this head, and a body of at most `limit` bytes.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, limit: usize) -> Self {
        Self::of(Recorded::new(status, headers, Bytes::new(), None), limit)
    }

    /// The same, where the head is there already, and may be others' too: it is shared, and not copied. Neither body nor trailers of `head` are recorded.
    #[must_use]
    pub fn of(head: Recorded, limit: usize) -> Self {
        Self {
            head,
            body: Kept::default(),
            trailers: None,
            limit,
            seen: 0,
            announced: None,
        }
    }

    /// Says how long the body will be: its `Content-Length`, or its exact size hint. A body of another length is
    /// [`Outcome::Aborted`].
    #[must_use]
    pub fn announced(mut self, bytes: Option<u64>) -> Self {
        self.announced = bytes;
        self
    }

    /// Adds a frame. False once the limit is passed: the bytes kept so far are freed.
    pub fn frame(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(data) = frame.data_ref() {
            self.seen += data.len() as u64;
            if self.overflowed() {
                self.body = Kept::default();
                return false;
            }
            let announced = self.announced.filter(|bytes| *bytes <= self.limit as u64);
            self.body.add(data, announced.unwrap_or_default() as usize);
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers
                .get_or_insert_default()
                .extend(trailers.clone());
        }
        true
    }

    /// The body has ended cleanly.
    #[must_use]
    pub fn end(self) -> Outcome {
        if self.overflowed() {
            return Outcome::Overflow;
        }
        if self
            .announced
            .is_some_and(|announced| announced != self.seen)
        {
            return Outcome::Aborted;
        }
        let mut recorded = self.head.with_body(self.body.end());
        if self.trailers.is_some() || recorded.trailers().is_some() {
            recorded = recorded.with_trailers(self.trailers);
        }
        Outcome::Complete(recorded)
    }

    /// The body was dropped. A server stops reading when it has sent as many bytes as were announced, or trailers, after which nothing comes: that is an
    /// end, and not an abort.
    #[must_use]
    pub fn dropped(self) -> Outcome {
        if self.is_whole() || self.overflowed() || self.trailers.is_some() {
            return self.end();
        }
        Outcome::Aborted
    }

    /// Whether everything that was announced has been seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.announced == Some(self.seen)
    }

    /// Whether the body is larger than the limit.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.seen > self.limit as u64
    }
}

/// What is kept of a body: in memory of its own in the end, since a frame may be a part of all that was read from a connection.
#[derive(Debug)]
enum Kept {
    /// The only frame so far, or none: copied once it is known that there is no more.
    One(Bytes),
    Joined(BytesMut),
}

impl Default for Kept {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Kept {
    /// Adds a frame, with room for a body of so many bytes.
    fn add(&mut self, data: &Bytes, room: usize) {
        match self {
            Self::One(first) if first.is_empty() => *first = data.clone(),
            Self::One(first) => {
                let mut joined = BytesMut::with_capacity(room.max(first.len() + data.len()));
                joined.extend_from_slice(first);
                joined.extend_from_slice(data);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => joined.extend_from_slice(data),
        }
    }

    /// A body whose length was not known has taken room for up to twice as much: what is kept takes no more than a quarter beside what it weighs.
    fn end(self) -> Bytes {
        match self {
            Self::One(only) => Bytes::copy_from_slice(&only),
            Self::Joined(joined) if joined.capacity() > joined.len() + joined.len() / 4 => {
                Bytes::copy_from_slice(&joined)
            }
            Self::Joined(joined) => joined.freeze(),
        }
    }
}

pin_project! {
    /// A body that passes through unchanged while it is recorded.
    ///
    /// The callback gets the [`Outcome`], exactly once: at the end of the body, as soon as the limit is passed, at an error, or at
    /// the drop. Frames, errors, trailers and hints are those of the inner body.
    ///
    /// # Cancellation
    ///
    /// Dropping it before its end is [`Outcome::Aborted`], unless everything that was announced has been read.
    pub struct Recorder<B, F>
    where
        F: FnOnce(Outcome),
    {
        #[pin]
        inner: B,
        active: Option<(Recording, F)>,
    }

    impl<B, F> PinnedDrop for Recorder<B, F>
    where
        F: FnOnce(Outcome),
    {
        fn drop(this: Pin<&mut Self>) {
            finish(this.project().active, Recording::dropped);
        }
    }
}

impl<B, F> Recorder<B, F>
where
    B: Body,
    F: FnOnce(Outcome),
{
    /// Records `inner` into `recording` and tells `on_end` how it ended. A body that is at its end already ends here.
    pub fn new(inner: B, recording: Recording, on_end: F) -> Self {
        let mut active = Some((recording, on_end));
        if inner.is_end_stream() {
            finish(&mut active, Recording::end);
        }
        Self { inner, active }
    }
}

impl<B, F> Body for Recorder<B, F>
where
    B: Body,
    F: FnOnce(Outcome),
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let frame = frame.map(|frame| frame.map(into_bytes));
        match &frame {
            Some(Ok(frame)) => {
                let within = this
                    .active
                    .as_mut()
                    .is_none_or(|(record, _)| record.frame(frame));
                // A reader may stop at a frame after which the body says that it is done.
                if !within || this.inner.is_end_stream() {
                    finish(this.active, Recording::end);
                }
            }
            Some(Err(_)) => finish(this.active, |_| Outcome::Aborted),
            None => finish(this.active, Recording::end),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: std::fmt::Debug, F: FnOnce(Outcome)> std::fmt::Debug for Recorder<B, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("inner", &self.inner)
            .field(
                "recording",
                &self.active.as_ref().map(|(recording, _)| recording),
            )
            .finish()
    }
}

/// The frame with its data as [`Bytes`]: free when they are, a copy when they are not contiguous.
#[must_use]
pub fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

fn finish<F: FnOnce(Outcome)>(
    active: &mut Option<(Recording, F)>,
    end: impl FnOnce(Recording) -> Outcome,
) {
    if let Some((recording, on_end)) = active.take() {
        on_end(end(recording));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use http::HeaderValue;
    use testkit::body::{Hand, HandBody, by_hand};
    use tokio_test::task;

    use super::*;

    const LIMIT: usize = 4;

    struct Test<B: Body> {
        hand: Hand,
        body: task::Spawn<Pin<Box<B>>>,
        outcomes: Rc<RefCell<Vec<Outcome>>>,
    }

    fn recording(announced: Option<u64>) -> Test<Recorder<HandBody, impl FnOnce(Outcome)>> {
        let (body, hand) = by_hand();
        let outcomes = Rc::new(RefCell::default());
        let heard = Rc::clone(&outcomes);
        let recording =
            Recording::new(StatusCode::OK, HeaderMap::new(), LIMIT).announced(announced);
        let recorder = Recorder::new(body, recording, move |outcome| {
            Vec::push(&mut heard.borrow_mut(), outcome);
        });
        Test {
            hand,
            body: task::spawn(Box::pin(recorder)),
            outcomes,
        }
    }

    impl<B: Body<Data = Bytes>> Test<B> {
        fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
            self.body.enter(|cx, mut body| body.as_mut().poll_frame(cx))
        }

        #[track_caller]
        fn read(&mut self, frames: usize) {
            (0..frames).for_each(|_| assert!(matches!(self.poll(), Poll::Ready(Some(Ok(_))))));
        }

        #[track_caller]
        fn ended(&self, expected: Outcome) {
            assert_eq!(*self.outcomes.borrow(), [expected]);
        }
    }

    #[test]
    fn a_head_that_is_there_is_shared_and_nothing_else_of_it_is_recorded() {
        let fields = HeaderMap::from_iter([("a", "b")].map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        }));
        let of = |body: &'static str, trailers| {
            let body = Bytes::from_static(body.as_bytes());
            Recorded::new(StatusCode::CREATED, fields.clone(), body, trailers)
        };
        let record = |head: &Recorded, frames: &[&'static str]| {
            let mut recording = Recording::of(head.clone(), LIMIT);
            for frame in frames {
                let frame = Bytes::from_static(frame.as_bytes());
                assert!(recording.frame(&Frame::data(frame)));
            }
            match recording.end() {
                Outcome::Complete(recorded) => recorded,
                other => panic!("{other:?}"),
            }
        };
        let head = of("old", None);
        for (frames, body) in [(&[][..], ""), (&["new"], "new"), (&["", "n", "ew"], "new")] {
            let recorded = record(&head, frames);
            assert_eq!(recorded, of(body, None));
            assert!(std::ptr::eq(recorded.headers(), head.headers()));
        }
        let trailers = of("old", Some(fields.clone()));
        assert_eq!(record(&trailers, &["new"]), of("new", None));
    }

    /// A frame may be a part of all that was read from a connection.
    #[test]
    fn what_is_recorded_has_memory_of_its_own() {
        let read = Bytes::from(b"all that was read".to_vec());
        for frames in [&[(0, 3)][..], &[(0, 1), (1, 4)]] {
            let mut recording = Recording::new(StatusCode::OK, HeaderMap::new(), LIMIT);
            for (from, to) in frames {
                assert!(recording.frame(&Frame::data(read.slice(from..to))));
            }
            let Outcome::Complete(recorded) = recording.end() else {
                panic!("it is whole")
            };
            assert!(!read.as_ptr_range().contains(&recorded.body().as_ptr()));
        }
        assert!(read.is_unique(), "nothing else keeps it");
    }

    fn whole(body: &'static str, trailers: Option<HeaderMap>) -> Outcome {
        let body = Bytes::from_static(body.as_bytes());
        Outcome::Complete(Recorded::new(
            StatusCode::OK,
            HeaderMap::new(),
            body,
            trailers,
        ))
    }

    #[test]
    fn a_body_up_to_the_limit_is_kept_whole_with_its_trailers() {
        let mut test = recording(None);
        let trailers = HeaderMap::from_iter([(http::header::AGE, HeaderValue::from_static("1"))]);
        test.hand
            .data("ab")
            .data("cd")
            .trailers(trailers.clone())
            .end();
        test.read(3);
        assert!(test.outcomes.borrow().is_empty(), "not before the end");
        assert!(matches!(test.poll(), Poll::Ready(None)));
        test.ended(whole("abcd", Some(trailers)));
    }

    #[test]
    fn who_has_read_the_trailers_may_stop() {
        let mut test = recording(None);
        let trailers = HeaderMap::from_iter([(http::header::AGE, HeaderValue::from_static("1"))]);
        test.hand.data("ab").trailers(trailers.clone());
        test.read(1);
        test.read(1);
        let outcomes = Rc::clone(&test.outcomes);
        drop(test.body);
        assert_eq!(*outcomes.borrow(), [whole("ab", Some(trailers))]);
    }

    #[test]
    fn one_byte_over_the_limit_streams_on_and_keeps_nothing() {
        let mut test = recording(None);
        test.hand.data("abcd").data("e");
        test.read(2);
        test.ended(Outcome::Overflow);
        test.hand.data("f").end();
        test.read(1);
        assert!(matches!(test.poll(), Poll::Ready(None)));
        drop(test.body);
        assert_eq!(test.outcomes.borrow().len(), 1, "told once");
    }

    #[test]
    fn a_broken_body_is_no_record() {
        let mut test = recording(None);
        test.hand.data("ab").fail();
        test.read(1);
        assert!(matches!(test.poll(), Poll::Ready(Some(Err(_)))));
        test.ended(Outcome::Aborted);
    }

    #[test]
    fn a_body_dropped_in_the_middle_is_no_record() {
        let mut test = recording(Some(4));
        test.hand.data("ab");
        test.read(1);
        drop(std::mem::replace(&mut test.body, recording(None).body));
        test.ended(Outcome::Aborted);
    }

    #[test]
    fn a_body_dropped_after_all_that_was_announced_is_whole() {
        let mut test = recording(Some(4));
        test.hand.data("abcd");
        test.read(1);
        drop(std::mem::replace(&mut test.body, recording(None).body));
        test.ended(whole("abcd", None));
    }

    #[test]
    fn a_body_shorter_than_announced_is_no_record() {
        let mut test = recording(Some(4));
        test.hand.data("abc").end();
        test.read(1);
        assert!(matches!(test.poll(), Poll::Ready(None)));
        test.ended(Outcome::Aborted);
    }

    #[test]
    fn a_body_that_is_done_with_its_last_frame_is_recorded_with_it() {
        use http_body_util::Full;
        let outcomes = Rc::new(RefCell::default());
        let heard = Rc::clone(&outcomes);
        let recording = Recording::new(StatusCode::OK, HeaderMap::new(), LIMIT);
        let full = Full::new(Bytes::from("abcd"));
        let mut body = task::spawn(Box::pin(Recorder::new(full, recording, move |outcome| {
            Vec::push(&mut heard.borrow_mut(), outcome);
        })));
        assert!(
            body.enter(|cx, mut body| body.as_mut().poll_frame(cx))
                .is_ready()
        );
        assert_eq!(*outcomes.borrow(), [whole("abcd", None)]);
    }

    #[test]
    fn an_empty_body_is_recorded_without_being_polled() {
        let outcomes = Rc::new(RefCell::default());
        let heard = Rc::clone(&outcomes);
        let recording = Recording::new(StatusCode::OK, HeaderMap::new(), LIMIT);
        let empty = http_body_util::Empty::<Bytes>::new();
        let _body = Recorder::new(empty, recording, move |outcome| {
            Vec::push(&mut heard.borrow_mut(), outcome);
        });
        assert_eq!(*outcomes.borrow(), [whole("", None)]);
    }
}
