//! The machine of one caller.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Alone, Leading, Mode, Received, Shell, Start};
use crate::flights::Role;
use crate::leader::Leader;
use crate::wait::{Wait, Waited};

pin_project! {
    /// Leads a flight, follows one, or goes alone.
    ///
    /// ```text
    ///            promoted
    ///  Follow ────────────► Lead ──► (output)
    ///    │ │ └─ a value ──────────► (output), or once more
    ///    │ └─── timed out, of no use ──► Alone ──► (output)
    ///    └───── no room ───────────────► Alone, or refused
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping a leader drops its work, then makes one follower the leader, which does its own work. (Where it was said to be detached, the
    /// work goes on instead and the followers stay with it.) Dropping a follower gives its place back. Dropping one that is alone
    /// drops its work.
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<W, H, M>
    where
        W: Start,
        H: Shell<Result = <W::Future as Future>::Output>,
        M: Mode<Leading<W, H>>,
    {
        #[pin]
        state: State<W, H, M>,
        mode: M,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<W, H, M>
    where
        W: Start,
        H: Shell<Result = <W::Future as Future>::Output>,
        M: Mode<Leading<W, H>>,
    {
        Alone { #[pin] call: Alone<W, H> },
        Done { output: Option<H::Output> },
        Follow { wait: Wait<H::Key, H::Value>, own: Option<(W, H)> },
        Lead { #[pin] call: M::Lead },
    }
}

impl<W, H, M> Run<W, H, M>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    M: Mode<Leading<W, H>>,
{
    /// Joins the flight of `key`; without one, goes alone.
    pub(crate) fn new(key: Option<H::Key>, work: W, shell: H, mode: M) -> Self {
        let state = match key {
            Some(key) => State::join(key, work, shell, &mode),
            None => State::alone(work, shell),
        };
        Self { state, mode }
    }
}

impl<W, H, M> State<W, H, M>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    M: Mode<Leading<W, H>>,
{
    fn join(key: H::Key, work: W, mut shell: H, mode: &M) -> Self {
        match shell.join(key) {
            Role::Leader(leader) => Self::lead(leader, work, shell, mode),
            Role::Follower(wait) => Self::Follow {
                wait,
                own: Some((work, shell)),
            },
            Role::Landed(value) => Self::receive(value, work, shell, mode),
            Role::Full => match shell.full() {
                Some(output) => Self::done(output),
                None => Self::alone(work, shell),
            },
        }
    }

    fn followed(waited: Waited<H::Key, H::Value>, work: W, shell: H, mode: &M) -> Self {
        match waited {
            Waited::Promoted(leader) => Self::lead(leader, work, shell, mode),
            Waited::TimedOut => Self::alone(work, shell),
            Waited::Value(value) => Self::receive(value, work, shell, mode),
        }
    }

    fn receive(value: H::Value, work: W, mut shell: H, mode: &M) -> Self {
        match shell.receive(value) {
            Received::Done(output) => Self::done(output),
            Received::Alone => Self::alone(work, shell),
            Received::Again(key) => Self::join(key, work, shell, mode),
        }
    }

    fn lead(leader: Leader<H::Key, H::Value>, work: W, shell: H, mode: &M) -> Self {
        Self::Lead {
            call: mode.lead(Leading::new(leader, work, shell)),
        }
    }

    fn alone(work: W, shell: H) -> Self {
        Self::Alone {
            call: Alone::new(work, shell),
        }
    }

    fn done(output: H::Output) -> Self {
        Self::Done {
            output: Some(output),
        }
    }
}

impl<W, H, M> Future for Run<W, H, M>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    M: Mode<Leading<W, H>>,
{
    type Output = H::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // ## Alone => (output)
                StateProjection::Alone { call } => return call.poll(cx),
                // ## Lead => (output)
                StateProjection::Lead { call } => return call.poll(cx),
                // ## Follow => (Alone | Done | Follow | Lead)
                StateProjection::Follow { wait, own } => {
                    let waited = ready!(Pin::new(wait).poll(cx));
                    let (work, shell) = own
                        .take()
                        .expect("a follower keeps its own until it is done");
                    let next = State::followed(waited, work, shell, this.mode);
                    this.state.set(next);
                }
                // ## Done => (output)
                StateProjection::Done { output } => {
                    let output = output.take();
                    return Poll::Ready(output.expect("a future is not polled after it was ready"));
                }
            }
        }
    }
}

impl<W, H, M> fmt::Debug for Run<W, H, M>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    M: Mode<Leading<W, H>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Alone { .. } => "alone",
            State::Done { .. } => "done",
            State::Follow { .. } => "follows",
            State::Lead { .. } => "leads",
        };
        f.debug_tuple("Run").field(&state).finish()
    }
}
