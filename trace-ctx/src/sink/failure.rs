//! What went wrong with a request, and what that is called.

#[cfg(any(feature = "otel", feature = "metrics"))]
use std::borrow::Cow;

use http::StatusCode;

use crate::{Finished, Kind, Outcome};

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

    fn grpc_failure(&self) -> Option<u32> {
        self.grpc_status.filter(|code| match self.kind {
            Kind::Client => *code != 0,
            // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
            Kind::Server => matches!(code, 2 | 4 | 12..=15),
        })
    }

    fn failed_status(&self) -> Option<StatusCode> {
        self.status.filter(|status| {
            status.is_server_error() || (self.kind == Kind::Client && status.is_client_error())
        })
    }

    /// The `error.type` of what [failed](Self::is_failure): of few values, whatever the other side sends.
    #[cfg(any(feature = "otel", feature = "metrics"))]
    pub(crate) fn error_type(&self) -> Option<Cow<'static, str>> {
        use Outcome::{BodyError, Error, Panic};
        if matches!(self.outcome, Error | BodyError | Panic) {
            return Some(self.outcome.as_str().into());
        }
        let grpc = self.grpc_failure().map(|code| grpc_name(code).into());
        grpc.or_else(|| Some(self.failed_status()?.as_str().to_owned().into()))
    }
}

/// The name of a gRPC status; of one that gRPC does not know, `_OTHER`.
#[cfg(any(feature = "otel", feature = "metrics"))]
pub(crate) fn grpc_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("_OTHER")
}
