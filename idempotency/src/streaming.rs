//! A body that is recorded while its reader takes its time.

use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::{Outcome, Recording, into_bytes};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::held::Held;
use crate::settings::Execution;
use crate::shared::Apart;
use crate::store::Store;

type BoxError = Box<dyn Error + Send + Sync>;
type Filing = Pin<Box<dyn Future<Output = ()> + Send>>;
type Finish = Box<dyn FnOnce(Outcome) -> Filing + Send>;

/// Gives out frames as they come, and files the record before the last of them, or the end, is given out.
///
/// ```text
///  Reading ── end ─────► Filing ──► (end)
///     │ └── too large ─► Filing ──► Passing ──► (end)
///     │ └── error ─────► Filing ──► (error)
///     └──── dropped ───► a task reads on, and files; with `Execution::Inline` nobody does
/// ```
///
/// The end is where the body says that it is, and not where all that was announced has been seen. There it is asked at once, before
/// that last frame is given out.
pub(crate) struct Streaming<B> {
    /// Frames that are recorded and yet to be given out: those that were there before anybody read, or those that wait for the record.
    ahead: VecDeque<Frame<Bytes>>,
    state: State<B>,
    apart: Apart,
}

enum State<B> {
    Done,
    Failed(BoxError),
    Filing { filing: Filing, next: Box<Self> },
    Passing(Pin<Box<B>>),
    Reading(Box<Reading<B>>),
}

/// The rest of a body, and what is to be done with it.
struct Reading<B> {
    body: Pin<Box<B>>,
    recording: Recording,
    finish: Finish,
    /// Takes the rest of it when its reader leaves. Made where it was known that the body may go to another task.
    leave: fn(Box<Self>, &Apart),
}

impl<B> Streaming<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Goes on with `body` after the frames `ahead`, which are recorded already.
    pub(crate) fn record<St: Store>(
        ahead: VecDeque<Frame<Bytes>>,
        body: Pin<Box<B>>,
        recording: Recording,
        held: Held<St>,
        apart: Apart,
        execution: Execution,
    ) -> Self
    where
        B: Send + 'static,
    {
        held.beat();
        let finish: Finish = Box::new(move |outcome| Box::pin(finish(held, outcome)));
        let leave: fn(Box<Reading<B>>, &Apart) = match execution {
            Execution::DetachOnDrop | Execution::Detached => {
                |rest, apart| apart.spawn(rest.read_on())
            }
            // What is held goes with it.
            Execution::Inline => |rest, _| drop(rest),
        };
        let state = State::Reading(Box::new(Reading {
            body,
            recording,
            finish,
            leave,
        }));
        Self {
            ahead,
            state,
            apart,
        }
    }

    /// Goes on with `body`, of which no record is kept.
    pub(crate) fn pass(ahead: VecDeque<Frame<Bytes>>, body: Pin<Box<B>>, apart: Apart) -> Self {
        Self {
            ahead,
            state: State::Passing(body),
            apart,
        }
    }

    /// Ends with an error.
    pub(crate) fn fail(ahead: VecDeque<Frame<Bytes>>, error: BoxError, apart: Apart) -> Self {
        Self {
            ahead,
            state: State::Failed(error),
            apart,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let State::Filing { filing, next } = &mut self.state {
                ready!(filing.as_mut().poll(cx));
                self.state = std::mem::replace(&mut **next, State::Done);
            }
            if let Some(frame) = self.ahead.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Failed(_) => {
                    let State::Failed(error) = std::mem::replace(&mut self.state, State::Done)
                    else {
                        unreachable!("it was matched just now")
                    };
                    return Poll::Ready(Some(Err(error)));
                }
                State::Passing(body) => {
                    let frame = ready!(body.as_mut().poll_frame(cx));
                    return Poll::Ready(frame.map(|f| f.map(into_bytes).map_err(Into::into)));
                }
                State::Filing { .. } => {}
                State::Reading(_) => ready!(self.poll_read(cx)),
            }
        }
    }

    /// Reads until there is a frame to give out, or a record to file before.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let State::Reading(mut reading) = std::mem::replace(&mut self.state, State::Done) {
            // A body that panics is not in its place any more, and so is not polled again: what is held goes with it.
            match reading.body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    self.state = State::Reading(reading);
                    // The body wakes us.
                    return if self.ahead.is_empty() {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    };
                }
                Poll::Ready(frame) => {
                    if !self.read(reading, frame.map(|f| f.map(into_bytes))) {
                        break;
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Records what was read. Tells whether to read on before it is given out.
    fn read(
        &mut self,
        mut reading: Box<Reading<B>>,
        frame: Option<Result<Frame<Bytes>, B::Error>>,
    ) -> bool {
        let (outcome, next) = match frame {
            Some(Ok(frame)) => {
                let within = reading.recording.frame(&frame);
                self.ahead.push_back(frame);
                if !within {
                    (Outcome::Overflow, State::Passing(reading.body))
                } else if reading.body.is_end_stream() {
                    (reading.recording.end(), State::Done)
                } else {
                    // A reader may stop at what was announced. It is an end only if the body says so: trailers, or an error, may follow.
                    let whole = reading.recording.is_whole();
                    self.state = State::Reading(reading);
                    return whole && self.ahead.len() < WITHHELD;
                }
            }
            Some(Err(error)) => (Outcome::Aborted, State::Failed(error.into())),
            None => (reading.recording.end(), State::Done),
        };
        self.state = State::Filing {
            filing: (reading.finish)(outcome),
            next: Box::new(next),
        };
        false
    }
}

/// How many frames are withheld at most while a body of which all that was announced has been seen is asked whether it is over: the last
/// data, trailers, and some that are empty.
const WITHHELD: usize = 4;

impl<B: Body> Streaming<B> {
    pub(crate) fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self
            .ahead
            .iter()
            .filter_map(|f| f.data_ref())
            .map(|d| d.len() as u64)
            .sum();
        let exact = match &self.state {
            State::Done => Some(0),
            State::Passing(body) => body.size_hint().exact(),
            State::Reading(reading) => reading.body.size_hint().exact(),
            State::Failed(_) | State::Filing { .. } => None,
        };
        exact.map_or_else(SizeHint::default, |exact| {
            SizeHint::with_exact(ahead + exact)
        })
    }
}

impl<B> Reading<B>
where
    B: Body,
{
    /// Reads the rest for the record alone.
    async fn read_on(mut self) {
        let outcome = loop {
            let frame = std::future::poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await;
            match frame.map(|frame| frame.map(into_bytes)) {
                Some(Ok(frame)) if !self.recording.frame(&frame) => break Outcome::Overflow,
                Some(Ok(_)) if !self.body.is_end_stream() => {}
                Some(Err(_)) => break Outcome::Aborted,
                Some(Ok(_)) | None => break self.recording.end(),
            }
        };
        // Nothing more of it is wanted, and its record is filed under a lease that is still kept.
        drop(self.body);
        (self.finish)(outcome).await;
    }
}

async fn finish<St: Store>(mut held: Held<St>, outcome: Outcome) {
    let response = match outcome {
        Outcome::Complete(recorded) => Some(recorded),
        Outcome::Overflow => None,
        // Dropping what is held says that nobody knows.
        Outcome::Aborted => return,
    };
    // Its reader has the true response; what the store says about it is an event.
    let _ = held.complete(response).await;
}

impl<B> Drop for Streaming<B> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Reading(reading) => (reading.leave)(reading, &self.apart),
            State::Filing { filing, .. } => self.apart.spawn(filing),
            State::Done | State::Failed(_) | State::Passing(_) => {}
        }
    }
}
