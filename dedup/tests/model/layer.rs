//! The HTTP layer: callers that come, leave, panic and read slowly, in front of a backend that answers, fails and streams.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Request, Response};
use buttress_dedup::http::{DedupBody, DedupLayer, Flight};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Empty;
use proptest::prelude::*;
use proptest::sample::Index;
use testkit::body::{Hand, HandBody, by_hand};
use testkit::probe::ProbeError;
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service};

const WINDOW: usize = 8;
const STALL: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Op {
    Send,
    Poll(Index),
    Drop(Index),
    Answer(Index, Answer),
    Feed(Index, Feed),
    Read(Index),
    Close(Index),
    Advance(u8),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Fail,
    Panic,
    Private,
    Shared,
}

#[derive(Clone, Copy, Debug)]
enum Feed {
    Break,
    Data(u8),
    End,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<Index>;
    let answer = prop_oneof![
        1 => Just(Answer::Fail),
        1 => Just(Answer::Panic),
        1 => Just(Answer::Private),
        6 => Just(Answer::Shared),
    ];
    let feed = prop_oneof![
        1 => Just(Feed::Break),
        8 => (1_u8..6).prop_map(Feed::Data),
        2 => Just(Feed::End),
    ];
    prop_oneof![
        6 => Just(Op::Send),
        6 => index().prop_map(Op::Poll),
        2 => index().prop_map(Op::Drop),
        3 => (index(), answer).prop_map(|(which, answer)| Op::Answer(which, answer)),
        4 => (index(), feed).prop_map(|(which, feed)| Op::Feed(which, feed)),
        8 => index().prop_map(Op::Read),
        1 => index().prop_map(Op::Close),
        1 => (0_u8..4).prop_map(Op::Advance),
    ]
}

type Head = Result<Response<HandBody>, ProbeError>;

/// Calls under way, by their number.
#[derive(Clone, Default)]
struct Backend(Arc<Mutex<Vec<Option<oneshot::Sender<Option<Head>>>>>>);

impl Service<Request<Empty<Bytes>>> for Backend {
    type Response = Response<HandBody>;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Head> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let (send, receive) = oneshot::channel();
        self.0.lock().unwrap().push(Some(send));
        Box::pin(async move { receive.await.unwrap().expect("a panic on purpose") })
    }
}

impl Backend {
    fn started(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// What the reference says of a caller.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// It leads or goes alone, by this call of the backend, which was answered so.
    Called(usize, Option<Answered>),
    /// It follows.
    Follows,
    /// It leads, and does not know yet.
    Promoted,
    /// It goes alone, and does not know yet.
    Released,
    /// This stream is for it.
    Value(usize),
}

#[derive(Clone, Copy, Debug)]
enum Answered {
    Fail,
    Panic,
    Private(usize),
    Shared(usize),
}

type Call = Spawn<
    <<DedupLayer<HandBody> as Layer<Backend>>::Service as Service<Request<Empty<Bytes>>>>::Future,
>;

struct Caller {
    call: Call,
    due: Due,
    /// `None` when it goes alone.
    flight: Option<usize>,
}

/// A body, what was sent in it, and how it ended.
struct Stream {
    hand: Hand,
    frames: Vec<Bytes>,
    over: Option<Feed>,
}

struct Reader {
    body: Spawn<DedupBody<HandBody>>,
    stream: usize,
    read: usize,
    ended: bool,
    /// It was told that there is nothing for it.
    asleep: bool,
}

struct World {
    layer: DedupLayer<HandBody>,
    backend: Backend,
    /// In the order in which they came.
    callers: Vec<Caller>,
    streams: Vec<Stream>,
    readers: Vec<Reader>,
    /// The flight that newcomers follow.
    flying: Option<usize>,
    /// The stream that newcomers may join, while its start is there.
    landed: Option<usize>,
    /// An answer was private: from then on everybody goes alone.
    private: bool,
    /// Time has passed, so that a laggard may have been cut off.
    late: bool,
    flights: usize,
    aborts: usize,
    alone: usize,
}

impl World {
    fn new() -> Self {
        let layer = DedupLayer::http().window(WINDOW).stall(STALL);
        Self {
            layer: layer
                .landed_for(Duration::MAX)
                .private_memory(Duration::from_secs(3600)),
            backend: Backend::default(),
            callers: vec![],
            streams: vec![],
            readers: vec![],
            flying: None,
            landed: None,
            private: false,
            late: false,
            flights: 0,
            aborts: 0,
            alone: 0,
        }
    }

    fn send(&mut self) {
        let before = self.backend.started();
        let request = Request::get("/").body(Empty::new()).unwrap();
        let mut call = task::spawn(self.layer.layer(self.backend.clone()).call(request));
        let poll = call.poll();
        let started = self.backend.started() > before;
        if let Poll::Ready(response) = poll {
            let stream = self.landed.expect("there was nothing to join");
            assert!(!self.private && !started && self.flying.is_none());
            return self.got(response.unwrap(), stream, Flight::Joined);
        }
        assert_eq!(started, self.flying.is_none(), "one per flight begins");
        let due = if started {
            Due::Called(before, None)
        } else {
            Due::Follows
        };
        let flight = if started { self.begins() } else { self.flying };
        self.callers.push(Caller { call, due, flight });
    }

    /// A caller finds nobody to follow.
    fn begins(&mut self) -> Option<usize> {
        if self.private {
            self.alone += 1;
            return None;
        }
        self.flights += 1;
        self.landed = None;
        self.flying = Some(self.flights);
        self.flying
    }

    fn poll(&mut self, index: usize) {
        let before = self.backend.started();
        let caller = &mut self.callers[index];
        let poll = catch_unwind(AssertUnwindSafe(|| caller.call.poll()));
        let started = self.backend.started() > before;
        let begins = matches!(caller.due, Due::Promoted | Due::Released);
        assert_eq!(started, begins, "{:?}", caller.due);
        match (poll, caller.due) {
            (Ok(Poll::Pending), Due::Called(_, None) | Due::Follows) => {}
            (Ok(Poll::Pending), Due::Promoted) => caller.due = Due::Called(before, None),
            (Ok(Poll::Pending), Due::Released) => {
                caller.due = Due::Called(before, None);
                caller.flight = None;
                self.alone += 1;
            }
            (Ok(Poll::Ready(Ok(response))), Due::Value(stream)) => {
                self.callers.remove(index);
                self.got(response, stream, Flight::Joined);
            }
            (poll, Due::Called(_, Some(answered))) => {
                let caller = self.callers.remove(index);
                self.answered(poll, answered, caller.flight);
            }
            (poll, due) => panic!("{due:?}, but {poll:?}"),
        }
    }

    /// A call came to its end, and its caller knows: now the others do as well.
    fn answered(
        &mut self,
        poll: std::thread::Result<Poll<Result<Response<DedupBody<HandBody>>, ProbeError>>>,
        answered: Answered,
        flight: Option<usize>,
    ) {
        match (answered, poll) {
            (Answered::Shared(stream), Ok(Poll::Ready(Ok(response)))) => {
                let led = if flight.is_some() {
                    Flight::Led
                } else {
                    Flight::Alone
                };
                self.got(response, stream, led);
                self.tell(flight, Due::Value(stream));
                self.landed = flight.map(|_| stream).or(self.landed);
            }
            (Answered::Private(stream), Ok(Poll::Ready(Ok(response)))) => {
                self.got(response, stream, Flight::Alone);
                self.tell(flight, Due::Released);
                self.private |= flight.is_some();
            }
            (Answered::Fail, Ok(Poll::Ready(Err(ProbeError)))) => self.tell(flight, Due::Released),
            (Answered::Panic, Err(_)) => {
                self.aborts += 1;
                self.promote(flight);
            }
            (answered, poll) => panic!("{answered:?}, but {poll:?}"),
        }
    }

    /// A flight is over, and its followers are woken.
    fn tell(&mut self, flight: Option<usize>, due: Due) {
        if flight.is_none() {
            return;
        }
        self.flying = self.flying.filter(|flying| Some(*flying) != flight);
        for caller in self
            .callers
            .iter_mut()
            .filter(|caller| caller.flight == flight)
        {
            assert!(caller.call.is_woken(), "nobody woke a follower");
            caller.due = due;
        }
    }

    /// The leader of a flight is gone: the one who came first leads.
    fn promote(&mut self, flight: Option<usize>) {
        if flight.is_none() {
            return;
        }
        let next = self
            .callers
            .iter_mut()
            .find(|caller| caller.flight == flight);
        match next {
            Some(next) => {
                assert!(next.call.is_woken(), "nobody woke the next leader");
                next.due = Due::Promoted;
            }
            None => self.flying = None,
        }
    }

    fn leave(&mut self, index: usize) {
        let Caller { call, due, flight } = self.callers.remove(index);
        drop(call);
        if matches!(due, Due::Called(..) | Due::Promoted) {
            self.aborts += 1;
            self.promote(flight);
        }
    }

    fn answer(&mut self, which: Index, answer: Answer) {
        let waiting = self
            .callers
            .iter_mut()
            .filter_map(|caller| match &mut caller.due {
                Due::Called(call, answered @ None) => Some((*call, answered)),
                _ => None,
            });
        let mut waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return;
        }
        let (call, answered) = waiting.swap_remove(which.index(waiting.len()));
        let stream = self.streams.len();
        let (body, hand) = by_hand();
        let mut response = Response::new(body);
        let (head, how) = match answer {
            Answer::Fail => (Some(Err(ProbeError)), Answered::Fail),
            Answer::Panic => (None, Answered::Panic),
            Answer::Shared => (Some(Ok(response)), Answered::Shared(stream)),
            Answer::Private => {
                let cookie = "s=1".parse().unwrap();
                response.headers_mut().insert("set-cookie", cookie);
                (Some(Ok(response)), Answered::Private(stream))
            }
        };
        *answered = Some(how);
        self.streams.push(Stream {
            hand,
            frames: vec![],
            over: None,
        });
        let call = self.backend.0.lock().unwrap()[call].take().unwrap();
        call.send(head).expect("its caller is there");
    }

    fn feed(&mut self, which: Index, feed: Feed) {
        if self.streams.is_empty() {
            return;
        }
        let number = which.index(self.streams.len());
        let stream = &mut self.streams[number];
        if stream.over.is_some() {
            return;
        }
        match feed {
            Feed::Data(size) => {
                let frame = Bytes::from(vec![stream.frames.len() as u8; size.into()]);
                stream.frames.push(frame.clone());
                stream.hand.data(frame);
            }
            Feed::Break => drop(stream.hand.fail()),
            Feed::End => drop(stream.hand.end()),
        }
        stream.over = Some(feed).filter(|feed| !matches!(feed, Feed::Data(_)));
    }

    fn got(&mut self, response: Response<DedupBody<HandBody>>, stream: usize, flight: Flight) {
        assert_eq!(response.extensions().get(), Some(&flight));
        self.readers.push(Reader {
            body: task::spawn(response.into_body()),
            stream,
            read: 0,
            ended: false,
            asleep: false,
        });
    }

    fn read(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        if reader.ended {
            return;
        }
        let stream = &self.streams[reader.stream];
        let rest = &stream.frames[reader.read..];
        reader.asleep = false;
        match reader.body.enter(|cx, body| body.poll_frame(cx)) {
            Poll::Ready(Some(Ok(frame))) => {
                assert_eq!(Some(&frame.into_data().unwrap()), rest.first());
                reader.read += 1;
            }
            Poll::Ready(None) => {
                let whole = rest.is_empty() && matches!(stream.over, Some(Feed::End));
                assert!(whole, "cut short");
                reader.ended = true;
            }
            Poll::Ready(Some(Err(_))) => {
                let broken = rest.is_empty() && matches!(stream.over, Some(Feed::Break));
                assert!(broken || self.late, "an error without a reason");
                reader.ended = true;
            }
            Poll::Pending => {
                reader.asleep = true;
                assert!(!self.has_something_for(index), "it is kept from it");
            }
        }
    }

    /// Whether a reader that is polled gets something: a frame or the end, unless the window is full of what others have not read.
    fn has_something_for(&self, index: usize) -> bool {
        let Reader { stream, read, .. } = self.readers[index];
        let Stream { frames, over, .. } = &self.streams[stream];
        let waits = |caller: &&Caller| matches!(caller.due, Due::Value(of) if of == stream);
        let yet_to_begin = self.callers.iter().find(waits).map(|_| 0);
        let others = self.readers.iter().filter(|other| !other.ended);
        let others = others.filter(|other| other.stream == stream);
        let slowest = others.map(|other| other.read).chain(yet_to_begin).min();
        let kept = &frames[slowest.unwrap_or(read).min(read)..read];
        let has_room = kept.iter().map(|frame| frame.len().max(1)).sum::<usize>() < WINDOW;
        has_room && (read < frames.len() || over.is_some())
    }

    /// Nobody sleeps although there is something for him.
    fn all_are_woken(&mut self) {
        for index in 0..self.readers.len() {
            if self.readers[index].asleep && self.has_something_for(index) {
                assert!(self.readers[index].body.is_woken(), "nobody woke it");
            }
        }
    }

    fn step(&mut self, op: Op) {
        let (callers, readers) = (self.callers.len(), self.readers.len());
        match op {
            Op::Send => self.send(),
            Op::Poll(which) if callers > 0 => self.poll(which.index(callers)),
            Op::Drop(which) if callers > 0 => self.leave(which.index(callers)),
            Op::Answer(which, answer) => self.answer(which, answer),
            Op::Feed(which, feed) => self.feed(which, feed),
            Op::Read(which) if readers > 0 => self.read(which.index(readers)),
            Op::Close(which) if readers > 0 => drop(self.readers.remove(which.index(readers))),
            Op::Poll(_) | Op::Drop(_) | Op::Read(_) | Op::Close(_) | Op::Advance(_) => {}
        }
    }

    fn end(mut self) {
        while !self.callers.is_empty() {
            self.leave(0);
        }
        self.readers.clear();
        assert!(self.layer.snapshot().is_idle());
        let started = self.backend.started();
        let bound = self.flights + self.aborts + self.alone;
        assert!(started <= bound, "{started} calls, and not {bound}");
        let given = self
            .streams
            .iter()
            .filter(|stream| !stream.frames.is_empty());
        assert!(given.into_iter().all(|stream| stream.hand.is_dropped()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn every_caller_gets_what_the_reference_says_and_nothing_is_left(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        testkit::laws::run(async {
            let mut world = World::new();
            for op in ops {
                if let Op::Advance(seconds) = op {
                    tokio::time::advance(Duration::from_secs(seconds.into())).await;
                    world.late = true;
                }
                world.step(op);
                world.all_are_woken();
            }
            world.end();
        });
    }
}
