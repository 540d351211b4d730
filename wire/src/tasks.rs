//! Work that outlives its caller, and its owner.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

/// Runs a future to its end, somewhere: `tokio::spawn`, another runtime, a pool. Any closure of this shape is one.
pub trait Spawn: Send + Sync + 'static {
    /// Starts `task`. It must be polled until it is ready, or dropped: at once, where there is nothing to run it on. Called in drops, too, which may be those of
    /// a thread without a runtime: it should not panic.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

impl<F> Spawn for F
where
    F: Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
{
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self(task);
    }
}

/// Owns the tasks that one handle detaches, or that several do: counts them, and can wait until none is left. A clone owns the same tasks, and is what
/// [spawns](Spawn) them wherever somebody asks who does.
///
/// ```
/// use buttress_wire::tasks::Tasks;
///
/// # tokio_test::block_on(async {
/// let tasks = Tasks::new(|task| drop(tokio::spawn(task)));
/// tasks.spawn(async { /* an effect that must not be lost with its caller */ });
/// tasks.drain().await;
/// assert_eq!(tasks.running(), 0);
/// # })
/// ```
#[derive(Clone)]
pub struct Tasks {
    spawn: Arc<dyn Spawn>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Those who drain, woken by whoever brings `running` to zero. Bounded by the number of [`Drain`]s alive.
    drains: Vec<(u64, Waker)>,
    next_drain: u64,
}

impl Tasks {
    /// Tasks that `spawn` runs.
    pub fn new(spawn: impl Spawn) -> Self {
        Self {
            spawn: Arc::new(spawn),
            state: Arc::default(),
        }
    }

    /// Starts a task. It counts until it is done, has panicked, or was dropped by its runtime. Where the spawner panics, as `tokio::spawn` does outside of a
    /// runtime, the task has been dropped, and the panic is over: in a drop, it might have ended the process.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().running += 1;
        let counted = Counted {
            state: Arc::clone(&self.state),
        };
        let task = Box::pin(async move {
            let _counted = counted;
            task.await;
        });
        drop(catch_unwind(AssertUnwindSafe(|| self.spawn.spawn(task))));
    }

    /// How many are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lock().running
    }

    /// Waits until none is under way. Put a timeout around it to have a deadline.
    ///
    /// # Cancellation
    ///
    /// Dropping it changes nothing: the tasks go on.
    pub fn drain(&self) -> Drain {
        let mut state = self.lock();
        state.next_drain += 1;
        Drain {
            id: state.next_drain,
            state: Arc::clone(&self.state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// So that everything of a program that detaches can be waited for at once.
impl Spawn for Tasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        Self::spawn(self, task);
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Waits for [`Tasks`] to end; made by [`Tasks::drain`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Drain {
        id: u64,
        state: Arc<Mutex<State>>,
    }

    impl PinnedDrop for Drain {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let id = *this.id;
            let gone: Vec<_> = lock(this.state).drains.extract_if(.., |(of, _)| *of == id).collect();
            drop(gone);
        }
    }
}

impl Future for Drain {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.running == 0 {
            return Poll::Ready(());
        }
        let id = self.id;
        let waker = cx.waker().clone();
        let replaced = match state.drains.iter_mut().find(|(of, _)| *of == id) {
            Some((_, kept)) => Some(std::mem::replace(kept, waker)),
            None => {
                state.drains.push((id, waker));
                None
            }
        };
        drop(state);
        // A waker's drop may run a user's code; not under our lock.
        drop(replaced);
        Poll::Pending
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}

/// Counts one task while it lives.
struct Counted {
    state: Arc<Mutex<State>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.running -= 1;
        let drained = if state.running == 0 {
            std::mem::take(&mut state.drains)
        } else {
            vec![]
        };
        drop(state);
        drained.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn by_hand() -> (Tasks, Arc<Mutex<Vec<Task>>>) {
        let spawned = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&spawned);
        (
            Tasks::new(move |task| sink.lock().unwrap().push(task)),
            spawned,
        )
    }

    #[test]
    fn a_drain_wakes_when_the_last_task_ends() {
        let (tasks, spawned) = by_hand();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        let mut drain = task::spawn(tasks.drain());
        assert_pending!(drain.poll());
        let mut first = task::spawn(spawned.lock().unwrap().remove(0));
        assert_ready!(first.poll());
        assert!(!drain.is_woken(), "one is left");
        assert_eq!(tasks.running(), 1);
        spawned.lock().unwrap().clear();
        assert!(drain.is_woken());
        assert_ready!(drain.poll());
    }

    #[test]
    fn a_task_that_panics_is_over() {
        let (tasks, spawned) = by_hand();
        tasks.spawn(async { panic!("on purpose") });
        let task = spawned.lock().unwrap().remove(0);
        let poll = std::panic::AssertUnwindSafe(|| task::spawn(task).poll());
        assert!(std::panic::catch_unwind(poll).is_err());
        assert_eq!(tasks.running(), 0);
    }

    #[test]
    fn a_task_that_cannot_be_started_is_over_too() {
        let tasks = Tasks::new(|task| {
            drop(task);
            panic!("nowhere to run it")
        });
        tasks.spawn(std::future::pending());
        assert_eq!(tasks.running(), 0);
    }

    #[test]
    fn the_tasks_of_many_are_waited_for_at_once() {
        let (all, spawned) = by_hand();
        let some = Tasks::new(all.clone());
        some.spawn(async {});
        let mut drain = task::spawn(all.drain());
        assert_pending!(drain.poll());
        assert_eq!((some.running(), all.running()), (1, 1));
        let mut only = task::spawn(spawned.lock().unwrap().remove(0));
        assert_ready!(only.poll());
        assert_eq!((some.running(), all.running()), (0, 0));
        assert!(drain.is_woken());
    }

    #[test]
    fn a_dropped_drain_leaves_nothing_behind() {
        let (tasks, _spawned) = by_hand();
        tasks.spawn(std::future::pending());
        let mut drain = task::spawn(tasks.drain());
        assert_pending!(drain.poll());
        drop(drain);
        assert!(tasks.lock().drains.is_empty());
    }
}
