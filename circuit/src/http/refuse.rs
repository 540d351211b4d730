//! How a rejection reads over HTTP.

use std::time::Duration;

use ::http::{Response, StatusCode};
use buttress_wire::grpc::Code;
use buttress_wire::{Protocol, Refusal};
use bytes::Bytes;
use http_body_util::Full;

use crate::error::{Reason, Rejected, TimedOut};

/// Writes the response to a rejected request, and to one that took too long. Implemented for closures, which write the former.
pub trait Refuse {
    /// The response to a request that spoke `protocol`.
    fn refuse(&self, rejected: &Rejected, protocol: Protocol) -> Response<Full<Bytes>>;

    /// The response to a request that spoke `protocol` and took longer than the layer's timeout. By default that of [`Problems`].
    fn time_out(&self, timed_out: &TimedOut, protocol: Protocol) -> Response<Full<Bytes>> {
        Problems.time_out(timed_out, protocol)
    }
}

impl<F: Fn(&Rejected, Protocol) -> Response<Full<Bytes>>> Refuse for F {
    fn refuse(&self, rejected: &Rejected, protocol: Protocol) -> Response<Full<Bytes>> {
        self(rejected, protocol)
    }
}

/// A 503 problem of the type `urn:buttress:problem:circuit-open`, with `Retry-After` where it is known. On a gRPC call `UNAVAILABLE`,
/// with pushback. For a call that took too long a 504 problem of the type `urn:buttress:problem:circuit-timeout`, on a gRPC call
/// `DEADLINE_EXCEEDED`. The breaker's name is not told: the client may be anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Problems;

const OPEN: &str = "urn:buttress:problem:circuit-open";
const TIMEOUT: &str = "urn:buttress:problem:circuit-timeout";

impl Refuse for Problems {
    fn refuse(&self, rejected: &Rejected, protocol: Protocol) -> Response<Full<Bytes>> {
        let refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            OPEN,
            "The service is not available",
            Code::Unavailable,
        )
        .detail(match rejected.reason() {
            Reason::Saturated => "too many requests are under way; this one was not sent",
            Reason::Ramping => {
                "a service that this request needs is recovering; the request was not sent"
            }
            _ => "a service that this request needs has failed of late; the request was not sent",
        });
        let refusal = match rejected.retry_after() {
            Some(delay) => refusal.retry_after(without_rounding(delay)),
            None => refusal,
        };
        refusal.render(protocol)
    }

    fn time_out(&self, _timed_out: &TimedOut, protocol: Protocol) -> Response<Full<Bytes>> {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            TIMEOUT,
            "The service took too long",
            Code::DeadlineExceeded,
        )
        .detail("a service that this request needs did not answer in time; it may still act on the request")
        .render(protocol)
    }
}

/// The breaker counts in milliseconds, and rounds up: an open time of five seconds may have 5001 ms left at first, which in whole
/// seconds, rounded up as well, would be six.
fn without_rounding(delay: Duration) -> Duration {
    let is_rounding = delay.as_secs() > 0 && delay.subsec_millis() == 1;
    if is_rounding {
        Duration::from_secs(delay.as_secs())
    } else {
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_millisecond_of_rounding_is_no_second() {
        let check = |from, to| {
            assert_eq!(
                without_rounding(Duration::from_millis(from)),
                Duration::from_millis(to)
            );
        };
        check(5001, 5000);
        check(5000, 5000);
        check(4999, 4999);
        check(1, 1);
    }
}
