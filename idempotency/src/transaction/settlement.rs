//! What a handler has made of its claim by itself.

use std::sync::atomic::{AtomicU8, Ordering};

/// Shared by a handler, the layer and the heartbeat.
///
/// ```text
///  Open ──► Pending ──► Committed
///   ▲          ├──────► Lost
///   └──────────┘ rolled back
/// ```
#[derive(Debug, Default)]
pub(crate) struct Settlement(AtomicU8);

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
        match self.0.load(Ordering::Acquire) {
            0 => Settled::Open,
            1 => Settled::Pending,
            2 => Settled::Committed,
            _ => Settled::Lost,
        }
    }

    pub(crate) fn set(&self, settled: Settled) {
        self.0.store(settled as u8, Ordering::Release);
    }

    /// From open to pending; false if it was not open. Of two that try, one may.
    pub(crate) fn begin(&self) -> bool {
        let (open, pending) = (Settled::Open as u8, Settled::Pending as u8);
        let begun = self
            .0
            .compare_exchange(open, pending, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok()
    }
}
