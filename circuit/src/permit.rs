//! The right to make one call.

use std::fmt;

use crate::breaker::Breaker;
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
    started: u64,
    ticket: u64,
}

/// What a call was admitted with: the number of its generation, and whether it [`HOLDS_ROOM`]. [`TOLD`] once its outcome is. A whole word, since a
/// permit is moved a moment after it was written.
pub(crate) type Ticket = u64;

/// The call is one of those that are bounded in number.
pub(crate) const HOLDS_ROOM: Ticket = 1 << 32;
const TOLD: Ticket = u64::MAX;

impl Permit {
    #[inline]
    pub(crate) fn new(breaker: Breaker, ticket: Ticket, started: u64) -> Self {
        Self {
            breaker,
            started,
            ticket,
        }
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
        let ticket = std::mem::replace(&mut self.ticket, TOLD);
        self.breaker.finish(ticket, self.started, verdict);
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
        if self.ticket != TOLD {
            self.breaker.cancel(self.ticket, self.started);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", &self.breaker)
            .field("generation", &(self.ticket as u32))
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
