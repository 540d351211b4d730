//! What happens to keyed requests, for those who want to count it.

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A key was claimed, and the work begun.
    Claimed,
    /// The caller, or the reader of the response, went away in the middle of the work, which goes on by itself.
    Detached,
    /// The work is done and its record filed.
    Completed,
    /// The work had no effect; the key is free again.
    Forgotten,
    /// The key was refused: its first request is still running.
    InProgress,
    /// The lease was lost while the work went on.
    Lost,
    /// The key was refused: it stands for another request.
    Mismatch,
    /// Nobody knows how the work ended; recovery decides what happens to the next request.
    OutcomeUnknown,
    /// A recorded response was sent again.
    Replayed,
    /// The store is set up so that it may lose what it has granted.
    #[cfg(feature = "redis")]
    StoreAtRisk(crate::redis::Risk),
    /// The store did not do as asked.
    StoreFailed,
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock. May call any method of the handle.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}
