//! How far a call has come, and whether its caller is still there.

use std::sync::atomic::{AtomicU8, Ordering};

/// Shared by a call's work and by whoever may drop it: one of them at a time, since a future that is polled is not dropped.
///
/// ```text
///  Free ◄───► Begun        the work says which
///    │          │ dropped
///    └──► Gone ◄┘          from Begun, the work goes on in a task
/// ```
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

/// Nothing has happened: whoever drops the call undoes it.
const FREE: u8 = 0;
/// There may be a claim: the work must go on.
const BEGUN: u8 = 1;
/// The caller is gone.
const GONE: u8 = 2;

impl Progress {
    /// Says that there may be a claim.
    pub(crate) fn begin(&self) {
        self.go(BEGUN);
    }

    /// Says that there is nothing that has to go on.
    pub(crate) fn end(&self) {
        self.go(FREE);
    }

    /// Whether the caller has left, and the work runs in a task.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// The caller leaves. Tells whether the work must go on.
    pub(crate) fn leave(&self) -> bool {
        self.0.swap(GONE, Ordering::AcqRel) == BEGUN
    }

    fn go(&self, to: u8) {
        // Whoever has gone stays gone.
        if !self.is_gone() {
            self.0.store(to, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_only_once_it_has_begun() {
        let progress = Progress::default();
        assert!(!progress.leave());
        let progress = Progress::default();
        progress.begin();
        progress.end();
        assert!(!progress.leave());
        let progress = Progress::default();
        progress.begin();
        assert!(progress.leave());
        progress.end();
        assert!(progress.is_gone(), "whoever has gone stays gone");
    }
}
