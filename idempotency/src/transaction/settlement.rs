//! What a handler has made of its claim by itself.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::store::Token;

/// Shared by a handler, the layer and the heartbeat.
///
/// ```text
///  Open ──► Pending ──► Committed
///   ▲          ├──────► Lost
///   └──────────┘ rolled back
/// ```
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    settled: AtomicU8,
    /// How often it was completed in a transaction. Of these the last one alone may have been committed: a claim is completed once.
    completions: AtomicU32,
}

/// In the extensions of a response with which a claim was completed, so that no other one is taken for what was filed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    pub(crate) number: u32,
}

/// How a claim stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Settled {
    /// The layer settles it.
    Open,
    /// It was completed in a transaction of which nobody knows here how it ended.
    Pending,
    /// It is done, and its record filed.
    Committed,
    /// It is somebody else's.
    Lost,
}

impl Settlement {
    pub(crate) fn get(&self) -> Settled {
        match self.settled.load(Ordering::Acquire) {
            0 => Settled::Open,
            1 => Settled::Pending,
            2 => Settled::Committed,
            _ => Settled::Lost,
        }
    }

    pub(crate) fn set(&self, settled: Settled) {
        self.settled.store(settled as u8, Ordering::Release);
    }

    /// From open to pending; false if it was not open. Of two that try, one may.
    pub(crate) fn begin(&self) -> bool {
        let (open, pending) = (Settled::Open as u8, Settled::Pending as u8);
        let begun =
            self.settled
                .compare_exchange(open, pending, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok()
    }

    /// It was completed once more: the number of that.
    pub(crate) fn completed(&self) -> u32 {
        self.completions.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of the last time.
    pub(crate) fn last_completion(&self) -> u32 {
        self.completions.load(Ordering::Acquire)
    }
}
