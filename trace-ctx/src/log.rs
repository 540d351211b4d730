//! Log lines of `tracing` as JSON, with the ids of the request they belong to.

use std::any::TypeId;
use std::fmt;

use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeMap, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope, SpanRef};

use crate::sink::json::{Ascii, Id, Shown, with_room};
use crate::{TraceContext, current};

/// Log lines as JSON, with the ids of the request they belong to at the top level:
///
/// ```json
/// {"timestamp":"…","level":"INFO","target":"shop","trace_id":"4bf9…","span_id":"00f0…","request_id":"…",
///  "message":"reserved","fields":{"sku":7},"spans":[{"name":"checkout","fields":{"cart":"c1"}}]}
/// ```
///
/// The ids are those of [`current()`](crate::current) where the event happens, so they are on every line of a request
/// whatever spans there are, and on those of other tasks given [`in_current_trace`](crate::InTrace::in_current_trace).
/// Outside any request they are left out. What an event or a span calls its own fields cannot shadow them.
///
/// ```
/// use buttress_trace_ctx::JsonFormat;
/// use tracing_subscriber::fmt::format::JsonFields;
///
/// let subscriber = tracing_subscriber::fmt()
///     .event_format(JsonFormat::new())
///     .fmt_fields(JsonFields::new())
///     .finish();
/// # drop(subscriber);
/// ```
///
/// With `JsonFields` the fields of spans are objects; with any other formatter they are strings.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonFormat<T = SystemTime> {
    timer: T,
}

impl JsonFormat {
    /// With timestamps of the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<T> JsonFormat<T> {
    /// With timestamps of this timer.
    #[must_use]
    pub fn with_timer<U>(self, timer: U) -> JsonFormat<U> {
        JsonFormat { timer }
    }
}

impl<S, N, T> FormatEvent<S, N> for JsonFormat<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        with_room(|line| {
            self.line(context, event, line).map_err(|_| fmt::Error)?;
            line.push(b'\n');
            // At once: each piece would pass through a formatter of its own.
            writer.write_str(std::str::from_utf8(line).map_err(|_| fmt::Error)?)
        })
    }
}

impl<T: FormatTime> JsonFormat<T> {
    fn line<S, N>(
        &self,
        context: &FmtContext<'_, S, N>,
        event: &Event<'_>,
        line: &mut Vec<u8>,
    ) -> serde_json::Result<()>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        self.head(event, line)?;
        if event.parent().is_some() || context.lookup_current().is_some() {
            // Opened once more: of the fields of spans it is known that they are JSON, and serde would read them to believe it.
            line.pop();
            line.extend_from_slice(br#","spans":["#);
            let spans = context.event_scope().into_iter().flat_map(Scope::from_root);
            for (place, span) in spans.enumerate() {
                line.extend((place > 0).then_some(b','));
                one_span::<S, N>(&span, line)?;
            }
            line.extend_from_slice(b"]}");
        }
        Ok(())
    }

    /// All but the spans.
    fn head(&self, event: &Event<'_>, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(line);
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &self.timestamp())?;
        line.serialize_entry("level", event.metadata().level().as_str())?;
        line.serialize_entry("target", event.metadata().target())?;
        current::with(|context| context.map_or(Ok(()), |context| ids(&mut line, context)))?;
        message(&mut line, event)?;
        if event.fields().any(|field| field.name() != MESSAGE) {
            line.serialize_entry("fields", &Fields(event))?;
        }
        line.end()
    }

    fn timestamp(&self) -> String {
        let mut timestamp = String::new();
        // A timer that fails leaves its field empty; the line is worth more.
        let _ = self.timer.format_time(&mut Writer::new(&mut timestamp));
        timestamp
    }
}

const MESSAGE: &str = "message";

fn ids<M: SerializeMap>(line: &mut M, context: &TraceContext) -> Result<(), M::Error> {
    line.serialize_entry("trace_id", &Ascii(context.trace_id().to_hex()))?;
    line.serialize_entry("span_id", &Ascii(context.span_id().to_hex()))?;
    line.serialize_entry("request_id", &Id(context.request_id()))
}

fn message<M: SerializeMap>(line: &mut M, event: &Event<'_>) -> Result<(), M::Error> {
    let mut entries = Entries::new(line, |name| name == MESSAGE);
    event.record(&mut entries);
    entries.result
}

/// The fields of an event but its message.
struct Fields<'a>(&'a Event<'a>);

impl Serialize for Fields<'_> {
    fn serialize<J: Serializer>(&self, serializer: J) -> Result<J::Ok, J::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut entries = Entries::new(&mut map, |name| name != MESSAGE);
        self.0.record(&mut entries);
        entries.result?;
        map.end()
    }
}

/// Writes those fields it visits that are wanted, up to the first error.
struct Entries<'a, M: SerializeMap> {
    map: &'a mut M,
    wanted: fn(&str) -> bool,
    result: Result<(), M::Error>,
}

impl<'a, M: SerializeMap> Entries<'a, M> {
    fn new(map: &'a mut M, wanted: fn(&str) -> bool) -> Self {
        Self {
            map,
            wanted,
            result: Ok(()),
        }
    }

    fn write(&mut self, field: &Field, value: &impl Serialize) {
        if self.result.is_ok() && (self.wanted)(field.name()) {
            self.result = self.map.serialize_entry(field.name(), value);
        }
    }
}

impl<M: SerializeMap> Visit for Entries<'_, M> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.write(field, &Shown(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format_args!("{value:?}"));
    }
}

/// A span around an event.
fn one_span<'l, S, N>(span: &SpanRef<'l, S>, line: &mut Vec<u8>) -> serde_json::Result<()>
where
    S: LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    line.extend_from_slice(br#"{"name":"#);
    serde_json::to_writer(&mut *line, span.name())?;
    if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
        && !fields.is_empty()
    {
        line.extend_from_slice(br#","fields":"#);
        if is_json::<N>(fields) {
            line.extend_from_slice(fields.as_bytes());
        } else {
            serde_json::to_writer(&mut *line, fields.as_str())?;
        }
    }
    line.push(b'}');
    Ok(())
}

/// Whether the text is JSON and can stand in a line as it is.
fn is_json<N: 'static>(fields: &str) -> bool {
    let is_known = TypeId::of::<N>() == TypeId::of::<JsonFields>();
    is_known
        || (!fields.contains(['\n', '\r']) && serde_json::from_str::<IgnoredAny>(fields).is_ok())
}
