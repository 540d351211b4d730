//! The whole stream, kept beside the window.

use bytes::Bytes;
use http_body::Frame;

use crate::recorder::{Outcome, Recording};

/// Keeps a stream. It travels with the body, so that adding a frame needs no lock.
pub(super) trait Record: Send {
    /// Adds a frame. Over the limit the recording is over; the stream goes on.
    fn frame(&mut self, frame: &Frame<Bytes>);

    /// The body has ended cleanly, or there is no use in going on.
    fn end(&mut self);

    /// The body broke.
    fn abort(&mut self);
}

/// A recording and who hears of its end.
pub(super) struct Until<F: FnOnce(Outcome)>(Option<(Recording, F)>);

impl<F: FnOnce(Outcome)> Until<F> {
    pub(super) fn new(recording: Recording, on_end: F) -> Self {
        Self(Some((recording, on_end)))
    }

    fn finish(&mut self, end: impl FnOnce(Recording) -> Outcome) {
        if let Some((recording, on_end)) = self.0.take() {
            on_end(end(recording));
        }
    }
}

impl<F: FnOnce(Outcome) + Send> Record for Until<F> {
    fn frame(&mut self, frame: &Frame<Bytes>) {
        let within = match &mut self.0 {
            Some((recording, _)) => recording.frame(frame),
            None => true,
        };
        if !within {
            self.end();
        }
    }

    fn end(&mut self) {
        self.finish(Recording::end);
    }

    fn abort(&mut self) {
        self.finish(|_| Outcome::Aborted);
    }
}

/// Nobody reads any more: whole, if everything that was announced has been seen.
impl<F: FnOnce(Outcome)> Drop for Until<F> {
    fn drop(&mut self) {
        self.finish(Recording::dropped);
    }
}
