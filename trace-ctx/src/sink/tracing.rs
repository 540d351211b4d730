//! Requests as spans and events of `tracing`.

use tracing::field::Empty;
use tracing::{Level, Span};

use crate::sink::json::millis;
use crate::sink::{known_method, span_name as name};
use crate::{Finished, Kind, Sink, Started};

/// A `tracing` span per request at level INFO, entered whenever the request is polled, and one event in it when
/// the request is over.
///
/// The span is named `request` and has the fields `otel.name` (method and route, never the path), `otel.kind`,
/// `trace_id`, `span_id`, `request_id`, `http.request.method` and, when the request tells it, `http.route`. No header is recorded, and nothing of
/// the target. What is known at the end is in the event.
///
/// With `tracing-opentelemetry` this span begins a trace of its own, unless an [`OtelSink`](crate::OtelSink) stands to the left of this sink: `(otel, TracingSink::new())`.
///
/// Where the subscriber is not interested, a request costs the question and nothing else.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct TracingSink {
    completes_span: bool,
}

impl TracingSink {
    /// A span and its last event.
    pub const fn new() -> Self {
        Self {
            completes_span: false,
        }
    }

    /// Also records in the span what is known only at the end: `http.response.status_code`, and the route in `http.route` and `otel.name`.
    ///
    /// For subscribers that export spans. One that writes JSON reads and writes the span's fields anew for it, which costs as much as
    /// a third of the line.
    pub const fn complete_span(self) -> Self {
        Self {
            completes_span: true,
        }
    }
}

impl Sink for TracingSink {
    type Span = Span;

    fn begin(&self, started: &Started<'_>) -> Option<Span> {
        if !tracing::enabled!(Level::INFO) {
            return None;
        }
        let method = known_method(started.head.method);
        let route = started.route().map(|route| route.as_str());
        let context = started.context;
        let make = || {
            tracing::info_span!(
                "request",
                otel.name = &*name(method, route),
                otel.kind = started.kind.as_str(),
                trace_id = %context.trace_id(),
                span_id = %context.span_id(),
                request_id = %context.request_id(),
                http.request.method = method,
                http.route = route,
                http.response.status_code = Empty,
            )
        };
        // A subscriber may write a line of a span that is new, and looks at what is current for it.
        Some(context.clone().scope(make))
    }

    fn in_scope<R>(&self, span: &mut Span, run: impl FnOnce() -> R) -> R {
        span.in_scope(run)
    }

    fn end(&self, span: Span, finished: &Finished<'_>) {
        let route = finished.route.map(|route| route.as_str());
        let status = finished.status.map(|status| status.as_u16());
        if self.completes_span {
            complete(&span, finished);
        }
        let _entered = span.enter();
        tracing::info!(
            method = known_method(finished.method),
            route,
            status,
            grpc_status = finished.grpc_status,
            outcome = finished.outcome.as_str(),
            bytes = finished.bytes,
            time_to_head_ms = finished.time_to_head.map(millis),
            total_ms = millis(finished.total),
            client_ip = finished.context.client_ip().map(tracing::field::display),
            user = finished.context.user(),
            "{}",
            match finished.kind {
                Kind::Server => "request finished",
                Kind::Client => "call finished",
            },
        );
    }
}

fn complete(span: &Span, finished: &Finished<'_>) {
    let route = finished.route.map(|route| route.as_str());
    let name = route.map(|route| name(known_method(finished.method), Some(route)));
    // At once: each record has such a subscriber begin again.
    tracing::record_all!(
        span,
        otel.name = name.as_deref(),
        http.route = route,
        http.response.status_code = finished.status.map(|status| status.as_u16())
    );
}
