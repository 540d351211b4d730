use std::{
    cell::RefCell,
    fmt,
    io::{self, Write},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, header};
use serde::{Serialize, Serializer};

use crate::{Finished, Kind, Sink, Started, rfc3339::Rfc3339, sink::known_method};

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
/// The writer is called on the task of the request: give it one that does not block for long, such as a
/// non-blocking appender. A line that it refuses is [counted](Self::lost), and the request goes on.
pub struct JsonLines<W> {
    writer: Mutex<W>,
    lost: AtomicU64,
}

impl<W: Write> JsonLines<W> {
    /// Writes to this writer, a line per call of `write_all`.
    pub const fn new(writer: W) -> Self {
        Self {
            writer: Mutex::new(writer),
            lost: AtomicU64::new(0),
        }
    }

    /// How many lines the writer refused.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(line)?;
        writer.flush()
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
        let line = Line::new(&head, finished);
        let written = with_line(&line, |line| self.write(line));
        if written.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the record as a line. The buffer is taken out of its place meanwhile: the writer may come back here.
fn with_line(record: &Line<'_>, write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
    line.clear();
    serde_json::to_writer(&mut line, record)?;
    line.push(b'\n');
    let written = write(&line);
    let _ = LINE.try_with(|place| place.replace(line));
    written
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Shown<Rfc3339>,
    kind: &'static str,
    trace_id: Shown<crate::TraceId>,
    span_id: Shown<crate::SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Shown<crate::SpanId>>,
    request_id: Shown<&'a crate::RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Shown<&'a crate::RequestId>>,
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
            timestamp: Shown(Rfc3339(finished.ended_at())),
            kind: finished.kind.as_str(),
            trace_id: Shown(context.trace_id()),
            span_id: Shown(context.span_id()),
            parent_span_id: context.parent_id().map(Shown),
            request_id: Shown(context.request_id()),
            correlation_id: context.own_correlation_id().map(Shown),
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

/// Milliseconds to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// A value in JSON as the string that its `Display` writes.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
