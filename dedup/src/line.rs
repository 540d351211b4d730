//! Those who wait for one flight, what they wait for, and the timer they share.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::time::{Instant, Sleep};

use crate::builder::Limits;
use crate::queue::{Found, Queue};
use crate::sync::{Mutex, lock};
use crate::table::{Part, Place};

/// The [`Queue`] of a flight with its lock, its timer and its value; and where the flight is, so that whoever waits holds nothing else.
pub(crate) struct Line<K, V> {
    pub(crate) part: Arc<Part<K, V>>,
    pub(crate) place: Place,
    /// The next ticket. Changed under the lock of the part alone.
    tickets: AtomicU64,
    /// How many have given theirs back.
    gone: AtomicU64,
    /// Whether the flight has failed once. Changed under the lock of the part alone.
    failed: AtomicBool,
    waiting: Arc<Waiting>,
    /// There before the queue says so.
    value: OnceLock<V>,
}

/// Apart from the value, so that a waker can point here whatever the value is.
struct Waiting {
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    /// What the queue's alarm is set by. It belongs to nobody in the queue: no one depends on another one's task.
    timer: Option<Timer>,
}

type Timer = Pin<Box<Sleep>>;

impl<K, V> Line<K, V> {
    pub(crate) fn new(part: Arc<Part<K, V>>, place: Place) -> Self {
        let state = State {
            queue: Queue::new(),
            timer: None,
        };
        Self {
            part,
            place,
            tickets: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            waiting: Arc::new(Waiting {
                state: Mutex::new(state),
            }),
            value: OnceLock::new(),
        }
    }

    /// How many wait, while the flight is in its part.
    pub(crate) fn len(&self) -> usize {
        let gone = self.gone.load(Relaxed);
        self.tickets.load(Relaxed).saturating_sub(gone) as usize
    }

    /// Another one comes, and gets a ticket if there is room. Under the lock of the part: without its own, but where he has a time to give up at.
    pub(crate) fn enter(&self, limits: &Limits) -> Option<u64> {
        if self.len() >= limits.waiters {
            return None;
        }
        let ticket = self.tickets.load(Relaxed);
        self.tickets.store(ticket + 1, Relaxed);
        if let Some(deadline) = limits.deadline() {
            lock(&self.waiting.state).queue.seat(ticket, Some(deadline));
        }
        Some(ticket)
    }

    /// The holder of `ticket` looks what there is. It is woken when there is something new, and when it has waited long enough.
    pub(crate) fn poll(&self, ticket: u64, cx: &mut Context<'_>) -> Poll<Found> {
        loop {
            let mut state = lock(&self.waiting.state);
            let (found, replaced) = state.queue.look(ticket, cx.waker(), Instant::now);
            let alarm = match found {
                Found::Wait(Some(deadline)) => state.queue.set_alarm(deadline),
                _ => None,
            };
            drop(state);
            drop(replaced);
            match (found, alarm) {
                (Found::Wait(_), None) => return Poll::Pending,
                (Found::Wait(_), Some(at)) => ready!(self.waiting.poll_timer(at)),
                (Found::Landed, _) => return Poll::Ready(Found::Landed),
                (found, _) => {
                    self.gone.fetch_add(1, Relaxed);
                    return Poll::Ready(found);
                }
            }
        }
    }

    /// The holder of `ticket` goes away. Tells whether it had been promoted: then someone else has to be.
    pub(crate) fn leave(&self, ticket: u64) -> bool {
        self.gone.fetch_add(1, Relaxed);
        let (promoted, waker) = lock(&self.waiting.state).queue.leave(ticket);
        drop(waker);
        promoted
    }

    /// Makes the one who came first the leader, under the lock of the part. `None` when nobody is left; else the waker to wake it with, if it is
    /// asleep.
    pub(crate) fn promote(&self) -> Option<Option<Waker>> {
        let tickets = self.tickets.load(Relaxed);
        lock(&self.waiting.state).queue.promote(tickets)
    }

    /// The flight has failed. Tells whether it had before. Under the lock of the part.
    pub(crate) fn note_failure(&self) -> bool {
        self.failed.swap(true, Relaxed)
    }

    /// Everyone gets `value`.
    pub(crate) fn publish(&self, value: V) {
        // A flight has one leader, and that one publishes once.
        let _ = self.value.set(value);
        let asleep = lock(&self.waiting.state).queue.land();
        asleep.for_each(Waker::wake);
    }

    /// The value, once the flight has [`Landed`](Found::Landed).
    pub(crate) fn value(&self) -> Option<&V> {
        self.value.get()
    }
}

impl Waiting {
    /// Sets the timer. Ready when it has gone off already.
    fn poll_timer(self: &Arc<Self>, at: Instant) -> Poll<()> {
        // A timer that was not set, because there is no runtime, must not count as one.
        let unset = RingOnDrop(self);
        // A new one each time: each is of the runtime of whoever sets it, which may go away before the others'.
        let timer = Box::pin(tokio::time::sleep_until(at));
        std::mem::forget(unset);
        self.arm(timer, at)
    }

    /// Keeps a timer that is set to `at`. Ready when it has gone off already.
    fn arm(self: &Arc<Self>, mut timer: Timer, at: Instant) -> Poll<()> {
        let unset = RingOnDrop(self);
        let waker = Waker::from(Arc::new(Alarm(Arc::downgrade(self))));
        let poll = timer.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_ready() {
            return poll;
        }
        std::mem::forget(unset);
        let mut state = lock(&self.state);
        // It may have gone off by now, or somebody may have set an earlier one.
        let superseded = if state.queue.is_alarm_at(at) {
            state.timer.replace(timer)
        } else {
            Some(timer)
        };
        drop(state);
        drop(superseded);
        Poll::Pending
    }

    /// The timer has gone off: wakes those whose time is over, and sets it for the next of those who sleep on. Nobody who has time
    /// left is woken, and no one depends on another one's task.
    fn ring(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let Some(timer) = state.timer.take() else {
            drop(state);
            return self.wake_all();
        };
        let rung = state.queue.ring(Instant::now());
        drop(state);
        rung.due.into_iter().for_each(Waker::wake);
        if let Some(at) = rung.next {
            self.set_again(timer, at);
        }
    }

    fn set_again(self: &Arc<Self>, mut timer: Timer, at: Instant) {
        // A timer of a runtime that ends just now panics, and this is called by that runtime. Nobody is left asleep: `arm` sees to that.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
            timer.as_mut().reset(at);
            let _ = self.arm(timer, at);
        }));
    }

    /// Wakes everyone: each looks at its own deadline, and whoever sleeps on sets a timer.
    fn wake_all(&self) {
        let asleep = lock(&self.state).queue.wake_all();
        asleep.into_iter().for_each(Waker::wake);
    }
}

struct RingOnDrop<'a>(&'a Waiting);

impl Drop for RingOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake_all();
    }
}

/// What the timer wakes. The timer is kept by what it wakes, so it does not keep it in turn.
struct Alarm(Weak<Waiting>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(waiting) = self.0.upgrade() {
            waiting.ring();
        }
    }
}
