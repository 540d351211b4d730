//! Who is asleep on a tape.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use crate::sync::{Mutex, MutexGuard};

/// The wakers of a tape's readers. It is itself the waker that the body is polled with, so that whoever of them is polled
/// first goes on, and none depends on the one that happened to poll last.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Most tapes have one reader, and it needs no map.
    first: Option<(u64, Waker)>,
    /// The others by reader, and so in the order they came. Many may read one tape, and each looks itself up for every frame.
    others: BTreeMap<u64, Waker>,
    /// The body woke us since the last [`Wakers::expect`].
    notified: bool,
}

impl Wakers {
    /// Wakes `waker` when there is something new for the reader `id`. Gives the one that it replaces: its drop may run a user's code, and is not to be under a lock.
    ///
    /// `is_to_poll` says that it polls the body now: what the body says from here on is news.
    #[must_use = "it is dropped without a lock"]
    pub(super) fn sleep(&self, id: u64, waker: &Waker, is_to_poll: bool) -> Option<Waker> {
        let mut state = self.lock();
        state.notified &= !is_to_poll;
        match state.find(id) {
            Some(asleep) if asleep.will_wake(waker) => None,
            Some(asleep) => Some(std::mem::replace(asleep, waker.clone())),
            None => {
                state.add(id, waker.clone());
                None
            }
        }
    }

    /// The reader `id` is awake, or gone.
    pub(super) fn forget(&self, id: u64) {
        let mut state = self.lock();
        let gone = state.remove(id);
        drop(state);
        drop(gone);
    }

    /// Whether the body has woken us since a reader began to poll it.
    pub(super) fn was_notified(&self) -> bool {
        self.lock().notified
    }

    /// Wakes every reader.
    pub(super) fn wake_all(&self) {
        self.wake(self.lock());
    }

    /// The reader `awake` is awake, or gone. Wakes every other one.
    pub(super) fn wake_others(&self, awake: u64) {
        let mut state = self.lock();
        let gone = state.remove(awake);
        self.wake(state);
        drop(gone);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let (first, others) = (state.first.take(), std::mem::take(&mut state.others));
        drop(state);
        let first = first.map(|(_, waker)| waker);
        first
            .into_iter()
            .chain(others.into_values())
            .for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, id: u64) -> Option<&mut Waker> {
        match &mut self.first {
            Some((first, waker)) if *first == id => Some(waker),
            _ => self.others.get_mut(&id),
        }
    }

    fn add(&mut self, id: u64, waker: Waker) {
        if self.first.is_none() {
            self.first = Some((id, waker));
        } else {
            self.others.insert(id, waker);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Waker> {
        match self.first.take_if(|(first, _)| *first == id) {
            Some((_, waker)) => Some(waker),
            None => self.others.remove(&id),
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.lock().notified = true;
        self.wake_all();
    }
}
