//! Who follows a flight.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::event::Event;
use crate::leader::Leader;
use crate::line::Line;
use crate::queue::Found;
use crate::table::{Part, Place};

/// How a [`Wait`] ended.
#[derive(Debug)]
#[must_use = "a leader that is dropped makes someone else lead"]
pub enum Waited<K, V> {
    /// The leader went away: this follower leads now.
    Promoted(Leader<K, V>),
    /// The wait timeout has passed. The flight goes on without this follower.
    TimedOut,
    /// The leader's value.
    Value(V),
}

/// Waits for the value of a flight.
///
/// # Cancellation
///
/// Dropping it gives its place in the queue back. If it had just been made the leader, the next in the queue is.
#[must_use = "futures do nothing unless polled"]
pub struct Wait<K, V> {
    part: Arc<Part<K, V>>,
    line: Arc<Line<V>>,
    place: Place,
    ticket: u64,
    done: bool,
}

impl<K, V> Wait<K, V> {
    pub(crate) fn new(
        part: Arc<Part<K, V>>,
        place: Place,
        line: Arc<Line<V>>,
        ticket: u64,
    ) -> Self {
        Self {
            part,
            line,
            place,
            ticket,
            done: false,
        }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.part.tell(event);
    }
}

impl<K, V: Clone> Future for Wait<K, V> {
    type Output = Waited<K, V>;

    /// # Panics
    ///
    /// When it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<K, V>> {
        assert!(!self.done, "a wait was polled after it was ready");
        // Without the lock. A promoted one never finds a value: it would be its own.
        if let Some(value) = self.line.value() {
            let value = V::clone(value);
            self.done = true;
            return Poll::Ready(Waited::Value(value));
        }
        let found = ready!(self.line.poll(self.ticket, cx));
        self.done = true;
        Poll::Ready(match (found, self.line.value()) {
            (Found::Promoted, _) => {
                Waited::Promoted(Leader::new(Arc::clone(&self.part), self.place))
            }
            (Found::Landed, Some(value)) => Waited::Value(V::clone(value)),
            (Found::TimedOut, _) => {
                self.part.timed_out();
                Waited::TimedOut
            }
            (Found::Landed | Found::Wait, _) => unreachable!("it waits until there is a value"),
        })
    }
}

impl<K, V> Drop for Wait<K, V> {
    fn drop(&mut self) {
        if !self.done && self.line.leave(self.ticket) {
            self.part.abandon(self.place);
        }
    }
}

/// A `Wait` holds nothing that a move would break.
impl<K, V> Unpin for Wait<K, V> {}

impl<K, V> fmt::Debug for Wait<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("flight", &self.place.id)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
