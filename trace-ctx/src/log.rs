use std::{fmt, io, marker::PhantomData};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::{LookupSpan, Scope, SpanRef},
};

use crate::{
    TraceContext, current,
    sink::json::{Ascii, Id, Shown},
};

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
        let mut serializer = serde_json::Serializer::new(ToIo(writer.by_ref()));
        self.line(context, event, &mut serializer)
            .map_err(|_| fmt::Error)?;
        writeln!(writer)
    }
}

impl<T: FormatTime> JsonFormat<T> {
    fn line<S, N, J>(
        &self,
        context: &FmtContext<'_, S, N>,
        event: &Event<'_>,
        serializer: J,
    ) -> Result<J::Ok, J::Error>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
        J: Serializer,
    {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &self.timestamp())?;
        line.serialize_entry("level", event.metadata().level().as_str())?;
        line.serialize_entry("target", event.metadata().target())?;
        current::with(|context| context.map_or(Ok(()), |context| ids(&mut line, context)))?;
        message(&mut line, event)?;
        if event.fields().any(|field| field.name() != MESSAGE) {
            line.serialize_entry("fields", &Fields(event))?;
        }
        if context.lookup_current().is_some() {
            line.serialize_entry("spans", &Spans(context))?;
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

/// The spans around an event, outermost first.
struct Spans<'c, 'a, S, N>(&'c FmtContext<'a, S, N>);

impl<S, N> Serialize for Spans<'_, '_, S, N>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn serialize<J: Serializer>(&self, serializer: J) -> Result<J::Ok, J::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for span in self.0.event_scope().into_iter().flat_map(Scope::from_root) {
            list.serialize_element(&OneSpan::<S, N>(span, PhantomData))?;
        }
        list.end()
    }
}

struct OneSpan<'l, S: LookupSpan<'l>, N>(SpanRef<'l, S>, PhantomData<fn(N)>);

impl<'l, S, N> Serialize for OneSpan<'l, S, N>
where
    S: LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn serialize<J: Serializer>(&self, serializer: J) -> Result<J::Ok, J::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.0.name())?;
        if let Some(fields) = self.0.extensions().get::<FormattedFields<N>>()
            && !fields.is_empty()
        {
            match as_json(fields) {
                Some(object) => map.serialize_entry("fields", object)?,
                None => map.serialize_entry("fields", fields.as_str())?,
            }
        }
        map.end()
    }
}

/// Text that is JSON and can stand in a line as it is.
fn as_json(fields: &str) -> Option<&RawValue> {
    if fields.contains(['\n', '\r']) {
        None
    } else {
        serde_json::from_str(fields).ok()
    }
}

/// Lets `serde_json`, which writes bytes, write into a formatter's text.
struct ToIo<'a>(Writer<'a>);

impl io::Write for ToIo<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
