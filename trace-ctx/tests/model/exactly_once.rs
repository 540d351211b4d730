//! Whatever happens to a request, and wherever it is dropped, there is one record, with the right outcome.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use buttress_trace_ctx::{Finished, Outcome, Sink, Started, TraceLayer, current};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use tower::{Layer, Service, service_fn};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Pending,
    Data(u8),
    Trailers,
    Fail,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Ready,
    Fail,
    Panic,
}

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Future,
    Body,
}

#[derive(Clone, Debug)]
struct Story {
    is_head_request: bool,
    panics_in_call: bool,
    panics_in_drop: Option<Part>,
    pending: usize,
    head: Head,
    body: Vec<Step>,
    /// The body says `is_end_stream` when its steps are used up.
    knows_its_end: bool,
    /// The body declares its length.
    declares_length: bool,
    /// How many polls, of the future and then of the body, until it is dropped.
    polls: usize,
}

fn story() -> impl Strategy<Value = Story> {
    let step = prop_oneof![
        2 => Just(Step::Pending),
        4 => (0u8..4).prop_map(Step::Data),
        1 => Just(Step::Trailers),
        1 => Just(Step::Fail),
        1 => Just(Step::Panic),
    ];
    let head = prop_oneof![6 => Just(Head::Ready), 1 => Just(Head::Fail), 1 => Just(Head::Panic)];
    let body = prop::collection::vec(step, 0..6);
    let flags = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.05),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![8 => Just(None), 1 => Just(Some(Part::Future)), 1 => Just(Some(Part::Body))],
    );
    (flags, 0usize..3, head, body, 0usize..14).prop_map(|(flags, pending, head, body, polls)| {
        Story {
            is_head_request: flags.0,
            panics_in_call: flags.1,
            pending,
            head,
            body,
            knows_its_end: flags.2,
            declares_length: flags.3,
            panics_in_drop: flags.4,
            polls,
        }
    })
}

impl Story {
    fn length(&self) -> u64 {
        let data = |step: &Step| {
            if let Step::Data(n) = step {
                u64::from(*n)
            } else {
                0
            }
        };
        self.body.iter().map(data).sum()
    }

    /// The outcome and the bytes, told as a story.
    fn expected(&self) -> (Outcome, u64) {
        if self.panics_in_call {
            return (Outcome::Panic, 0);
        }
        if self.panics_in_drop == Some(Part::Future) {
            return (Outcome::Panic, 0);
        }
        if self.polls <= self.pending {
            return (Outcome::FutureDropped, 0);
        }
        match self.head {
            Head::Fail => return (Outcome::Error, 0),
            Head::Panic => return (Outcome::Panic, 0),
            Head::Ready => {}
        }
        self.body_outcome(self.polls - self.pending - 1)
    }

    fn body_outcome(&self, polls: usize) -> (Outcome, u64) {
        if self.knows_its_end && self.body.is_empty() {
            return (Outcome::Complete, 0);
        }
        let (mut bytes, mut saw_trailers) = (0, false);
        for poll in 0..polls {
            match self.body.get(poll) {
                None => return (Outcome::Complete, bytes),
                Some(Step::Fail) => return (Outcome::BodyError, bytes),
                Some(Step::Panic) => return (Outcome::Panic, bytes),
                Some(Step::Data(n)) => bytes += u64::from(*n),
                Some(Step::Trailers) => saw_trailers = true,
                Some(Step::Pending) => {}
            }
            let passed_a_frame = !matches!(self.body[poll], Step::Pending);
            if self.knows_its_end && poll + 1 == self.body.len() && passed_a_frame {
                return (Outcome::Complete, bytes);
            }
        }
        if self.panics_in_drop == Some(Part::Body) {
            return (Outcome::Panic, bytes);
        }
        let whole = self.declares_length && bytes >= self.length();
        let dropped = self.is_head_request || whole || saw_trailers;
        (
            if dropped {
                Outcome::Complete
            } else {
                Outcome::BodyDropped
            },
            bytes,
        )
    }
}

pub(crate) struct Scripted {
    steps: VecDeque<Step>,
    knows_its_end: bool,
    length: Option<u64>,
}

impl Scripted {
    pub(crate) fn new(steps: Vec<Step>, knows_its_end: bool, length: Option<u64>) -> Self {
        Self {
            steps: steps.into(),
            knows_its_end,
            length,
        }
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Data(n)) => Poll::Ready(Some(Ok(Frame::data(vec![b'x'; n.into()].into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Step::Fail) => Poll::Ready(Some(Err("body"))),
            Some(Step::Panic) => {
                // Without the hook, which would print thousands of them.
                std::panic::resume_unwind(Box::new("body"))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Panics when it is dropped, unless there is a panic already.
struct Bomb<T> {
    inner: T,
    is_live: bool,
}

impl<T> Drop for Bomb<T> {
    fn drop(&mut self) {
        if self.is_live && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("drop"));
        }
    }
}

impl<F: Future + Unpin> Future for Bomb<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl<B: Body + Unpin> Body for Bomb<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

async fn handle(story: Story) -> Result<Response<Bomb<Scripted>>, &'static str> {
    for _ in 0..story.pending {
        tokio::task::yield_now().await;
    }
    assert!(current().is_some());
    match story.head {
        Head::Fail => Err("head"),
        Head::Panic => std::panic::resume_unwind(Box::new("head")),
        Head::Ready => {
            let length = story.declares_length.then(|| story.length());
            let inner = Scripted::new(story.body, story.knows_its_end, length);
            let is_live = story.panics_in_drop == Some(Part::Body);
            Ok(Response::new(Bomb { inner, is_live }))
        }
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<(i32, Vec<(Outcome, u64)>)>>);

impl Sink for Told {
    type Span = ();

    fn begin(&self, _: &Started<'_>) -> Option<()> {
        self.0.lock().unwrap().0 += 1;
        Some(())
    }

    fn end(&self, (): (), finished: &Finished<'_>) {
        assert!(
            finished
                .time_to_head
                .is_none_or(|head| head <= finished.total)
        );
        let mut told = self.0.lock().unwrap();
        told.0 -= 1;
        told.1.push((finished.outcome, finished.bytes));
    }
}

/// Polls as often as the story says, stops at an end or an error, and drops what is left.
fn live(story: &Story, told: Told) {
    let script = story.clone();
    let mut service = TraceLayer::server()
        .sink(told)
        .layer(service_fn(move |_: Request<()>| {
            if script.panics_in_call {
                std::panic::resume_unwind(Box::new("call"));
            }
            Bomb {
                inner: Box::pin(handle(script.clone())),
                is_live: script.panics_in_drop == Some(Part::Future),
            }
        }));
    let mut cx = Context::from_waker(Waker::noop());
    let method = if story.is_head_request {
        Method::HEAD
    } else {
        Method::GET
    };
    let mut call = Box::pin(service.call(Request::builder().method(method).body(()).unwrap()));
    let mut polls = 0..story.polls;
    let response = loop {
        if polls.next().is_none() {
            return;
        }
        match call.as_mut().poll(&mut cx) {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => return,
            Poll::Ready(Ok(response)) => break response,
        }
    };
    let mut body = Box::pin(response.into_body());
    for _ in polls {
        if let Poll::Ready(None | Some(Err(_))) = body.as_mut().poll_frame(&mut cx) {
            return;
        }
    }
}

fn check(story: &Story) -> Result<(), TestCaseError> {
    let told = Told::default();
    let _ = catch_unwind(AssertUnwindSafe(|| live(story, told.clone())));
    let (active, records) = told.0.lock().unwrap().clone();
    prop_assert_eq!(active, 0, "begun and never ended");
    prop_assert_eq!(records, [story.expected()]);
    prop_assert!(current().is_none(), "the context stayed behind");
    Ok(())
}

/// Every body of up to this many steps.
fn bodies(longest: usize) -> Vec<Vec<Step>> {
    use Step::{Data, Fail, Panic, Pending, Trailers};
    let mut all = vec![Vec::new()];
    for from in 0.. {
        let Some(body) = all.get(from).cloned() else {
            break;
        };
        if body.len() < longest {
            let longer = [Pending, Data(0), Data(2), Trailers, Fail, Panic];
            all.extend(longer.map(|step| [&body[..], &[step]].concat()));
        }
    }
    all
}

/// All there is, and not a sample of it: each way the call, the future and a body of up to three steps can go, dropped after each poll.
#[test]
fn every_short_story_has_one_record_with_the_right_outcome() {
    let flag = [false, true];
    let mut stories = 0;
    for body in bodies(3) {
        for head in [Head::Ready, Head::Fail, Head::Panic] {
            for (pending, polls) in (0..2).flat_map(|p| (0..7).map(move |polls| (p, polls))) {
                let drops = [None, Some(Part::Future), Some(Part::Body)];
                for (bits, panics_in_drop) in
                    (0..16).flat_map(|bits| drops.map(|drop| (bits, drop)))
                {
                    let bit = |place: usize| flag[bits >> place & 1];
                    let story = Story {
                        is_head_request: bit(0),
                        panics_in_call: bit(1),
                        panics_in_drop,
                        pending,
                        head,
                        body: body.clone(),
                        knows_its_end: bit(2),
                        declares_length: bit(3),
                        polls,
                    };
                    // Once is enough of stories that never come so far.
                    let has_no_body = story.panics_in_call || head != Head::Ready;
                    if has_no_body && !body.is_empty() {
                        continue;
                    }
                    check(&story).unwrap_or_else(|error| panic!("{story:?}: {error}"));
                    stories += 1;
                }
            }
        }
    }
    assert_eq!(stories, 88_704, "none was left out");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn one_record_with_the_right_outcome(story in story()) {
        check(&story)?;
    }
}
