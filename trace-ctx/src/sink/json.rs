//! An access log in JSON: one line for each finished request.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, header};
use serde::{Serialize, Serializer};

use super::known_method;
use super::lines::Lines;
use crate::rfc3339::Rfc3339;
use crate::{Finished, Kind, RequestId, Sink, Started, ascii};

/// An access log: one line of JSON for each finished record, written at once.
///
/// ```json
/// {"timestamp":"2026-11-20T23:57:29.123Z","kind":"server","trace_id":"4bf9…","span_id":"00f0…",
///  "request_id":"…","sampled":true,"client_ip":"192.0.2.7","user":"u-17","user_agent":"curl/8.5","method":"GET",
///  "path":"/orders/7","route":"/orders/{id}","status":200,"outcome":"complete","bytes":812,"time_to_head_ms":1.204,
///  "total_ms":3.518}
/// ```
///
/// What is not known is left out. The client is known where the layer was told [how to find it](crate::ServerLayer::client_ip), the user where
/// somebody [said who it is](crate::user), and the user agent of what comes in.
///
/// Of the target only the path is written: a query may hold secrets. A method that HTTP does not know is
/// `_OTHER`. A line is whole and is one line whatever a caller sends.
///
/// The writer is called on the task of the request, under the sink's lock: give it one that does not block for long, such as a
/// non-blocking appender, and none whose own calls this sink writes down, for it would wait for itself. A line that it refuses is
/// [counted](Self::lost), and the request goes on.
pub struct JsonLines<W>(Lines<W>);

impl<W: Write> JsonLines<W> {
    /// Writes to this writer, line by line, and flushes it after each.
    pub const fn new(writer: W) -> Self {
        Self(Lines::new(writer))
    }

    /// How many lines the writer refused.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost()
    }
}

impl JsonLines<io::Stdout> {
    /// Writes to the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }
}

/// What of a request's head stands in its line.
#[derive(Clone, Debug)]
pub struct JsonHead {
    user_agent: Option<HeaderValue>,
}

impl<W: Write> Sink for JsonLines<W> {
    type Span = JsonHead;

    fn begin(&self, started: &Started<'_>) -> Option<JsonHead> {
        // Of what goes out it is our own.
        let came_in = started.kind == Kind::Server;
        let user_agent = started.head.headers.get(header::USER_AGENT);
        Some(JsonHead {
            user_agent: user_agent.filter(|_| came_in).cloned(),
        })
    }

    fn end(&self, head: JsonHead, finished: &Finished<'_>) {
        let record = Line::new(&head, finished);
        with_room(|line| {
            // Writing plain fields to memory cannot fail.
            if record.append_to(line).is_ok() {
                line.push(b'\n');
                self.0.write(line);
            }
        });
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends room for a line. It is taken out of its place meanwhile: whoever fills it, or writes it, may come back here, by another sink or a log line of its own. To the same
/// sink nobody may come back while it writes: its writer is locked.
#[inline]
pub(crate) fn with_room<R>(fill: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
    line.clear();
    let output = fill(&mut line);
    let _ = LINE.try_with(|place| place.replace(line));
    output
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Ascii<24>,
    kind: &'static str,
    trace_id: Ascii<32>,
    span_id: Ascii<16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Ascii<16>>,
    request_id: Id<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Id<'a>>,
    sampled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u32>,
    outcome: &'static str,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_head_ms: Option<f64>,
    total_ms: f64,
}

impl<'a> Line<'a> {
    fn new(head: &'a JsonHead, finished: &'a Finished<'_>) -> Self {
        let context = finished.context;
        Self {
            timestamp: Ascii(Rfc3339(finished.ended_at()).to_bytes()),
            kind: finished.kind.as_str(),
            trace_id: Ascii(context.trace_id().to_hex()),
            span_id: Ascii(context.span_id().to_hex()),
            parent_span_id: context.parent_id().map(|id| Ascii(id.to_hex())),
            request_id: Id(context.request_id()),
            correlation_id: context.own_correlation_id().map(Id),
            sampled: context.is_sampled(),
            client_ip: context.client_ip(),
            user: context.user(),
            user_agent: head
                .user_agent
                .as_ref()
                .and_then(|agent| agent.to_str().ok()),
            method: known_method(finished.method),
            path: finished.uri.path(),
            route: finished.route.map(|route| route.as_str()),
            status: finished.status.map(|status| status.as_u16()),
            grpc_status: finished.grpc_status,
            outcome: finished.outcome.as_str(),
            bytes: finished.bytes,
            time_to_head_ms: finished.time_to_head.map(millis),
            total_ms: millis(finished.total),
        }
    }
}

impl Line<'_> {
    /// Apart: within its caller it takes longer.
    #[inline(never)]
    fn append_to(&self, line: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(line, self)
    }
}

/// Milliseconds to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Text that we wrote ourselves. Without a formatter between it and the line.
pub(crate) struct Ascii<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Ascii<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ascii::as_str(&self.0))
    }
}

/// An id as text.
pub(crate) struct Id<'a>(pub(crate) &'a RequestId);

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.with_str(|id| serializer.serialize_str(id))
    }
}

/// A value in JSON as the string that its `Display` writes.
#[cfg(feature = "tracing")]
pub(crate) struct Shown<T>(pub(crate) T);

#[cfg(feature = "tracing")]
impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonLines").field(&self.0).finish()
    }
}
