//! The whole stream, kept beside the window.

use bytes::Bytes;
use http_body::Frame;

use crate::recorder::{Outcome, Recording};

/// A recording and who hears of its end. It travels with the body, so that adding a frame needs no lock.
pub(super) struct Record(Option<(Recording, OnEnd)>);

type OnEnd = Box<dyn FnOnce(Outcome) + Send>;

impl Record {
    pub(super) fn new(recording: Recording, on_end: OnEnd) -> Self {
        Self(Some((recording, on_end)))
    }

    /// Adds a frame. Over the limit the recording is over; the stream goes on.
    pub(super) fn frame(&mut self, frame: &Frame<Bytes>) {
        let within = match &mut self.0 {
            Some((recording, _)) => recording.frame(frame),
            None => true,
        };
        if !within {
            self.end();
        }
    }

    /// The body has ended cleanly, or there is no use in going on.
    pub(super) fn end(&mut self) {
        self.finish(Recording::end);
    }

    /// The body broke.
    pub(super) fn abort(&mut self) {
        self.finish(|_| Outcome::Aborted);
    }

    fn finish(&mut self, end: impl FnOnce(Recording) -> Outcome) {
        if let Some((recording, on_end)) = self.0.take() {
            on_end(end(recording));
        }
    }
}

/// Nobody reads any more: whole, if everything that was announced has been seen.
impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Recording::dropped);
    }
}
