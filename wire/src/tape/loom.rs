//! Small stories of two threads, explored fully.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ::loom::future::block_on;
use ::loom::thread;
use bytes::Bytes;
use http_body::Frame;

use super::*;

/// Frames that are there, one poll late each: the body wakes its reader at once.
struct Late(VecDeque<&'static str>, bool);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.0.pop_front();
        Poll::Ready(frame.map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))))
    }
}

async fn read(mut reader: TapeReader<Late>) -> Vec<Bytes> {
    let mut seen = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await {
        seen.push(frame.expect("nobody lags").into_data().expect("data"));
    }
    seen
}

/// Two preemptions are where the bugs are; without a bound, a story with wakers in it never ends.
fn explore(story: impl Fn() + Send + Sync + 'static) {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(story);
}

#[test]
fn loom_two_readers_read_everything_and_none_is_left_asleep() {
    explore(|| {
        let (tape, first) = Tape::new(Late(["a"].into(), false), 100, Laggards::CutOff);
        let second = tape.join().expect("nothing was read yet");
        let other = thread::spawn(move || block_on(read(second)));
        assert_eq!(block_on(read(first)), ["a"]);
        assert_eq!(other.join().unwrap(), ["a"]);
    });
}

#[test]
fn loom_a_reader_that_is_dropped_leaves_the_other_awake() {
    explore(|| {
        let (tape, first) = Tape::new(Late(["a"].into(), false), 100, Laggards::CutOff);
        let mut second = tape.join().expect("nothing was read yet");
        let other = thread::spawn(move || {
            let _ = Pin::new(&mut second).poll_frame(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(block_on(read(first)), ["a"]);
        other.join().unwrap();
    });
}

#[test]
fn loom_a_laggard_that_leaves_lets_the_reader_that_it_held_up_go_on() {
    explore(|| {
        // Time stands still: only the laggard's leaving makes room.
        let timer = Timer {
            now: || *NOW,
            sleep: |_| Box::pin(std::future::pending()),
        };
        let total = std::time::Duration::from_secs(1);
        let laggards = Laggards::HoldUp { total, timer };
        let (tape, fast) = Tape::new(Late(["a", "b"].into(), false), 1, laggards);
        let slow = tape.join().expect("nothing was read yet");
        let other = thread::spawn(move || drop(slow));
        assert_eq!(block_on(read(fast)), ["a", "b"]);
        other.join().unwrap();
    });
}

#[test]
fn loom_a_laggard_that_leaves_lets_another_go_on_while_one_that_it_held_up_goes_away() {
    explore(|| {
        let timer = Timer {
            now: || *NOW,
            sleep: |_| Box::pin(std::future::pending()),
        };
        let total = std::time::Duration::from_secs(1);
        let laggards = Laggards::HoldUp { total, timer };
        let (tape, mut gone) = Tape::new(Late(["a", "b"].into(), false), 1, laggards);
        let [mut fast, slow] = [(); 2].map(|()| tape.join().expect("nothing was read yet"));
        let poll = |reader: &mut TapeReader<Late>| {
            let mut cx = Context::from_waker(Waker::noop());
            Pin::new(reader).poll_frame(&mut cx).is_ready()
        };
        assert!(!poll(&mut gone) && poll(&mut gone) && poll(&mut fast));
        let other = thread::spawn(move || drop((poll(&mut gone), gone)));
        drop(slow);
        assert_eq!(block_on(read(fast)), ["b"]);
        other.join().unwrap();
    });
}

#[test]
fn loom_a_newcomer_joins_at_the_start_or_not_at_all() {
    explore(|| {
        let (tape, first) = Tape::new(Late(["a"].into(), false), 100, Laggards::CutOff);
        let other = thread::spawn(move || tape.join().map(|reader| block_on(read(reader))));
        assert_eq!(block_on(read(first)), ["a"]);
        if let Some(seen) = other.join().unwrap() {
            assert_eq!(seen, ["a"]);
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "some time, the same for ever")]
static NOW: std::sync::LazyLock<std::time::Instant> =
    std::sync::LazyLock::new(std::time::Instant::now);
