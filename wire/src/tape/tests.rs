use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use testkit::body::{Hand, HandBody, by_hand};
use tokio_test::task::{self, Spawn};

use super::*;

type Reader = Spawn<TapeReader<HandBody>>;
type Polled = Poll<Option<Result<Frame<Bytes>, TapeError>>>;

fn tape(window: usize, laggards: Laggards) -> (Hand, Tape<HandBody>, Reader) {
    let (body, hand) = by_hand();
    let (tape, reader) = Tape::new(body, window, laggards);
    (hand, tape, task::spawn(reader))
}

fn poll(reader: &mut Reader) -> Polled {
    reader.enter(|cx, reader| reader.poll_frame(cx))
}

#[track_caller]
fn reads(reader: &mut Reader, expected: &'static str) {
    match poll(reader) {
        Poll::Ready(Some(Ok(frame))) => assert_eq!(frame.into_data().expect("data"), expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

#[track_caller]
fn ends(reader: &mut Reader) {
    assert!(matches!(poll(reader), Poll::Ready(None)));
}

#[track_caller]
fn is_cut_off(reader: &mut Reader) {
    assert!(matches!(poll(reader), Poll::Ready(Some(Err(error))) if error.is_lagged()));
    ends(reader);
}

fn tokio_timer() -> Timer {
    Timer {
        now: || tokio::time::Instant::now().into_std(),
        sleep: |duration| Box::pin(tokio::time::sleep(duration)),
    }
}

#[test]
fn a_follower_reads_a_frame_when_the_first_reader_does() {
    let (hand, tape, mut first) = tape(100, Laggards::CutOff);
    let mut second = task::spawn(tape.join().unwrap());
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    hand.data("a");
    assert!(first.is_woken() && second.is_woken());
    reads(&mut second, "a");
    reads(&mut first, "a");
    hand.data("b").end();
    reads(&mut first, "b");
    ends(&mut first);
    reads(&mut second, "b");
    ends(&mut second);
}

#[test]
fn a_pending_reader_is_not_woken_by_itself() {
    let (hand, tape, mut first) = tape(100, Laggards::CutOff);
    let mut second = task::spawn(tape.join().unwrap());
    hand.data("a");
    reads(&mut first, "a");
    assert!(poll(&mut first).is_pending());
    assert!(!first.is_woken());
    reads(&mut second, "a");
    assert!(poll(&mut second).is_pending());
    assert!(!first.is_woken() && !second.is_woken());
}

/// A task's waker that owns what the task reads.
struct Owns(#[expect(dead_code, reason = "it is dropped")] TapeReader<HandBody>);

impl std::task::Wake for Owns {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_that_owns_a_reader_may_be_the_last_to_hold_it() {
    let (hand, tape, mut reader) = tape(100, Laggards::CutOff);
    let owns = Waker::from(Arc::new(Owns(tape.join().unwrap())));
    let mut other = tape.join().unwrap();
    let mut cx = Context::from_waker(&owns);
    assert!(Pin::new(&mut other).poll_frame(&mut cx).is_pending());
    drop(owns);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut other).poll_frame(&mut cx).is_pending());
    hand.data("a");
    reads(&mut reader, "a");
}

#[test]
fn when_the_reader_that_polled_the_body_is_dropped_another_goes_on() {
    let (hand, tape, mut first) = tape(100, Laggards::CutOff);
    let mut second = task::spawn(tape.join().unwrap());
    assert!(poll(&mut second).is_pending());
    assert!(poll(&mut first).is_pending());
    drop(first);
    hand.data("a").end();
    assert!(second.is_woken(), "the body wakes whoever is left");
    reads(&mut second, "a");
    ends(&mut second);
}

#[test]
fn a_reader_whose_task_is_busy_does_not_keep_the_others_waiting() {
    let (hand, tape, mut busy) = tape(100, Laggards::CutOff);
    let mut eager = task::spawn(tape.join().unwrap());
    assert!(poll(&mut busy).is_pending());
    assert!(poll(&mut eager).is_pending());
    hand.data("a").data("b");
    reads(&mut eager, "a");
    reads(&mut eager, "b");
    reads(&mut busy, "a");
}

#[test]
fn trailers_and_errors_reach_everyone() {
    let (hand, tape, mut first) = tape(100, Laggards::CutOff);
    let mut second = task::spawn(tape.join().unwrap());
    let trailers = HeaderMap::from_iter([(http::header::AGE, HeaderValue::from_static("1"))]);
    hand.trailers(trailers.clone()).fail();
    for reader in [&mut first, &mut second] {
        let Poll::Ready(Some(Ok(frame))) = poll(reader) else {
            panic!("no trailers")
        };
        assert_eq!(frame.trailers_ref(), Some(&trailers));
        let Poll::Ready(Some(Err(error))) = poll(reader) else {
            panic!("no error")
        };
        assert!(!error.is_lagged());
        assert_eq!(error.source().unwrap().to_string(), "scripted failure");
        ends(reader);
    }
}

#[test]
fn a_newcomer_joins_while_the_first_frame_is_there_and_not_later() {
    let (hand, tape, mut first) = tape(2, Laggards::CutOff);
    let closed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    tape.on_closed(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let closed = || closed.load(std::sync::atomic::Ordering::SeqCst);
    hand.data("a").data("b").data("c");
    reads(&mut first, "a");
    let mut second = task::spawn(tape.join().expect("the window has room"));
    reads(&mut second, "a");
    reads(&mut first, "b");
    assert_eq!(closed(), 0);
    reads(&mut first, "c");
    assert_eq!(closed(), 1, "the first frame had to go");
    assert!(tape.join().is_none());
    reads(&mut second, "b");
    reads(&mut second, "c");
    hand.end();
    ends(&mut first);
    ends(&mut second);
    assert_eq!(closed(), 1);
}

#[test]
fn when_the_last_reader_goes_the_body_goes() {
    let (hand, tape, first) = tape(100, Laggards::CutOff);
    let second = tape.join().unwrap();
    drop(first);
    assert!(!hand.is_dropped());
    drop(second);
    assert!(hand.is_dropped());
    assert!(tape.join().is_none());
    let mut called = false;
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        tape.on_closed(move || send.send(()).unwrap());
        scope.spawn(move || receive.recv().unwrap());
        called = true;
    });
    assert!(called, "a hook on a closed tape is called at once");
}

#[test]
fn a_clone_reads_on_from_the_same_place() {
    let (hand, _tape, mut first) = tape(100, Laggards::CutOff);
    hand.data("a").data("b").end();
    reads(&mut first, "a");
    let mut clone = task::spawn((*first).clone());
    reads(&mut clone, "b");
    ends(&mut clone);
    reads(&mut first, "b");
}

#[test]
fn a_laggard_is_cut_off_and_never_skips() {
    let (hand, tape, mut fast) = tape(2, Laggards::CutOff);
    let mut slow = task::spawn(tape.join().unwrap());
    hand.data("aa").data("b").data("c");
    reads(&mut fast, "aa");
    reads(&mut fast, "b");
    reads(&mut fast, "c");
    is_cut_off(&mut slow);
}

#[tokio::test(start_paused = true)]
async fn a_laggard_may_hold_up_the_others_for_a_while_in_total() {
    let total = Duration::from_secs(10);
    let laggards = Laggards::HoldUp {
        total,
        timer: tokio_timer(),
    };
    let (hand, tape, mut fast) = tape(1, laggards);
    let mut slow = task::spawn(tape.join().unwrap());
    hand.data("a").data("b").data("c");
    reads(&mut fast, "a");
    assert!(poll(&mut fast).is_pending(), "the window is full");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(poll(&mut fast).is_pending());
    reads(&mut slow, "a");
    assert!(fast.is_woken(), "there is room again");
    reads(&mut fast, "b");
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(
        poll(&mut fast).is_pending(),
        "only the time that somebody waited counts"
    );
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(poll(&mut fast).is_pending());
    assert!(!fast.is_woken());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(fast.is_woken());
    reads(&mut fast, "c");
    is_cut_off(&mut slow);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_held_nobody_up_is_not_cut_off() {
    let laggards = Laggards::HoldUp {
        total: Duration::from_secs(5),
        timer: tokio_timer(),
    };
    let (hand, tape, mut fast) = tape(1, laggards);
    let mut first = task::spawn(tape.join().unwrap());
    let mut second = task::spawn(tape.join().unwrap());
    hand.data("a").data("b").data("c");
    reads(&mut fast, "a");
    assert!(poll(&mut fast).is_pending());
    drop(fast);
    tokio::time::advance(Duration::from_secs(10)).await;
    reads(&mut first, "a");
    assert!(poll(&mut first).is_pending(), "now somebody is held up");
    tokio::time::advance(Duration::from_secs(3)).await;
    reads(&mut second, "a");
    assert!(first.is_woken());
    tokio::time::advance(Duration::from_secs(10)).await;
    reads(&mut first, "b");
    assert!(
        poll(&mut first).is_pending(),
        "room that nobody used is no stall"
    );
    tokio::time::advance(Duration::from_secs(3)).await;
    reads(&mut first, "c");
    is_cut_off(&mut second);
}

#[test]
fn a_laggard_that_leaves_lets_the_others_go_on() {
    let timer = Timer {
        now: || tokio::time::Instant::now().into_std(),
        sleep: |_| Box::pin(std::future::pending()),
    };
    let laggards = Laggards::HoldUp {
        total: Duration::from_secs(1),
        timer,
    };
    let (hand, tape, mut fast) = tape(1, laggards);
    let slow = tape.join().unwrap();
    hand.data("a").data("b");
    reads(&mut fast, "a");
    assert!(poll(&mut fast).is_pending());
    drop(slow);
    assert!(fast.is_woken());
    reads(&mut fast, "b");
}

thread_local! {
    /// What happens while a reader that is held up looks at the clock.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

#[test]
fn who_finds_room_while_another_looks_at_the_clock_is_not_left_asleep() {
    let timer = Timer {
        sleep: |_| {
            MEANWHILE.take().into_iter().for_each(|happens| happens());
            Box::pin(std::future::pending())
        },
        ..tokio_timer()
    };
    let total = Duration::from_secs(1);
    let (hand, tape, mut looks) = tape(1, Laggards::HoldUp { total, timer });
    let other = Rc::new(RefCell::new(task::spawn(tape.join().unwrap())));
    let mut lags = task::spawn(tape.join().unwrap());
    hand.data("a");
    reads(&mut looks, "a");
    reads(&mut other.borrow_mut(), "a");
    let finds_room = Rc::clone(&other);
    MEANWHILE.set(Some(Box::new(move || {
        reads(&mut lags, "a");
        assert!(poll(&mut finds_room.borrow_mut()).is_pending());
    })));
    assert!(poll(&mut looks).is_pending());
    drop(looks);
    hand.data("b");
    let mut other = other.borrow_mut();
    assert!(
        other.is_woken(),
        "the body is with nobody, and there is room"
    );
    reads(&mut other, "b");
}

#[test]
fn a_body_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            panic!("on purpose")
        }
    }
    let (tape, reader) = Tape::new(Panics, 100, Laggards::CutOff);
    let mut first = task::spawn(reader);
    let mut second = task::spawn(tape.join().unwrap());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        first.enter(|cx, reader| reader.poll_frame(cx).is_ready())
    }));
    assert!(panicked.is_err());
    let error = second.enter(|cx, reader| reader.poll_frame(cx));
    assert!(matches!(error, Poll::Ready(Some(Err(error))) if !error.is_lagged()));
}

#[test]
fn hints_are_exact_when_the_body_knows_its_length() {
    let (body, hand) = by_hand();
    hand.announce(3).data("ab").data("c").end();
    let (_tape, reader) = Tape::new(body, 100, Laggards::CutOff);
    let mut reader = task::spawn(reader);
    assert_eq!(reader.size_hint().exact(), Some(3));
    reads(&mut reader, "ab");
    assert_eq!(reader.size_hint().exact(), Some(1));
    assert!(!reader.is_end_stream());
    reads(&mut reader, "c");
    ends(&mut reader);
    assert!(reader.is_end_stream());
}

#[test]
fn a_hint_is_what_the_body_says_of_its_rest_and_exact_at_the_end() {
    struct Between(Vec<&'static str>);
    impl Body for Between {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.pop().map(|data| Ok(Frame::data(Bytes::from(data)))))
        }
        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(self.0.len() as u64);
            hint.set_upper(10);
            hint
        }
    }
    let (tape, first) = Tape::new(Between(vec!["bb", "a"]), 100, Laggards::CutOff);
    let second = tape.join().unwrap();
    let mut first = task::spawn(first);
    let hint = |hint: SizeHint| (hint.lower(), hint.upper());
    assert_eq!(hint(first.size_hint()), (2, Some(10)));
    assert!(first.enter(|cx, reader| reader.poll_frame(cx)).is_ready());
    assert_eq!(hint(first.size_hint()), (1, Some(10)));
    assert_eq!(
        hint(second.size_hint()),
        (2, Some(11)),
        "one byte is kept for it"
    );
    for _ in 0..2 {
        assert!(first.enter(|cx, reader| reader.poll_frame(cx)).is_ready());
    }
    assert_eq!(first.size_hint().exact(), Some(0));
    assert_eq!(second.size_hint().exact(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_ask_is_not_held_up() {
    let laggards = Laggards::HoldUp {
        total: Duration::from_secs(5),
        timer: tokio_timer(),
    };
    let (hand, tape, mut asks) = tape(1, laggards);
    let mut idles = task::spawn(tape.join().unwrap());
    let mut slow = task::spawn(tape.join().unwrap());
    hand.data("a").data("b").data("c");
    reads(&mut asks, "a");
    reads(&mut idles, "a");
    assert!(poll(&mut asks).is_pending());
    drop(asks);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(poll(&mut idles).is_pending(), "from now on somebody asks");
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(poll(&mut idles).is_pending());
    reads(&mut slow, "a");
    reads(&mut idles, "b");
}

/// Puts a body on a tape of one frame, with a record of at most three bytes, and what came of it.
fn recorded(slow: bool) -> (Hand, Reader, Option<Reader>, Arc<Mutex<Vec<Outcome>>>) {
    let (hand, tape, reader) = tape(1, Laggards::CutOff);
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&outcomes);
    let recording = Recording::new(StatusCode::OK, HeaderMap::new(), 3);
    tape.record(recording, move |outcome| {
        heard.lock().expect("no panic").push(outcome)
    });
    let other = slow.then(|| task::spawn(tape.join().expect("nothing was read yet")));
    (hand, reader, other, outcomes)
}

#[test]
fn the_record_is_whole_however_small_the_window_and_before_the_readers_know() {
    let (hand, mut reader, _slow, outcomes) = recorded(true);
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("0"))]);
    hand.data("a")
        .data("b")
        .data("c")
        .trailers(trailers.clone());
    ["a", "b", "c"]
        .iter()
        .for_each(|data| reads(&mut reader, data));
    assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(_)))));
    assert!(outcomes.lock().unwrap().is_empty());
    hand.end();
    ends(&mut reader);
    let expected = crate::Recorded::new(
        StatusCode::OK,
        HeaderMap::new(),
        Bytes::from("abc"),
        Some(trailers),
    );
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Complete(expected)]);
}

#[test]
fn a_record_that_is_too_large_ends_and_the_stream_goes_on() {
    let (hand, mut reader, _, outcomes) = recorded(false);
    hand.data("ab").data("cd");
    reads(&mut reader, "ab");
    reads(&mut reader, "cd");
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Overflow]);
    hand.data("e").end();
    reads(&mut reader, "e");
    ends(&mut reader);
    assert_eq!(outcomes.lock().unwrap().len(), 1);
}

#[test]
fn a_record_of_a_body_that_breaks_or_that_nobody_reads_to_its_end_is_aborted() {
    let (hand, mut reader, _, outcomes) = recorded(false);
    hand.data("a").fail();
    reads(&mut reader, "a");
    assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(_)))));
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Aborted]);

    let (hand, mut reader, _, outcomes) = recorded(false);
    hand.data("a");
    reads(&mut reader, "a");
    drop(reader);
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Aborted]);
}

#[test]
fn a_record_that_begins_too_late_is_aborted_and_one_of_nothing_is_whole() {
    let record = |tape: &dyn Fn(Box<dyn FnOnce(Outcome) + Send>)| {
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&outcomes);
        tape(Box::new(move |outcome| heard.lock().unwrap().push(outcome)));
        outcomes.lock().unwrap().pop().expect("it has ended")
    };
    let recording = || Recording::new(StatusCode::OK, HeaderMap::new(), 3);
    let (hand, tape, mut reader) = tape(100, Laggards::CutOff);
    hand.data("a");
    reads(&mut reader, "a");
    let late = record(&|on_end| tape.record(recording(), on_end));
    assert_eq!(late, Outcome::Aborted);

    let empty = http_body_util::Empty::<Bytes>::new();
    let (tape, _reader) = Tape::new(empty, 100, Laggards::CutOff);
    let nothing = record(&|on_end| tape.record(recording(), on_end));
    assert!(matches!(nothing, Outcome::Complete(recorded) if recorded.body().is_empty()));
}

#[test]
fn an_empty_body_is_at_its_end_for_every_reader() {
    let empty = http_body_util::Empty::<Bytes>::new();
    let (tape, reader) = Tape::new(empty, 100, Laggards::CutOff);
    assert!(reader.is_end_stream());
    assert!(tape.join().is_none());
    assert!(reader.clone().is_end_stream());
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Op {
    Send(u8),
    Join,
    Read(prop::sample::Index),
    Drop(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1_u8..6).prop_map(Op::Send),
        1 => Just(Op::Join),
        6 => any::<prop::sample::Index>().prop_map(Op::Read),
        1 => any::<prop::sample::Index>().prop_map(Op::Drop),
    ]
}

proptest! {
    #[test]
    fn every_reader_sees_a_prefix_of_the_same_frames_and_the_window_is_bounded(
        ops in prop::collection::vec(op(), 1..80),
        window in 1_usize..12,
    ) {
        const LARGEST: usize = 5;
        let (hand, tape, first) = tape(window, Laggards::CutOff);
        let mut readers = vec![(first, Vec::new(), true)];
        let mut sent = Vec::new();
        for op in ops {
            match op {
                Op::Send(size) => {
                    let frame = Bytes::from(vec![sent.len() as u8; size.into()]);
                    hand.data(frame.clone());
                    sent.push(frame);
                }
                Op::Join => readers.extend(tape.join().map(|r| (task::spawn(r), vec![], true))),
                Op::Read(which) if !readers.is_empty() => {
                    let (reader, seen, whole) = which.get_mut(&mut readers);
                    match poll(reader) {
                        Poll::Ready(Some(Ok(frame))) => {
                            prop_assert!(*whole, "nothing follows an error");
                            seen.push(frame.into_data().unwrap());
                        }
                        Poll::Ready(Some(Err(error))) => {
                            prop_assert!(error.is_lagged());
                            *whole = false;
                        }
                        Poll::Ready(None) => prop_assert!(!*whole),
                        Poll::Pending => prop_assert_eq!(&*seen, &sent),
                    }
                    prop_assert!(sent.starts_with(seen));
                }
                Op::Drop(which) if !readers.is_empty() => {
                    drop(readers.swap_remove(which.index(readers.len())));
                }
                Op::Read(_) | Op::Drop(_) => {}
            }
            prop_assert!(tape.shared.lock().window.bytes() < window + LARGEST);
        }
        let somebody_reads = readers.iter().any(|(_, _, whole)| *whole);
        prop_assert_eq!(hand.is_dropped(), !somebody_reads);
    }
}

#[test]
fn a_body_that_broke_has_no_known_length_for_those_who_come_to_it_later() {
    let (hand, _tape, mut first) = tape(100, Laggards::CutOff);
    let second = task::spawn(TapeReader::clone(&first));
    hand.data("half").fail();
    reads(&mut first, "half");
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
    assert_eq!(second.size_hint().exact(), None);
    assert!(!second.is_end_stream());
}

#[test]
fn a_length_is_not_told_where_trailers_would_be_lost() {
    let (hand, _tape, mut first) = tape(100, Laggards::CutOff);
    let second = TapeReader::clone(&first);
    hand.data("whole").trailers(HeaderMap::new()).end();
    reads(&mut first, "whole");
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Ok(_)))));
    ends(&mut first);
    assert_eq!(second.size_hint().exact(), None);
    let without = Tape::new(
        http_body_util::Full::<Bytes>::from("whole"),
        100,
        Laggards::CutOff,
    );
    assert_eq!(without.1.size_hint().exact(), Some(5));
}

/// Breaks, or panics, and writes down when it is dropped.
struct Breaks {
    panics: bool,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Body for Breaks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        assert!(!self.panics, "as the test wants");
        Poll::Ready(Some(Err(std::io::Error::other("broke"))))
    }
}

impl Drop for Breaks {
    fn drop(&mut self) {
        self.log.lock().expect("no panic").push("body dropped");
    }
}

#[test]
fn a_body_is_gone_before_anybody_hears_of_its_end() {
    for panics in [false, true] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let body = Breaks {
            panics,
            log: Arc::clone(&log),
        };
        let (tape, reader) = Tape::new(body, 10, Laggards::CutOff);
        let closed = Arc::clone(&log);
        tape.on_closed(move || closed.lock().unwrap().push("closed"));
        let mut reader = task::spawn(reader);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reader.enter(|cx, reader| reader.poll_frame(cx)).is_ready()
        }));
        assert_eq!(polled.is_err(), panics);
        assert_eq!(*log.lock().unwrap(), ["body dropped", "closed"]);
    }
}

#[test]
fn when_only_those_who_were_cut_off_are_left_the_body_is_dropped() {
    let (hand, _tape, mut slow) = tape(1, Laggards::CutOff);
    let mut fast = task::spawn(TapeReader::clone(&slow));
    hand.data("a").data("b").data("c");
    for expected in ["a", "b", "c"] {
        reads(&mut fast, expected);
    }
    is_cut_off(&mut slow);
    let again = TapeReader::clone(&slow);
    drop(fast);
    assert!(hand.is_dropped());
    drop((slow, again));
}

/// Two runtimes: the first sets the stall's timer, and the second is where somebody waits for it.
fn held_up_in_another_runtime(end_the_first: bool) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
    };
    let (first, second) = (runtime(), runtime());
    let laggards = Laggards::HoldUp {
        total: Duration::from_millis(100),
        timer: tokio_timer(),
    };
    let (hand, _tape, slow) = tape(1, laggards);
    let mut fast = task::spawn(TapeReader::clone(&slow));
    hand.data("aa").data("bb").end();
    first.block_on(async {
        reads(&mut fast, "aa");
        assert!(poll(&mut fast).is_pending());
    });
    let first = (!end_the_first).then_some(first);
    let mut fast = fast.into_inner();
    let frame = second.block_on(std::future::poll_fn(|cx| {
        Pin::new(&mut fast).poll_frame(cx)
    }));
    let frame = frame.expect("not the end").expect("nobody is cut off");
    assert_eq!(frame.into_data().expect("data"), "bb");
    drop((slow, first));
}

#[test]
fn whoever_waits_for_laggards_depends_on_no_other_runtime() {
    held_up_in_another_runtime(false);
    held_up_in_another_runtime(true);
}

#[test]
fn the_last_reader_takes_the_body_with_it_before_anybody_hears_of_it() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let body = Breaks {
        panics: false,
        log: Arc::clone(&log),
    };
    let (tape, reader) = Tape::new(body, 10, Laggards::CutOff);
    let closed = Arc::clone(&log);
    tape.on_closed(move || closed.lock().expect("no panic").push("closed"));
    drop(reader);
    assert_eq!(*log.lock().expect("no panic"), ["body dropped", "closed"]);
}

#[test]
fn a_clone_has_read_as_much_and_ends_where_its_model_has_ended() {
    let (body, hand) = by_hand();
    hand.announce(5).data("ab");
    let (_tape, reader) = Tape::new(body, 100, Laggards::CutOff);
    let mut reader = task::spawn(reader);
    reads(&mut reader, "ab");
    assert_eq!(TapeReader::clone(&reader).size_hint().exact(), Some(3));
    hand.data("cde").end();
    reads(&mut reader, "cde");
    ends(&mut reader);
    let mut again = task::spawn(TapeReader::clone(&reader));
    ends(&mut again);
    assert!(again.is_end_stream());
}

/// Has nothing at the first poll, and then everything, and wakes nobody: whoever polls it again needs no waking.
struct Quiet(u8);

impl Body for Quiet {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0 += 1;
        match self.0 {
            1 | 3 => Poll::Pending,
            2 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a"))))),
            _ => Poll::Ready(None),
        }
    }
}

#[test]
fn what_one_reader_finds_wakes_the_others_although_the_body_does_not() {
    let (_tape, reader) = Tape::new(Quiet(0), 100, Laggards::CutOff);
    let mut readers = [reader.clone(), reader].map(task::spawn);
    let mut poll = |of: usize, wakes: usize| {
        let polled = readers[of].enter(|cx, reader| reader.poll_frame(cx));
        assert_eq!(readers[wakes].is_woken(), wakes != of, "{of} finds it");
        polled
    };
    assert!(poll(0, 0).is_pending());
    assert!(matches!(poll(1, 0), Poll::Ready(Some(Ok(_)))));
    assert!(matches!(poll(0, 0), Poll::Ready(Some(Ok(_)))));
    assert!(poll(0, 0).is_pending());
    assert!(matches!(poll(1, 0), Poll::Ready(None)));
    assert!(matches!(poll(0, 0), Poll::Ready(None)));
}

#[test]
fn whoever_polled_last_is_woken() {
    let (hand, _tape, mut reader) = tape(100, Laggards::CutOff);
    assert!(poll(&mut reader).is_pending());
    let mut moved = task::spawn(());
    let polled = moved.enter(|cx, _| Pin::new(&mut *reader).poll_frame(cx));
    assert!(polled.is_pending());
    hand.data("a");
    assert!(moved.is_woken());
}

#[tokio::test(start_paused = true)]
async fn laggards_have_their_time_once() {
    let total = Duration::from_secs(1);
    let timer = tokio_timer();
    let (hand, _tape, mut fast) = tape(1, Laggards::HoldUp { total, timer });
    let mut slow = [(); 2].map(|()| task::spawn(TapeReader::clone(&fast)));
    hand.data("a").data("b").data("c").end();
    reads(&mut fast, "a");
    reads(&mut slow[1], "a");
    assert!(poll(&mut fast).is_pending());
    tokio::time::advance(Duration::from_millis(1001)).await;
    reads(&mut fast, "b");
    is_cut_off(&mut slow[0]);
    reads(&mut fast, "c");
    is_cut_off(&mut slow[1]);
}
