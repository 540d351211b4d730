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
    /// `None` when it is done.
    line: Option<Arc<Line<K, V>>>,
    ticket: u64,
}

impl<K, V> Wait<K, V> {
    pub(crate) fn new(line: Arc<Line<K, V>>, ticket: u64) -> Self {
        let line = Some(line);
        Self { line, ticket }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(line) = &self.line {
            line.part.tell(event);
        }
    }
}

impl<K, V: Clone> Future for Wait<K, V> {
    type Output = Waited<K, V>;

    /// # Panics
    ///
    /// When it is polled after it was ready; and outside of a tokio runtime with time enabled, where there is a
    /// [`wait_timeout`](crate::FlightsBuilder::wait_timeout).
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<K, V>> {
        let line = self.line.as_ref().expect(ONCE);
        // Without the lock. A promoted one never finds a value: it would be its own.
        let found = match line.value() {
            Some(_) => Found::Landed,
            None => ready!(line.poll(self.ticket, cx)),
        };
        let line = self.line.take().expect(ONCE);
        Poll::Ready(match (found, line.value()) {
            (Found::Landed, Some(value)) => Waited::Value(V::clone(value)),
            (Found::Promoted, _) => {
                Waited::Promoted(Leader::new(Arc::clone(&line.part), line.place))
            }
            (Found::TimedOut, _) => {
                line.part.timed_out();
                Waited::TimedOut
            }
            (Found::Landed | Found::Wait(_), _) => unreachable!("it waits until there is a value"),
        })
    }
}

impl<K, V> Drop for Wait<K, V> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take()
            && line.leave(self.ticket)
        {
            line.part.abandon(line.place);
        }
    }
}

const ONCE: &str = "a wait is not polled after it was ready";

/// A `Wait` holds nothing that a move would break.
impl<K, V> Unpin for Wait<K, V> {}

impl<K, V> fmt::Debug for Wait<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flight = self.line.as_ref().map(|line| line.place.number());
        f.debug_struct("Wait")
            .field("flight", &flight)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
