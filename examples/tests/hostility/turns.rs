//! How far the story is: by what those pace themselves who are slow on purpose.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long the load lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Turns(u64),
    Time(Duration),
}

/// A clone is the same story.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    done: watch::Sender<u64>,
    length: Length,
    begun: Instant,
}

impl Turns {
    pub(crate) fn new(length: Length) -> Self {
        Self(Arc::new(Inner {
            done: watch::Sender::new(0),
            length,
            begun: Instant::now(),
        }))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over_at(*self.0.done.borrow())
    }

    fn is_over_at(&self, done: u64) -> bool {
        match self.0.length {
            Length::Turns(turns) => done >= turns,
            Length::Time(time) => self.0.begun.elapsed() >= time,
        }
    }

    /// Somebody has done something.
    pub(crate) fn next(&self) {
        self.0.done.send_modify(|done| *done += 1);
    }

    /// Waits until others have done so much more, or the story is over.
    pub(crate) async fn pass(&self, turns: u64) {
        let until = *self.0.done.borrow() + turns;
        let mut done = self.0.done.subscribe();
        // The sender lives as long as we do.
        let _ = done
            .wait_for(|done| *done >= until || self.is_over_at(*done))
            .await;
    }

    pub(crate) fn took(&self) -> Duration {
        self.0.begun.elapsed()
    }
}
