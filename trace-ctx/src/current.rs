//! The context of what is being polled on this thread, and how other tasks get one.

use std::cell::Cell;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::slot::Slot;
use crate::{Note, TraceContext};

thread_local! {
    /// Without a destructor, which each of many accesses would have to ask about: it is empty when a thread ends, since whoever enters leaves.
    static CURRENT: Cell<ManuallyDrop<Slot>> = const { Cell::new(ManuallyDrop::new(Slot::EMPTY)) };
}

/// The context of whatever is being polled on this thread.
///
/// Set while a layer of this crate polls its inner service's future or body, while these are dropped, and by
/// [`InTrace`]. Not inherited by spawned tasks: give them one with [`InTrace::in_current_trace`].
#[must_use]
pub fn current() -> Option<TraceContext> {
    let mut copy = with(|context| context.cloned())?;
    copy.is_told = false;
    Some(copy)
}

/// A copy of a context, with what was said of its request since it was made, if that is the current one.
pub(crate) fn caught_up(mut copy: TraceContext) -> TraceContext {
    with(|current| current.map(|current| copy.catch_up(current)));
    copy
}

/// Lends the current context. `look` must not call code of the user: it would find none.
pub(crate) fn with<R>(look: impl FnOnce(Option<&TraceContext>) -> R) -> R {
    lend(|slot| look(slot.get()))
}

/// Adds a note to the current context, if a sink is to be told of it. Made only then.
pub(crate) fn note(make: impl FnOnce() -> Note) {
    let is_wanted = with(|context| context.is_some_and(|context| context.is_told));
    // Made while nothing is lent: words of an error are code of the user.
    let note = is_wanted.then(make);
    if let Some(note) = note {
        change(|context| context.note(note));
    }
}

/// Changes the current context, if there is one. `change` must not call code of the user: it would find none.
pub(crate) fn change(change: impl FnOnce(&mut TraceContext)) {
    lend(|slot| slot.get_mut().map(change));
}

/// Takes the current context out for a moment. By a guard, so that it is back also after a panic.
fn lend<R>(look: impl FnOnce(&mut Slot) -> R) -> R {
    let mut none = Slot::EMPTY;
    let lent = Entered::new(&mut none);
    look(lent.slot)
}

/// Makes a context current until dropped, also by a panic. What is moved is where it is, and not the context.
pub(crate) struct Entered<'a> {
    /// While we live: what was current before.
    slot: &'a mut Slot,
}

impl<'a> Entered<'a> {
    #[inline(always)]
    pub(crate) fn new(slot: &'a mut Slot) -> Self {
        swap(slot);
        Self { slot }
    }
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        swap(self.slot);
    }
}

#[inline(always)]
fn swap(slot: &mut Slot) {
    CURRENT.with(|current| {
        let ours = ManuallyDrop::new(mem::take(slot));
        *slot = ManuallyDrop::into_inner(current.replace(ours));
    });
}

/// Gives futures a context of their own.
pub trait InTrace: Future + Sized {
    /// Makes this context [`current()`] whenever the future is polled, and while it is dropped.
    fn in_trace(self, context: TraceContext) -> Traced<Self> {
        Traced {
            inner: Some(self),
            context: Slot::of(context),
        }
    }

    /// Keeps the context that is [`current()`] now, for a task that is spawned:
    ///
    /// ```
    /// # async fn send_receipt() {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use buttress_trace_ctx::InTrace;
    ///
    /// tokio::spawn(send_receipt().in_current_trace());
    /// # }
    /// ```
    fn in_current_trace(self) -> Traced<Self> {
        Traced {
            inner: Some(self),
            context: current().map(Slot::of).unwrap_or_default(),
        }
    }
}

impl<F: Future> InTrace for F {}

impl TraceContext {
    /// Makes this context [`current()`] while `run` does, also on a thread of its own:
    ///
    /// ```
    /// # use buttress_trace_ctx::{FastIds, TraceContext, current};
    /// # let context = TraceContext::root(&FastIds);
    /// let work = std::thread::spawn(|| context.scope(|| current().is_some()));
    /// # assert!(work.join().unwrap());
    /// ```
    pub fn scope<R>(self, run: impl FnOnce() -> R) -> R {
        let mut slot = Slot::of(self);
        let _entered = Entered::new(&mut slot);
        run()
    }
}

/// Spawns a task on tokio's runtime that keeps the context that is [`current()`] now: `tokio::spawn` of
/// [`in_current_trace`](InTrace::in_current_trace).
///
/// The task outlives the request, whose record does not wait for it. A `tracing` span is not taken along; `.in_current_span()` does that.
///
/// # Panics
///
/// Outside of a runtime, as `tokio::spawn` does.
///
/// # Cancellation
///
/// Dropping the handle detaches the task.
#[cfg(feature = "tokio")]
#[track_caller]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.in_current_trace())
}

pin_project! {
    /// A future with a context of its own: [`InTrace::in_trace`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future, with the context still current.
    pub struct Traced<F> {
        #[pin]
        inner: Option<F>,
        context: Slot,
    }

    impl<F> PinnedDrop for Traced<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = Entered::new(this.context);
            this.inner.set(None);
        }
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = Entered::new(this.context);
        this.inner
            .as_pin_mut()
            .expect("present until dropped")
            .poll(cx)
    }
}

impl<F: fmt::Debug> fmt::Debug for Traced<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced")
            .field("context", &self.context.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;
    use crate::{FastIds, SpanId};

    fn root() -> TraceContext {
        TraceContext::root(&FastIds)
    }

    fn span() -> Option<SpanId> {
        current().map(|context| context.span_id())
    }

    #[test]
    fn a_context_is_current_inside_and_nowhere_else() {
        let (outer, inner) = (root(), root());
        let ids = (outer.span_id(), inner.span_id());
        let mut future = task::spawn(
            async move {
                assert_eq!(span(), Some(ids.0));
                async move { assert_eq!(span(), Some(ids.1)) }
                    .in_trace(inner)
                    .await;
                tokio::task::yield_now().await;
                assert_eq!(span(), Some(ids.0));
            }
            .in_trace(outer),
        );
        assert_pending!(future.poll());
        assert_eq!(span(), None, "between two polls");
        assert_ready!(future.poll());
        assert_eq!(span(), None);
    }

    #[test]
    fn a_panic_restores_what_was_current() {
        let outer = root();
        let id = outer.span_id();
        let panics = async { panic!("inside") }.in_trace(root());
        let mut panics = Box::pin(panics);
        let body = async move {
            let mut poll = std::pin::pin!(std::future::poll_fn(|cx| {
                let caught = catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(cx)));
                assert!(caught.is_err());
                Poll::Ready(())
            }));
            poll.as_mut().await;
            assert_eq!(span(), Some(id));
        };
        tokio_test::block_on(body.in_trace(outer));
        assert_eq!(span(), None);
    }

    #[test]
    fn the_context_is_current_while_the_future_is_dropped() {
        struct Watch(SpanId);
        impl Drop for Watch {
            fn drop(&mut self) {
                assert_eq!(span(), Some(self.0));
            }
        }
        let cx = root();
        let watch = Watch(cx.span_id());
        let never = async move {
            let _watch = watch;
            std::future::pending::<()>().await;
        };
        let mut never = task::spawn(never.in_trace(cx));
        assert_pending!(never.poll());
        drop(never);
        assert_eq!(span(), None);
    }

    /// Whichever of the thread's locals goes first: they go in the opposite order of their first use. What fails in there aborts the test.
    #[test]
    fn the_context_is_current_while_a_thread_that_ends_drops_the_future() {
        use std::cell::RefCell;
        use std::sync::mpsc::{Sender, channel};

        struct Tell(Sender<[Option<SpanId>; 2]>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let inside = root().scope(span);
                let _ = self.0.send([span(), inside]);
            }
        }
        type Never = Traced<Pin<Box<dyn Future<Output = ()>>>>;
        thread_local! {
            static KEPT: RefCell<Option<Never>> = const { RefCell::new(None) };
        }
        for goes_last in [true, false] {
            let (cx, (tell, told)) = (root(), channel());
            let id = cx.span_id();
            let thread = std::thread::spawn(move || {
                if goes_last {
                    KEPT.with(|_| ());
                }
                assert_eq!(span(), None);
                let tell = Tell(tell);
                let never = async move {
                    let _tell = tell;
                    std::future::pending().await
                };
                let never: Pin<Box<dyn Future<Output = ()>>> = Box::pin(never);
                let never = never.in_trace(cx);
                KEPT.set(Some(never));
            });
            thread.join().unwrap();
            let [outer, inner] = told.recv().unwrap();
            assert_eq!(outer, Some(id));
            assert!(inner.is_some_and(|inner| inner != id));
        }
    }

    #[test]
    fn a_spawned_task_keeps_the_context_only_when_asked() {
        let cx = root();
        let id = cx.span_id();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(
            async move {
                let bare = tokio::spawn(async { span() });
                let kept = tokio::spawn(async { span() }.in_current_trace());
                assert_eq!(bare.await.unwrap(), None);
                assert_eq!(kept.await.unwrap(), Some(id));
            }
            .in_trace(cx),
        );
    }
}
