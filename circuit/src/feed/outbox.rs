//! What waits to be told to the others.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::Notify;

use crate::breaker::Shared;
use crate::event::{Cause, Event, Observer, Transition};
use crate::machine::State;
use crate::sync::{Mutex, MutexGuard};

/// Hears of trips for a [`Sharing`](super::Sharing): give it to [`Builder::observer`](crate::Builder::observer). A clone tells the same one.
#[derive(Clone, Debug)]
pub struct Trips(pub(super) Arc<Outbox>);

/// Bounded: one entry for a breaker, and so many breakers.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Tripped>,
    /// Nobody will ever fetch anything.
    closed: bool,
}

/// A breaker that opened, and the generation in which it did.
#[derive(Clone, Debug)]
pub(super) struct Tripped {
    /// Weak: the breaker holds us, and may never be told of.
    pub(super) breaker: Weak<Shared>,
    pub(super) generation: u32,
}

const MAX_WAITING: usize = 256;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// A newer trip of a breaker takes the place of an older one. If there are too many, the oldest is lost.
    pub(super) fn push(&self, tripped: Tripped) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        let same = |known: &Tripped| Weak::ptr_eq(&known.breaker, &tripped.breaker);
        let replaced = match queue.waiting.iter().position(same) {
            Some(at) => queue.waiting.remove(at),
            None if queue.waiting.len() == MAX_WAITING => queue.waiting.pop_front(),
            None => None,
        };
        queue.waiting.push_back(tripped);
        drop(queue);
        drop(replaced);
        self.filled.notify_one();
    }

    /// Could not be told yet. If there is something newer of its breaker, that is told instead.
    pub(super) fn put_back(&self, tripped: Tripped) {
        let mut queue = self.queue();
        let same = |known: &Tripped| Weak::ptr_eq(&known.breaker, &tripped.breaker);
        let is_old = queue.waiting.iter().any(same) || queue.waiting.len() == MAX_WAITING;
        if !queue.closed && !is_old {
            queue.waiting.push_front(tripped);
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Waits for the next. There is one who does.
    ///
    /// # Cancellation
    ///
    /// Dropping it takes nothing.
    pub(super) async fn next(&self) -> Tripped {
        loop {
            if let Some(tripped) = self.pop() {
                return tripped;
            }
            self.filled.notified().await;
        }
    }

    fn pop(&self) -> Option<Tripped> {
        self.queue().waiting.pop_front()
    }

    /// The breakers hold us: what waits for nobody would keep them for ever.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(waiting);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Trips {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Transition(breaker, transition) = event
            && is_news(transition)
        {
            self.0.push(Tripped {
                breaker: Arc::downgrade(&breaker.0),
                generation: transition.generation,
            });
        }
    }
}

/// What this process found out by itself. What it was told, by others or by an operator, goes no further.
fn is_news(transition: &Transition) -> bool {
    let found_out = matches!(
        transition.cause,
        Cause::Tripped(_) | Cause::ProbesFailed | Cause::ProbesTimedOut | Cause::Unhealthy
    );
    found_out && transition.to == State::Open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Breaker;

    fn breakers(many: usize) -> Vec<Breaker> {
        let build = |_| Breaker::builder("test").build().unwrap();
        (0..many).map(build).collect()
    }

    fn trip(breaker: &Breaker, generation: u32) -> Tripped {
        Tripped {
            breaker: Arc::downgrade(&breaker.0),
            generation,
        }
    }

    fn generations(outbox: &Outbox) -> Vec<u32> {
        std::iter::from_fn(|| outbox.pop())
            .map(|tripped| tripped.generation)
            .collect()
    }

    #[test]
    fn what_is_put_back_is_told_first_unless_there_is_something_newer() {
        let (outbox, breakers) = (Outbox::new(), breakers(3));
        outbox.push(trip(&breakers[1], 1));
        outbox.push(trip(&breakers[2], 2));
        outbox.put_back(trip(&breakers[0], 0));
        outbox.put_back(trip(&breakers[2], 9));
        assert_eq!(generations(&outbox), [0, 1, 2]);
    }

    #[test]
    fn a_newer_trip_takes_the_place_of_an_older_one_at_the_end() {
        let (outbox, breakers) = (Outbox::new(), breakers(2));
        for (breaker, generation) in [(0, 1), (1, 2), (0, 3)] {
            outbox.push(trip(&breakers[breaker], generation));
        }
        assert_eq!(generations(&outbox), [2, 3]);
    }

    #[test]
    fn no_more_than_so_many_wait_and_the_oldest_is_lost() {
        let (outbox, breakers) = (Outbox::new(), breakers(MAX_WAITING + 1));
        for (breaker, generation) in breakers.iter().zip(0..) {
            outbox.push(trip(breaker, generation));
        }
        outbox.put_back(trip(&breakers[0], 0));
        let told = generations(&outbox);
        assert_eq!((told.len(), told[0]), (MAX_WAITING, 1));
    }

    #[test]
    fn nothing_waits_for_nobody() {
        let (outbox, breakers) = (Outbox::new(), breakers(2));
        outbox.push(trip(&breakers[0], 1));
        outbox.close();
        outbox.push(trip(&breakers[1], 2));
        outbox.put_back(trip(&breakers[1], 2));
        assert!(generations(&outbox).is_empty());
    }
}
