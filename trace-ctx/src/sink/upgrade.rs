use std::time::Duration;

use crate::{Finished, Kind, Outcome, Sampling, Sink, Started};

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

    fn is_wanted(&self, finished: &Finished<'_>) -> bool {
        let is_slow = self
            .slower_than
            .is_some_and(|limit| finished.total >= limit);
        finished.context.is_sampled() || is_slow || (self.failed && finished.is_failure())
    }
}

/// The sink's span of a request that is not recorded in the end is dropped without a word.
impl<S: Sink> Sink for SampledOr<S> {
    type Span = S::Span;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        match started.context.sampling() {
            Sampling::Deny => None,
            Sampling::Defer | Sampling::Accept | Sampling::Debug => self.sink.begin(started),
        }
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        self.sink.in_scope(span, run)
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        if self.is_wanted(finished) {
            self.sink.end(span, finished);
        }
    }
}

impl Finished<'_> {
    /// Whether it went wrong on this side: the service or the body failed or panicked, or a status says so. For a client that is any of 400
    /// and above and any gRPC status but `OK`; for a server only what is its own fault. A caller that goes away is no failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        use Outcome::{BodyError, Error, Panic};
        matches!(self.outcome, Error | BodyError | Panic)
            || self.grpc_failure().is_some()
            || self.failed_status().is_some()
    }

    pub(crate) fn grpc_failure(&self) -> Option<u32> {
        self.grpc_status.filter(|code| match self.kind {
            Kind::Client => *code != 0,
            // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
            Kind::Server => matches!(code, 2 | 4 | 12..=15),
        })
    }

    pub(crate) fn failed_status(&self) -> Option<http::StatusCode> {
        self.status.filter(|status| {
            status.is_server_error() || (self.kind == Kind::Client && status.is_client_error())
        })
    }
}
