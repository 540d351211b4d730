//! How long the slowest reader of a tape may hold up the others.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The time that a tape is to measure by. This crate has no runtime: its user lends one.
#[derive(Clone, Copy)]
pub struct Timer {
    /// Reads the clock.
    pub now: fn() -> Instant,
    /// Makes a future that is ready after a while, by the same clock.
    pub sleep: fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

/// What becomes of readers that are so far behind that the window is full.
#[derive(Clone, Copy, Debug)]
pub enum Laggards {
    /// They are cut off at once, and get an error. The others never wait.
    CutOff,
    /// They may hold the others up for so long in total, over the whole stream; then they are cut off.
    HoldUp {
        /// The time, in total.
        total: Duration,
        /// What measures it.
        timer: Timer,
    },
}

impl Laggards {
    /// Reads the clock, if there is one.
    pub(super) fn clock(&self) -> Option<fn() -> Instant> {
        match self {
            Self::CutOff => None,
            Self::HoldUp { timer, .. } => Some(timer.now),
        }
    }
}

/// The time that has been spent waiting for laggards on one tape.
pub(super) enum Stall {
    Never,
    Within {
        left: Duration,
        timer: Timer,
        waiting: Option<Waiting>,
    },
}

pub(super) struct Waiting {
    since: Instant,
    /// When it came to an end, if it has.
    until: Option<Instant>,
    /// Of whoever looked last: see [`Stall::poll`].
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stall {
    pub(super) fn new(laggards: Laggards) -> Self {
        match laggards {
            Laggards::CutOff => Self::Never,
            Laggards::HoldUp { total, timer } => Self::Within {
                left: total,
                timer,
                waiting: None,
            },
        }
    }

    /// Nobody has been held up since `at`. Only notes it: it may be called under a lock.
    pub(super) fn ended(&mut self, at: Instant) {
        if let Self::Within {
            waiting: Some(waiting),
            ..
        } = self
        {
            waiting.until.get_or_insert(at);
        }
    }

    /// The window is full. Ready when the laggards have used up their time.
    ///
    /// Each look sets a new timer: one belongs to the runtime of whoever sets it, which may be idle or gone when somebody else waits. Whoever has no runtime
    /// keeps that of the one before.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended() {
            self.over();
        }
        let Self::Within {
            left,
            timer,
            waiting,
        } = self
        else {
            return Poll::Ready(());
        };
        if left.is_zero() {
            return Poll::Ready(());
        }
        let now = (timer.now)();
        let waiting = waiting.get_or_insert_with(|| Waiting {
            since: now,
            until: None,
            sleep: None,
        });
        let rest = left.saturating_sub(now.saturating_duration_since(waiting.since));
        if rest.is_zero() || waiting.sleeps(rest, timer, cx).is_ready() {
            *self = Self::Never;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// There is room again.
    pub(super) fn over(&mut self) {
        if let Self::Within {
            left,
            timer,
            waiting,
        } = self
            && let Some(waiting) = waiting.take()
        {
            let until = waiting.until.unwrap_or_else(timer.now);
            *left = left.saturating_sub(until.saturating_duration_since(waiting.since));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self, Self::Within { waiting: Some(waiting), .. } if waiting.until.is_some())
    }
}

impl Waiting {
    /// A timer that cannot be set or polled, because there is no runtime or one that ends, is no reason to break the body.
    fn sleeps(&mut self, rest: Duration, timer: &Timer, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = survive(|| {
            let mut sleep = (timer.sleep)(rest);
            let poll = sleep.as_mut().poll(cx);
            (sleep, poll)
        });
        match fresh {
            Some((sleep, poll)) => {
                self.sleep = Some(sleep);
                poll
            }
            None => {
                let kept = self.sleep.as_mut();
                let polled = kept.and_then(|sleep| survive(|| sleep.as_mut().poll(cx)));
                // Nobody would be woken.
                polled.unwrap_or(Poll::Ready(()))
            }
        }
    }
}

fn survive<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
