//! A sink that hears only of what was slow.

use std::time::Duration;

use crate::{Finished, Sink, Started};

/// Tells the sink inside only of requests that took at least so long, from the call to the end of the body.
#[derive(Clone, Copy, Debug)]
pub struct SlowOnly<S> {
    limit: Duration,
    sink: S,
}

impl<S> SlowOnly<S> {
    /// Tells this sink of requests that took at least `limit`.
    #[must_use]
    pub const fn new(limit: Duration, sink: S) -> Self {
        Self { limit, sink }
    }
}

/// The sink's span of a request that was not slow is dropped without a word.
impl<S: Sink> Sink for SlowOnly<S> {
    type Span = S::Span;

    const TIMES_HEAD: bool = S::TIMES_HEAD;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        self.sink.begin(started)
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        self.sink.in_scope(span, run)
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        if finished.total >= self.limit {
            self.sink.end(span, finished);
        }
    }
}
