//! The plain machine of those who wait for one flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

/// Who waits, in the order they came, and what they were told.
///
/// ```text
///            promote            poll of the promoted
///  waiting ─────────► promoted ──────────────────────► (leads, no longer here)
///     │  ◄──── the promoted leaves: someone else ────┘
///     └─ publish ─► landed: everyone reads the value
/// ```
#[derive(Debug)]
pub(crate) struct Queue<V> {
    waiters: VecDeque<Option<Waiter>>,
    /// The ticket of `waiters[0]`.
    base: u64,
    live: usize,
    promoted: Option<u64>,
    value: Option<Arc<V>>,
}

#[derive(Debug)]
struct Waiter {
    waker: Option<Waker>,
    deadline: Option<Instant>,
}

/// What a waiter finds when it looks.
#[derive(Debug)]
pub(crate) enum Found<V> {
    /// It leads now, and has left the queue.
    Promoted,
    /// It has waited long enough, and has left the queue.
    TimedOut,
    /// The result.
    Value(Arc<V>),
    /// Nothing yet.
    Wait,
}

impl<V> Queue<V> {
    pub(crate) fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
            base: 0,
            live: 0,
            promoted: None,
            value: None,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Another one comes, and gets a ticket.
    pub(crate) fn enter(&mut self, deadline: Option<Instant>) -> u64 {
        self.waiters.push_back(Some(Waiter {
            waker: None,
            deadline,
        }));
        self.live += 1;
        self.base + self.waiters.len() as u64 - 1
    }

    /// The holder of `ticket` looks what there is, at `now`. While there is nothing, `waker` is kept; the one it replaces is
    /// handed back, to be dropped outside the lock.
    pub(crate) fn look(
        &mut self,
        ticket: u64,
        waker: &Waker,
        now: impl FnOnce() -> Instant,
    ) -> (Found<V>, Option<Waker>) {
        if let Some(value) = &self.value {
            return (Found::Value(Arc::clone(value)), None);
        }
        if self.promoted == Some(ticket) {
            self.promoted = None;
            return (Found::Promoted, self.remove(ticket));
        }
        if self
            .deadline(ticket)
            .is_some_and(|deadline| deadline <= now())
        {
            return (Found::TimedOut, self.remove(ticket));
        }
        (Found::Wait, self.sleep(ticket, waker))
    }

    /// The holder of `ticket` goes away. Tells whether it had been promoted: then someone else has to be.
    pub(crate) fn leave(&mut self, ticket: u64) -> (bool, Option<Waker>) {
        let promoted = self.promoted == Some(ticket);
        if promoted {
            self.promoted = None;
        }
        (promoted, self.remove(ticket))
    }

    /// Makes the one who came first the leader. `None` when nobody is left; else the waker to wake it with, if it is asleep.
    pub(crate) fn promote(&mut self) -> Option<Option<Waker>> {
        let first = self.first()?;
        self.promoted = Some(first);
        let waiter = self.waiters.front_mut().and_then(Option::as_mut);
        Some(waiter.and_then(|waiter| waiter.waker.take()))
    }

    /// Everyone gets `value`. Gives the wakers to wake.
    pub(crate) fn publish(&mut self, value: Arc<V>) -> Vec<Waker> {
        self.value = Some(value);
        self.waiters
            .iter_mut()
            .flatten()
            .filter_map(|waiter| waiter.waker.take())
            .collect()
    }

    /// When the holder of `ticket` gives up, if it is the one whose turn it is to watch the clock: the first in the queue, who
    /// came first and so gives up first.
    pub(crate) fn watches_until(&self, ticket: u64) -> Option<Instant> {
        if self.first() == Some(ticket) {
            self.deadline(ticket)
        } else {
            None
        }
    }

    /// The waker of the first in the queue, who has to take over the watch.
    pub(crate) fn next_watch(&self) -> Option<Waker> {
        let first = self.waiters.front()?.as_ref()?;
        first.deadline.and_then(|_| first.waker.clone())
    }

    fn first(&self) -> Option<u64> {
        // `remove` keeps the front occupied.
        self.waiters.front().map(|_| self.base)
    }

    fn slot(&mut self, ticket: u64) -> Option<&mut Option<Waiter>> {
        self.waiters
            .get_mut(ticket.checked_sub(self.base)? as usize)
    }

    fn deadline(&self, ticket: u64) -> Option<Instant> {
        self.waiters
            .get(ticket.checked_sub(self.base)? as usize)?
            .as_ref()?
            .deadline
    }

    fn sleep(&mut self, ticket: u64, waker: &Waker) -> Option<Waker> {
        let waiter = self.slot(ticket)?.as_mut()?;
        match &waiter.waker {
            Some(kept) if kept.will_wake(waker) => None,
            _ => waiter.waker.replace(waker.clone()),
        }
    }

    fn remove(&mut self, ticket: u64) -> Option<Waker> {
        let waiter = self.slot(ticket)?.take()?;
        self.live -= 1;
        while let Some(None) = self.waiters.front() {
            self.waiters.pop_front();
            self.base += 1;
        }
        waiter.waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(waiters: usize) -> Queue<&'static str> {
        let mut queue = Queue::new();
        (0..waiters).for_each(|ticket| assert_eq!(queue.enter(None), ticket as u64));
        queue
    }

    fn look(queue: &mut Queue<&'static str>, ticket: u64) -> Found<&'static str> {
        queue.look(ticket, Waker::noop(), Instant::now).0
    }

    #[test]
    fn the_first_to_come_is_promoted_and_only_that_one() {
        let mut queue = queue(3);
        assert!(queue.promote().is_some());
        assert!(matches!(look(&mut queue, 1), Found::Wait));
        assert!(matches!(look(&mut queue, 0), Found::Promoted));
        assert_eq!(queue.len(), 2);
        assert!(matches!(look(&mut queue, 1), Found::Wait));
    }

    #[test]
    fn who_was_promoted_and_leaves_says_so() {
        let mut queue = queue(2);
        queue.promote();
        assert!(queue.leave(0).0);
        queue.promote();
        assert!(matches!(look(&mut queue, 1), Found::Promoted));
        assert!(queue.promote().is_none(), "nobody is left");
    }

    #[test]
    fn everyone_reads_the_value() {
        let mut queue = queue(2);
        assert_eq!(queue.publish(Arc::new("v")).len(), 0, "nobody is asleep");
        for ticket in [0, 1] {
            assert!(matches!(look(&mut queue, ticket), Found::Value(v) if *v == "v"));
        }
    }

    #[test]
    fn tickets_stay_right_when_others_leave() {
        let mut queue = queue(3);
        queue.leave(0);
        queue.leave(1);
        assert_eq!(queue.enter(None), 3);
        queue.promote();
        assert!(matches!(look(&mut queue, 2), Found::Promoted));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn only_the_first_watches_the_clock() {
        let mut queue = Queue::<()>::new();
        let soon = Instant::now() + std::time::Duration::from_secs(1);
        queue.enter(Some(soon));
        queue.enter(Some(soon));
        assert_eq!(queue.watches_until(0), Some(soon));
        assert_eq!(queue.watches_until(1), None);
        assert!(matches!(
            queue.look(0, Waker::noop(), || soon).0,
            Found::TimedOut
        ));
        assert_eq!(queue.watches_until(1), Some(soon));
    }
}
