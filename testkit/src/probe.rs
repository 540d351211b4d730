//! A scripted service that watches how it is used.
//!
//! A [`Probe`] stands behind any number of [`Probed`] services, their futures and their bodies. Each of them waits for
//! *turns*: [`Probe::turn`] is the only thing that lets them go on, and it wakes whoever waits. So a test decides every step, and
//! knows at each of them who must be asleep and who must be awake.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

/// How many turns each step of a [`Probed`] service waits for.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Turns until an instance that was asked is ready.
    pub ready_after: usize,
    /// Turns until a call is answered.
    pub answer_after: usize,
    /// Turns until each frame of a body.
    pub frame_after: usize,
}

impl Script {
    /// Nothing waits.
    pub const IMMEDIATE: Self = Self {
        ready_after: 0,
        answer_after: 0,
        frame_after: 0,
    };
    /// Every step waits for two turns, so that a layer is seen between them.
    pub const STEPWISE: Self = Self {
        ready_after: 2,
        answer_after: 2,
        frame_after: 1,
    };
}

/// Sees and moves everything that was made from it. A clone is the same probe.
#[derive(Clone, Debug)]
pub struct Probe {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    turns: AtomicUsize,
    sleepers: Mutex<Vec<Waker>>,
    calls: AtomicUsize,
    ready_polls: AtomicUsize,
    permits: AtomicUsize,
    futures: AtomicUsize,
    bodies: AtomicUsize,
}

impl Probe {
    /// A probe whose services follow `script`.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self {
            shared: Arc::new(Shared {
                script,
                turns: AtomicUsize::new(0),
                sleepers: Mutex::default(),
                calls: AtomicUsize::new(0),
                ready_polls: AtomicUsize::new(0),
                permits: AtomicUsize::new(0),
                futures: AtomicUsize::new(0),
                bodies: AtomicUsize::new(0),
            }),
        }
    }

    /// A service that answers each call with `answer`.
    pub fn service<Req, Res, F>(&self, answer: F) -> Probed<F>
    where
        F: Fn(&Probe, Req) -> Result<Res, ProbeError> + Clone,
    {
        Probed {
            probe: self.clone(),
            answer,
            wait: self.wait(self.shared.script.ready_after),
            permit: None,
        }
    }

    /// A body of these data frames.
    #[must_use]
    pub fn body(&self, frames: &'static [&'static str]) -> ProbedBody {
        let wait = self.wait(self.shared.script.frame_after);
        ProbedBody {
            frames,
            wait,
            alive: Alive::new(&self.shared, |s| &s.bodies),
        }
    }

    /// Lets everything that waits go one step further, and wakes it.
    pub fn turn(&self) {
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        let sleepers = std::mem::take(&mut *self.shared.sleepers.lock().unwrap());
        sleepers.into_iter().for_each(Waker::wake);
    }

    /// How often an instance was called.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// How often an instance was asked whether it is ready.
    #[must_use]
    pub fn ready_polls(&self) -> usize {
        self.shared.ready_polls.load(Ordering::SeqCst)
    }

    /// Instances that are ready and were not called yet, and calls under way: what a concurrency limit would count.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.shared.permits.load(Ordering::SeqCst)
    }

    /// Response futures that exist.
    #[must_use]
    pub fn futures(&self) -> usize {
        self.shared.futures.load(Ordering::SeqCst)
    }

    /// Bodies that exist.
    #[must_use]
    pub fn bodies(&self) -> usize {
        self.shared.bodies.load(Ordering::SeqCst)
    }

    fn wait(&self, turns: usize) -> Wait {
        Wait {
            shared: Arc::clone(&self.shared),
            turns,
            since: None,
        }
    }
}

/// A service made by [`Probe::service`]. Panics when an instance that was not made ready is called.
#[derive(Debug)]
pub struct Probed<F> {
    probe: Probe,
    answer: F,
    wait: Wait,
    permit: Option<Alive>,
}

/// A clone has to be made ready itself.
impl<F: Clone> Clone for Probed<F> {
    fn clone(&self) -> Self {
        let wait = self.probe.wait(self.probe.shared.script.ready_after);
        Self {
            probe: self.probe.clone(),
            answer: self.answer.clone(),
            wait,
            permit: None,
        }
    }
}

impl<F, Req, Res> Service<Req> for Probed<F>
where
    F: Fn(&Probe, Req) -> Result<Res, ProbeError> + Clone,
{
    type Response = Res;
    type Error = ProbeError;
    type Future = ProbedFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.probe.shared.ready_polls.fetch_add(1, Ordering::SeqCst);
        if self.permit.is_none() {
            std::task::ready!(self.wait.poll(cx));
            self.permit = Some(Alive::new(&self.probe.shared, |s| &s.permits));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> ProbedFuture<Res> {
        let permit = self
            .permit
            .take()
            .expect("an instance was called that was not made ready");
        self.wait.since = None;
        self.probe.shared.calls.fetch_add(1, Ordering::SeqCst);
        ProbedFuture {
            answer: Some((self.answer)(&self.probe, request)),
            wait: self.probe.wait(self.probe.shared.script.answer_after),
            _alive: (permit, Alive::new(&self.probe.shared, |s| &s.futures)),
        }
    }
}

/// The answer of a [`Probed`] service. Panics when it is polled after it was ready.
#[derive(Debug)]
pub struct ProbedFuture<Res> {
    answer: Option<Result<Res, ProbeError>>,
    wait: Wait,
    _alive: (Alive, Alive),
}

impl<Res> Unpin for ProbedFuture<Res> {}

impl<Res> Future for ProbedFuture<Res> {
    type Output = Result<Res, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::task::ready!(self.wait.poll(cx));
        Poll::Ready(
            self.answer
                .take()
                .expect("a future was polled after it was ready"),
        )
    }
}

/// A body made by [`Probe::body`].
#[derive(Debug)]
pub struct ProbedBody {
    frames: &'static [&'static str],
    wait: Wait,
    #[allow(dead_code, reason = "counts this body while it lives")]
    alive: Alive,
}

impl Body for ProbedBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        let Some((first, rest)) = self.frames.split_first() else {
            return Poll::Ready(None);
        };
        std::task::ready!(self.wait.poll(cx));
        self.wait.since = None;
        self.frames = rest;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(first.as_bytes())))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frames.iter().map(|frame| frame.len() as u64).sum())
    }
}

/// The error of everything scripted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProbeError;

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted failure")
    }
}

impl std::error::Error for ProbeError {}

/// Waits for a number of turns, from the first poll on.
#[derive(Debug)]
struct Wait {
    shared: Arc<Shared>,
    turns: usize,
    since: Option<usize>,
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.turns.load(Ordering::SeqCst);
        if now - *self.since.get_or_insert(now) >= self.turns {
            return Poll::Ready(());
        }
        let mut sleepers = self.shared.sleepers.lock().unwrap();
        if !sleepers.iter().any(|sleeper| sleeper.will_wake(cx.waker())) {
            sleepers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Counts one while it lives.
struct Alive {
    shared: Arc<Shared>,
    counter: fn(&Shared) -> &AtomicUsize,
}

impl Alive {
    fn new(shared: &Arc<Shared>, counter: fn(&Shared) -> &AtomicUsize) -> Self {
        counter(shared).fetch_add(1, Ordering::SeqCst);
        Self {
            shared: Arc::clone(shared),
            counter,
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        (self.counter)(&self.shared).fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alive")
    }
}
