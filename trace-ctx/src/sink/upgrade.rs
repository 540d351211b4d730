//! A sink that decides at the end what was left open at the start.

use std::time::Duration;

use crate::{Finished, Sampling, Sink, Started};

/// Passes on the requests that are sampled, and of those whose recording was [deferred](Sampling::Defer) the ones that went
/// wrong or took long.
///
/// Only for these does the sink inside keep anything. A request that was denied builds nothing.
///
/// ```
/// # use buttress_trace_ctx::{Deferring, Finished, ParentBased, Probability, SampledOr, TraceLayer};
/// # use std::time::Duration;
/// # let sink = |_: &Finished<'_>| {};
/// let layer = TraceLayer::server()
///     .sampler(ParentBased(Deferring(Probability::new(0.01))))
///     .sink(SampledOr::failed(sink).or_slower_than(Duration::from_secs(1)));
/// # drop(layer);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SampledOr<S> {
    failed: bool,
    slower_than: Option<Duration>,
    sink: S,
}

impl<S> SampledOr<S> {
    /// Deferred ones that [failed](Finished::is_failure).
    pub const fn failed(sink: S) -> Self {
        Self {
            failed: true,
            slower_than: None,
            sink,
        }
    }

    /// Deferred ones that took at least so long.
    pub const fn slow(limit: Duration, sink: S) -> Self {
        Self {
            failed: false,
            slower_than: Some(limit),
            sink,
        }
    }

    /// And deferred ones that took at least so long.
    pub fn or_slower_than(self, limit: Duration) -> Self {
        Self {
            slower_than: Some(limit),
            ..self
        }
    }

    /// Whether one that was deferred is.
    fn is_wanted(&self, finished: &Finished<'_>) -> bool {
        let is_slow = self
            .slower_than
            .is_some_and(|limit| finished.total >= limit);
        is_slow || (self.failed && finished.is_failure())
    }
}

/// To the sink inside, what was deferred is sampled: it hears only of what is. Its span of a request that is not recorded in the end is
/// dropped without a word. So this is not for one that has told others of it by then: `OtelSink`, below whose spans the handler's are exported, has switches of its own
/// (`upgrade_on_error`, `upgrade_if_slower_than`).
impl<S: Sink> Sink for SampledOr<S> {
    type Span = S::Span;

    const TIMES_HEAD: bool = S::TIMES_HEAD;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        match started.context.sampling() {
            Sampling::Deny => None,
            Sampling::Accept | Sampling::Debug => self.sink.begin(started),
            Sampling::Defer => {
                let context = started.context.clone().with_sampling(Sampling::Accept);
                self.sink.begin(&started.in_context(&context))
            }
        }
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        self.sink.in_scope(span, run)
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        if finished.context.is_sampled() {
            self.sink.end(span, finished);
        } else if self.is_wanted(finished) {
            let context = finished.context.clone().with_sampling(Sampling::Accept);
            self.sink.end(span, &finished.in_context(&context));
        }
    }
}
