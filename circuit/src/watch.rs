//! Who observes a breaker, and how those who ask for single calls are told of them.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::error::{Refusal, Rejected};
use crate::event::{Event, Observer, tell};
use crate::ticket::Ticket;
use crate::verdict::Verdict;

/// The observers of a breaker.
#[derive(Clone, Default)]
pub(crate) struct Observers(Vec<(Arc<dyn Observer>, Hears)>);

/// What an observer wants to hear of.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Hears {
    Transitions,
    Calls,
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>, hears: Hears) {
        self.0.push((observer, hears));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn hear_calls(&self) -> bool {
        self.0.iter().any(|(_, hears)| *hears == Hears::Calls)
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.0
            .iter()
            .for_each(|(observer, _)| tell(&**observer, event));
    }

    fn tell_call(&self, event: &Event<'_>) {
        let hear_calls = self.0.iter().filter(|(_, hears)| *hears == Hears::Calls);
        hear_calls.for_each(|(observer, _)| tell(&**observer, event));
    }
}

impl Breaker {
    /// Tells of a call, outside of the order of transitions.
    pub(crate) fn tell_call(&self, event: &Event<'_>) {
        self.0.fixed.observers.tell_call(event);
    }

    /// Tells of something that befell a call, if anybody asks.
    #[inline(never)]
    pub(crate) fn watch(&self, event: impl for<'a> FnOnce(&'a Self) -> Event<'a>) {
        if self.0.watches_calls {
            self.tell_call(&event(self));
        }
    }

    #[inline(never)]
    pub(crate) fn watch_end(&self, ticket: Ticket, verdict: Verdict) {
        let took = self.timed(ticket, verdict);
        self.tell_call(&Event::Finished(self, verdict, took));
    }

    #[inline(never)]
    pub(crate) fn watch_cancel(&self, ticket: Ticket, verdict: Verdict) {
        let took = self.timed(ticket, verdict);
        self.tell_call(&Event::Cancelled(self, verdict, took));
    }

    #[inline(never)]
    pub(crate) fn watch_rejection(&self, refusal: Refusal) {
        let rejected = Rejected::new(&self.0.name, refusal);
        self.tell_call(&Event::Rejected(self, &rejected));
    }

    /// How long a call took, in whole microseconds: no clock is better. Kept unless it is ignored.
    fn timed(&self, ticket: Ticket, verdict: Verdict) -> Duration {
        let now = self.now();
        let took = ticket.took(now);
        #[cfg(feature = "histogram")]
        if let Some(latencies) = &self.0.latencies
            && verdict != Verdict::Ignore
        {
            latencies.record(now, took);
        }
        let _ = verdict;
        Duration::from_micros(took / 1000)
    }
}
