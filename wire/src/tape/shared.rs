//! What the readers of a tape share.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::error::TapeError;
use super::record::Record;
use super::stall::{Laggards, Stall};
use super::wakers::Wakers;
use super::window::Window;
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Shared<B: ?Sized> {
    state: Mutex<State<B>>,
    pub(super) wakers: Arc<Wakers>,
    /// `wakers` again, as the waker that the body is polled with.
    pub(super) waker: Waker,
    /// What stalls are measured by, if they are.
    clock: Option<fn() -> Instant>,
}

pub(super) struct State<B: ?Sized> {
    pub(super) window: Window<Item>,
    pub(super) source: Source<B>,
    /// What the body says of its rest, as of the last frame that is not trailers.
    pub(super) rest: SizeHint,
    pub(super) has_trailers: bool,
    /// How many data bytes have been fetched. `None` before the first frame.
    pub(super) fetched: Option<u64>,
    pub(super) held: Held,
    /// Since when nobody is held up any more: for whoever takes the body next, to tell the stall.
    pub(super) unblocked_at: Option<Instant>,
    pub(super) joinable: bool,
    pub(super) on_closed: Option<Hook>,
    pub(super) next_id: u64,
}

pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// Where the body is.
pub(super) enum Source<B: ?Sized> {
    /// With nobody.
    Idle(Driver<B>),
    /// With a reader that polls it.
    Taken,
    /// Gone.
    Ended(Result<(), TapeError>),
}

pub(super) struct Driver<B: ?Sized> {
    pub(super) body: Pin<Box<B>>,
    pub(super) record: Option<Box<dyn Record>>,
    pub(super) stall: Stall,
}

#[derive(Clone)]
pub(super) enum Item {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

/// Those who asked for a frame and found the window full.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// How many of them still wait for room.
    readers: usize,
    /// Changes when all of them have room: what a reader remembers of an earlier one counts no more.
    pub(super) round: u64,
}

impl Held {
    /// Whether somebody is held up.
    pub(super) fn is_some(&self) -> bool {
        self.readers > 0
    }

    /// One more. Gives what that reader has to remember, and to hand in when it goes on or away.
    pub(super) fn enter(&mut self, before: Option<u64>) -> Option<u64> {
        if before != Some(self.round) {
            self.readers += 1;
        }
        Some(self.round)
    }

    /// One of them goes on or away.
    pub(super) fn leave(&mut self, before: Option<u64>) {
        if before == Some(self.round) {
            self.readers -= 1;
        }
    }

    /// There is room for all of them.
    pub(super) fn clear(&mut self) {
        self.readers = 0;
        self.round += 1;
    }
}

impl<B: Body + ?Sized> Shared<B> {
    pub(super) fn new(body: Pin<Box<B>>, window: usize, laggards: Laggards) -> Self {
        let wakers = Arc::new(Wakers::default());
        Self {
            waker: Waker::from(Arc::clone(&wakers)),
            wakers,
            clock: laggards.clock(),
            state: Mutex::new(State::new(body, window, laggards)),
        }
    }
}

impl<B: ?Sized> Shared<B> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is held up any more: stops the stall's clock, and wakes those who were.
    pub(super) fn unblocked(&self) {
        // A user's clock: not under our lock.
        if let Some(now) = self.clock {
            let at = now();
            let mut state = self.lock();
            if !state.held.is_some() {
                state.unblocked_at = Some(at);
            }
        }
        self.wakers.wake_all();
    }

    /// The stream is over; everybody but the reader `awake` is told.
    pub(super) fn end(&self, result: Result<(), TapeError>, awake: u64) {
        let mut state = self.lock();
        state.rest = match &result {
            // Those whose body said that it would end, and told no length, may have been promised trailers: an exact hint here would lose them
            // to a server that announces it as the length.
            Ok(()) if state.has_trailers => state.rest,
            Ok(()) => SizeHint::with_exact(0),
            // What broke has no length: half of it must not look whole.
            Err(_) => SizeHint::new(),
        };
        state.source = Source::Ended(result);
        let closed = state.close();
        drop(state);
        call(closed);
        self.wakers.wake_others(awake);
    }
}

impl<B: Body + ?Sized> State<B> {
    fn new(body: Pin<Box<B>>, window: usize, laggards: Laggards) -> Self {
        let ended = body.is_end_stream();
        let rest = body.size_hint();
        let driver = Driver {
            body,
            record: None,
            stall: Stall::new(laggards),
        };
        Self {
            window: Window::new(window.max(1)),
            source: if ended {
                Source::Ended(Ok(()))
            } else {
                Source::Idle(driver)
            },
            rest,
            has_trailers: false,
            fetched: None,
            held: Held::default(),
            unblocked_at: None,
            joinable: !ended,
            on_closed: None,
            next_id: 0,
        }
    }
}

impl<B: ?Sized> State<B> {
    /// What is still to come for somebody who has read so many bytes.
    pub(super) fn size_hint(&self, read: u64) -> SizeHint {
        let kept = self.fetched.unwrap_or(0).saturating_sub(read);
        let mut hint = SizeHint::new();
        hint.set_lower(self.rest.lower().saturating_add(kept));
        if let Some(upper) = self.rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }

    /// Whether those who waited for room have it now, or are gone.
    pub(super) fn unblock(&mut self, was_held: bool) -> bool {
        let freed = was_held && (self.window.is_front_unneeded() || !self.held.is_some());
        if freed {
            self.held.clear();
        }
        freed
    }

    /// Nobody can join any more. Gives the hook to call once the lock is free.
    pub(super) fn close(&mut self) -> Option<Hook> {
        self.joinable = false;
        self.on_closed.take()
    }
}

impl From<Frame<Bytes>> for Item {
    fn from(frame: Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(data) => Self::Data(data),
            Err(frame) => Self::Trailers(Box::new(frame.into_trailers().unwrap_or_default())),
        }
    }
}

impl Item {
    /// Data bytes in it.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }
}

pub(super) fn call(hook: Option<Hook>) {
    if let Some(hook) = hook {
        hook();
    }
}
