//! Doing the work: for everyone, or for oneself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Shell, Start};
use crate::coordinate::{Asking, Seat};
use crate::event::Event;
use crate::leader::Leader;

pin_project! {
    /// The work of a leader.
    ///
    /// ```text
    ///  Begin ──► Ask ── the lease is ours, or nobody answers ──► Work ──► (output)
    ///    │        └──── another process did it ──► (output)         ▲
    ///    └──── there are no other processes ────────────────────────┘
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the work, then the lease, then the leader: nobody else begins before the work is gone.
    pub struct Leading<W, H>
    where
        W: Start,
        H: Shell,
    {
        // In this order. The shell has the lease.
        #[pin]
        state: State<W>,
        shell: Option<H>,
        leader: Option<Leader<H::Key, H::Value>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<W>
    where
        W: Start,
    {
        Ask { asked: Asked<W> },
        Begin { work: Option<W> },
        // What has panicked is gone.
        Gone,
        Work { #[pin] work: W::Future },
    }
}

/// Other processes are being asked, and the work waits. Behind a pointer: few layers ask, and every future, a follower's too, has room for what a leader
/// needs.
type Asked<W> = Box<(Asking, Option<W>)>;

impl<W, H> Leading<W, H>
where
    W: Start,
    H: Shell,
{
    /// Nothing of the user's is called before this is polled: whatever panics then, the leader is here.
    pub(crate) fn new(leader: Leader<H::Key, H::Value>, work: W, shell: H) -> Self {
        Self {
            state: State::Begin { work: Some(work) },
            shell: Some(shell),
            leader: Some(leader),
        }
    }
}

impl<W, H> Leading<W, H>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
{
    fn advance(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Output> {
        loop {
            let this = self.as_mut().project();
            match this.state.project() {
                // ## Begin => (Ask | Work)
                StateProjection::Begin { work } => {
                    let work = work.take().expect(ONCE);
                    self.as_mut().begin(work);
                }
                // ## Ask => (Work | (output))
                StateProjection::Ask { asked } => {
                    let (asking, work) = &mut **asked;
                    let seat = ready!(asking.as_mut().poll(cx));
                    let work = work.take().expect(ONCE);
                    if let Some(output) = self.as_mut().seated(seat) {
                        return Poll::Ready(output);
                    }
                    let work = work.start();
                    self.as_mut().project().state.set(State::Work { work });
                }
                // ## Work => (output)
                StateProjection::Work { work } => {
                    let result = ready!(work.poll(cx));
                    return Poll::Ready(self.land(result));
                }
                StateProjection::Gone => panic!("a leader was polled after it was done"),
            }
        }
    }

    fn begin(self: Pin<&mut Self>, work: W) {
        let mut this = self.project();
        let shell = this.shell.as_ref().expect(ONCE);
        // Beside an older flight of the key, which may hold the lease itself, or leave it to its body, there is nobody to wait for: that one is not to be joined.
        let is_beside = this.leader.as_ref().is_some_and(Leader::is_beside);
        let others = shell.coordination().filter(|_| !is_beside);
        let asking = others.map(|others| others.coordinator.join(others.key, others.max_age));
        this.state.set(match asking {
            Some(asking) => State::Ask {
                asked: Box::new((asking, Some(work))),
            },
            None => State::Work { work: work.start() },
        });
    }

    /// `None` when the work has to be done here.
    fn seated(self: Pin<&mut Self>, seat: Seat) -> Option<H::Output> {
        let this = self.project();
        let shell = this.shell.as_mut().expect(ONCE);
        match seat {
            Seat::Lead(lease) => {
                shell.hold(lease);
                None
            }
            Seat::Local(why) => {
                if let Some(why) = why {
                    shell.tell(Event::Uncoordinated(&*why));
                }
                None
            }
            Seat::Received(value) => {
                let output = shell.land_received(value, this.leader);
                shell.tell(match output {
                    Some(_) => Event::Received,
                    None => Event::Uncoordinated(&Unreadable),
                });
                output
            }
        }
    }

    fn land(self: Pin<&mut Self>, result: H::Result) -> H::Output {
        let this = self.project();
        let leader = this.leader.take().expect(ONCE);
        let shell = this.shell.take().expect(ONCE);
        shell.land(result, leader)
    }
}

/// What another process has made cannot be read here.
#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result of another process cannot be read")
    }
}

impl std::error::Error for Unreadable {}

const ONCE: &str = "a leader does its work once";

#[cfg(feature = "detached")]
impl<W, H> super::detach::Detachable for Leading<W, H>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    Self: Send,
{
    fn on_detach(&self) {
        if let Some(leader) = &self.leader {
            leader.tell(Event::Detached);
        }
    }
}

impl<W, H> Future for Leading<W, H>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
{
    type Output = H::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Output> {
        let mut on_panic = HandOver(self);
        let poll = on_panic.0.as_mut().advance(cx);
        std::mem::forget(on_panic);
        poll
    }
}

/// Work that panics is over at once, also if whoever caught the panic keeps what is left of it.
struct HandOver<'a, W: Start, H: Shell>(Pin<&'a mut Leading<W, H>>);

impl<W: Start, H: Shell> Drop for HandOver<'_, W, H> {
    fn drop(&mut self) {
        let mut this = self.0.as_mut().project();
        this.state.set(State::Gone);
        drop(this.shell.take());
        drop(this.leader.take());
    }
}

pin_project! {
    /// Work for one caller.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the work.
    pub struct Alone<W, H>
    where
        W: Start,
    {
        #[pin]
        work: Solo<W>,
        shell: Option<H>,
    }
}

pin_project! {
    #[project = SoloProjection]
    enum Solo<W>
    where
        W: Start,
    {
        Begin { work: Option<W> },
        Work { #[pin] work: W::Future },
    }
}

impl<W: Start, H> Alone<W, H> {
    pub(crate) fn new(work: W, shell: H) -> Self {
        Self {
            work: Solo::Begin { work: Some(work) },
            shell: Some(shell),
        }
    }
}

impl<W: Start> Solo<W> {
    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<<W::Future as Future>::Output> {
        // ## Begin => Work
        if let SoloProjection::Begin { work } = self.as_mut().project() {
            let work = work.take().expect(ONCE).start();
            self.set(Self::Work { work });
        }
        match self.project() {
            // ## Work => (output)
            SoloProjection::Work { work } => work.poll(cx),
            SoloProjection::Begin { .. } => unreachable!("it has just begun"),
        }
    }
}

impl<W, H> Future for Alone<W, H>
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
{
    type Output = H::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Output> {
        let this = self.project();
        let result = ready!(this.work.advance(cx));
        let shell = this
            .shell
            .take()
            .expect("a future is not polled after it was ready");
        Poll::Ready(shell.alone(result))
    }
}
