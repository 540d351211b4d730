//! A body that a test feeds by hand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::probe::ProbeError;

/// A body, and the [`Hand`] that feeds it.
#[must_use]
pub fn by_hand() -> (HandBody, Hand) {
    let state = Arc::new(Mutex::new(State::default()));
    (
        HandBody {
            state: Arc::clone(&state),
        },
        Hand { state },
    )
}

/// Feeds a [`HandBody`], and sees how it is used.
#[derive(Clone, Debug)]
pub struct Hand {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Result<Frame<Bytes>, ProbeError>>,
    ended: bool,
    exact: Option<u64>,
    waker: Option<Waker>,
    polls: usize,
    dropped: bool,
}

impl Hand {
    /// Sends a data frame.
    pub fn data(&self, data: impl Into<Bytes>) -> &Self {
        self.push(Ok(Frame::data(data.into())))
    }

    /// Sends trailers.
    pub fn trailers(&self, trailers: HeaderMap) -> &Self {
        self.push(Ok(Frame::trailers(trailers)))
    }

    /// Breaks the body.
    pub fn fail(&self) -> &Self {
        self.push(Err(ProbeError))
    }

    /// Ends the body.
    pub fn end(&self) -> &Self {
        self.lock().ended = true;
        self.wake()
    }

    /// Makes the body announce how long it is in all, from here on.
    pub fn announce(&self, bytes: u64) -> &Self {
        self.lock().exact = Some(bytes);
        self
    }

    /// Wakes whoever waits for the body, for no reason.
    pub fn wake(&self) -> &Self {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        self
    }

    /// How often the body was polled.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.lock().polls
    }

    /// Whether the body is gone.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    fn push(&self, frame: Result<Frame<Bytes>, ProbeError>) -> &Self {
        self.lock().frames.push_back(frame);
        self.wake()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds this lock")
    }
}

/// A body made by [`by_hand`].
#[derive(Debug)]
pub struct HandBody {
    state: Arc<Mutex<State>>,
}

impl Body for HandBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        let mut state = self
            .state
            .lock()
            .expect("no test panics while it holds this lock");
        state.polls += 1;
        if let Some(frame) = state.frames.pop_front() {
            if let (Some(exact), Some(data)) =
                (state.exact, frame.as_ref().ok().and_then(Frame::data_ref))
            {
                state.exact = Some(exact.saturating_sub(data.len() as u64));
            }
            return Poll::Ready(Some(frame));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        let exact = self
            .state
            .lock()
            .expect("no test panics while it holds this lock")
            .exact;
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for HandBody {
    fn drop(&mut self) {
        self.state
            .lock()
            .expect("no test panics while it holds this lock")
            .dropped = true;
    }
}
