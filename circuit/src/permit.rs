//! The right to make one call.

use std::fmt;

use crate::breaker::Breaker;
#[cfg(feature = "tokio")]
use crate::error::Rejected;
use crate::ticket::Ticket;
use crate::verdict::Verdict;

/// The right to make one call, and the duty to tell what came of it.
///
/// It belongs to the state that admitted it: told after the next transition, its outcome counts for nothing.
///
/// # Cancellation
///
/// Dropping a permit is telling that the caller went away: the breaker's [`Cancel`](crate::Cancel) policy decides what that means. The slot
/// of a probe is given back or decided at that moment, never kept.
#[must_use = "dropping a permit means that the call was cancelled"]
pub struct Permit {
    breaker: Breaker,
    ticket: Ticket,
}

impl Permit {
    #[inline]
    pub(crate) fn new(breaker: Breaker, ticket: Ticket) -> Self {
        Self { breaker, ticket }
    }

    /// The call succeeded.
    pub fn success(self) {
        self.record(Verdict::Success);
    }

    /// The call failed.
    pub fn failure(self) {
        self.record(Verdict::Failure);
    }

    /// The call says nothing about the service.
    pub fn ignore(self) {
        self.record(Verdict::Ignore);
    }

    /// What the call says about the service.
    #[inline]
    pub fn record(mut self, verdict: Verdict) {
        let ticket = std::mem::replace(&mut self.ticket, Ticket::TOLD);
        self.breaker.finish(ticket, verdict);
    }

    /// Whether the state that admitted it still holds.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_current(&self) -> bool {
        self.breaker.word().generation() == self.ticket.generation()
    }

    /// The same right from now on, for one that was held for a while.
    #[cfg(feature = "tokio")]
    pub(crate) fn renewed(mut self) -> Result<Self, Rejected> {
        if self.is_current() {
            self.ticket = self.breaker.starting(self.ticket);
            return Ok(self);
        }
        let breaker = self.breaker.clone();
        self.ignore();
        breaker.try_acquire()
    }

    /// The breaker that gave it.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.ticket != Ticket::TOLD {
            self.breaker.cancel(self.ticket);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", &self.breaker)
            .field("generation", &self.ticket.generation())
            .finish_non_exhaustive()
    }
}

/// Stands beside the permit while the user's code runs: a panic is a failure, and not a caller who went away.
pub(crate) struct Panicked<'a>(&'a mut Option<Permit>);

impl<'a> Panicked<'a> {
    #[inline]
    pub(crate) fn unless_returned(permit: &'a mut Option<Permit>) -> Self {
        Self(permit)
    }

    /// The user's code has returned.
    #[inline]
    pub(crate) fn returned(self) {
        std::mem::forget(self);
    }
}

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.failure();
        }
    }
}

/// A permit for work that cannot outlive the breaker: it need not own it, which saves a third of what a call costs.
pub(crate) struct LentPermit<'a> {
    breaker: &'a Breaker,
    ticket: Ticket,
    /// The user's code runs: if it does not return, it has panicked, and that is a failure.
    runs: bool,
}

impl<'a> LentPermit<'a> {
    #[inline]
    pub(crate) fn new(breaker: &'a Breaker, ticket: Ticket) -> Self {
        Self {
            breaker,
            ticket,
            runs: false,
        }
    }

    #[inline]
    pub(crate) fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        self.runs = true;
        let result = work();
        self.runs = false;
        result
    }

    /// Once. Not by value: whatever was just written and is moved has to be waited for.
    #[inline]
    pub(crate) fn record(&mut self, verdict: Verdict) {
        let ticket = std::mem::replace(&mut self.ticket, Ticket::TOLD);
        self.breaker.finish(ticket, verdict);
    }
}

impl Drop for LentPermit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket == Ticket::TOLD {
            return;
        }
        if self.runs {
            self.breaker.finish(self.ticket, Verdict::Failure);
        } else {
            self.breaker.cancel(self.ticket);
        }
    }
}
