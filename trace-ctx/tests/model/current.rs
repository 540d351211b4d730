//! Many tasks on one thread, polled, dropped and panicking in any order: each sees its own context and nobody else's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use buttress_trace_ctx::{FastIds, InTrace, SpanId, TraceContext, current};
use proptest::prelude::*;

fn span() -> Option<SpanId> {
    current().map(|context| context.span_id())
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Poll(usize),
    Drop(usize),
    PollInside(usize),
}

#[derive(Clone, Copy, Debug)]
struct Task {
    pends: usize,
    panics: bool,
    nested: bool,
}

fn history() -> impl Strategy<Value = (Vec<Task>, Vec<Do>)> {
    let task = (0usize..4, prop::bool::weighted(0.2), any::<bool>()).prop_map(
        |(pends, panics, nested)| Task {
            pends,
            panics,
            nested,
        },
    );
    let step = prop_oneof![
        4 => (0usize..4).prop_map(Do::Poll),
        1 => (0usize..4).prop_map(Do::Drop),
        2 => (0usize..4).prop_map(Do::PollInside),
    ];
    (
        prop::collection::vec(task, 4),
        prop::collection::vec(step, 0..24),
    )
}

/// Says at every poll, and when it is dropped, whose context it finds.
struct Watch(SpanId);

impl Watch {
    fn look(&self) {
        assert_eq!(span(), Some(self.0));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.look();
    }
}

type Running = Option<Pin<Box<dyn Future<Output = ()>>>>;

fn start(task: Task) -> Running {
    let context = TraceContext::root(&FastIds);
    let watch = Watch(context.span_id());
    let work = async move {
        for _ in 0..task.pends {
            watch.look();
            tokio::task::yield_now().await;
        }
        if task.nested {
            let child = current().unwrap().child(&FastIds);
            let id = child.span_id();
            let inside = async move {
                assert_eq!(span(), Some(id));
                tokio::task::yield_now().await;
                assert_eq!(span(), Some(id));
            };
            inside.in_trace(child).await;
        }
        watch.look();
        if task.panics {
            std::panic::resume_unwind(Box::new("planned"));
        }
    };
    Some(Box::pin(work.in_trace(context)))
}

fn poll(running: &mut Running) -> Result<(), TestCaseError> {
    let Some(future) = running else { return Ok(()) };
    let before = span();
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
    prop_assert_eq!(span(), before, "after a poll, and after a panic");
    match polled {
        Ok(Poll::Pending) => {}
        Ok(Poll::Ready(())) => *running = None,
        Err(panic) => {
            prop_assert!(
                panic.downcast_ref::<&str>() == Some(&"planned"),
                "an assertion inside"
            );
            *running = None;
        }
    }
    prop_assert_eq!(span(), before, "after a drop");
    Ok(())
}

proptest! {
    #[test]
    fn each_sees_its_own_and_leaves_what_it_found((tasks, steps) in history()) {
        let mut running: Vec<_> = tasks.into_iter().map(start).collect();
        for step in steps {
            match step {
                Do::Poll(one) => poll(&mut running[one])?,
                Do::Drop(one) => running[one] = None,
                // As a task that polls another's future by hand.
                Do::PollInside(place) => {
                    let context = TraceContext::root(&FastIds);
                    let id = context.span_id();
                    let mut inner = running[place].take();
                    let polled = context.scope(|| {
                        let polled = poll(&mut inner);
                        assert_eq!(span(), Some(id));
                        polled
                    });
                    polled?;
                    running[place] = inner;
                }
            }
            prop_assert_eq!(span(), None);
            let elsewhere = std::thread::spawn(span).join().unwrap();
            prop_assert_eq!(elsewhere, None);
        }
        drop(running);
        prop_assert_eq!(span(), None);
    }
}
