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
    ///    │ │ └─ a value ──────────► (output)
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
    /// Takes this part in a flight; without one, goes alone.
    #[inline(always)]
    pub(crate) fn new(role: Option<Role<H::Key, H::Value>>, work: W, shell: H, mode: M) -> Self {
        let state = match role {
            Some(role) => State::of(role, work, shell, &mode),
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
    /// Made where it stays: a future that is moved costs more than all that is looked up for it.
    #[inline(always)]
    fn of(role: Role<H::Key, H::Value>, work: W, shell: H, mode: &M) -> Self {
        match role {
            Role::Leader(leader) => Self::lead(leader, work, shell, mode),
            Role::Follower(wait) => Self::Follow {
                wait,
                own: Some((work, shell)),
            },
            Role::Landed(value) => Self::landed(value, work, shell),
            Role::Full => Self::full(work, shell),
        }
    }

    #[inline(never)]
    fn landed(value: H::Value, work: W, mut shell: H) -> Self {
        match shell.receive(value) {
            Received::Done(output) => Self::done(output),
            Received::Alone => Self::alone(work, shell),
        }
    }

    #[inline(never)]
    fn full(work: W, mut shell: H) -> Self {
        match shell.full() {
            Some(output) => Self::done(output),
            None => Self::alone(work, shell),
        }
    }

    /// What a follower comes to: most get a value, and nothing is moved for it. Or how it goes on, with its own.
    fn followed(
        waited: Waited<H::Key, H::Value>,
        own: &mut Option<(W, H)>,
        mode: &M,
    ) -> Result<H::Output, Self> {
        let leader = match waited {
            Waited::Promoted(leader) => Some(leader),
            Waited::TimedOut => None,
            Waited::Value(value) => match own.as_mut().expect(OWN).1.receive(value) {
                Received::Done(output) => return Ok(output),
                Received::Alone => None,
            },
        };
        let own = own.take().expect(OWN);
        Err(Self::on_its_own(leader, own, mode))
    }

    #[inline(never)]
    fn on_its_own(
        leader: Option<Leader<H::Key, H::Value>>,
        (work, shell): (W, H),
        mode: &M,
    ) -> Self {
        match leader {
            Some(leader) => Self::lead(leader, work, shell, mode),
            None => Self::alone(work, shell),
        }
    }

    #[inline(always)]
    fn lead(leader: Leader<H::Key, H::Value>, work: W, shell: H, mode: &M) -> Self {
        Self::Lead {
            call: mode.lead(Leading::new(leader, work, shell)),
        }
    }

    #[inline(always)]
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

const OWN: &str = "a follower keeps its own until it is done";

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
                // ## Follow => (Alone | Done | Follow | Lead | (output))
                StateProjection::Follow { wait, own } => {
                    let waited = ready!(Pin::new(wait).poll(cx));
                    match State::followed(waited, own, this.mode) {
                        Ok(output) => {
                            this.state.set(State::Done { output: None });
                            return Poll::Ready(output);
                        }
                        Err(next) => this.state.set(next),
                    }
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
