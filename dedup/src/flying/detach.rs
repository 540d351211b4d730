//! Work that outlives its caller.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use buttress_wire::tasks::Tasks;

/// Work that can be told that its caller is gone.
pub(super) trait Detachable: Future + Send {
    fn on_detach(&self);
}

/// Work that is polled by its caller, and by a task when the caller goes away.
///
/// # Cancellation
///
/// Dropping it once it has been polled moves the work to a task, which may be drained. Before that nothing has begun, and it is dropped; and so it is
/// where the spawner panics.
pub struct Detach<O: 'static> {
    /// `None` once it is done, or has panicked.
    work: Option<Pin<Box<dyn Detachable<Output = O>>>>,
    begun: bool,
    tasks: Tasks,
}

impl<O> Detach<O> {
    pub(super) fn new(work: Pin<Box<dyn Detachable<Output = O>>>, tasks: Tasks) -> Self {
        Self {
            work: Some(work),
            begun: false,
            tasks,
        }
    }
}

impl<O> Future for Detach<O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        // Taken out: what panics is dropped, and never polled again by a task.
        let mut work = self
            .work
            .take()
            .expect("a future is not polled after it was ready");
        self.begun = true;
        let poll = work.as_mut().poll(cx);
        if poll.is_pending() {
            self.work = Some(work);
        }
        poll
    }
}

impl<O> Drop for Detach<O> {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.begun) else {
            return;
        };
        work.on_detach();
        // Where there is nothing to run it on, the work is dropped by this, and a follower does its own.
        self.tasks.spawn(async move { drop(work.await) });
    }
}
