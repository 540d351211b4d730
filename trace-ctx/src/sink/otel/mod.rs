//! Finished requests as spans for OpenTelemetry's SDK, with the ids that headers and logs have.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Version, header};
use opentelemetry::trace::{
    self, Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceFlags,
    TraceState, Tracer,
};
use opentelemetry::{Context, ContextGuard, Key};
use opentelemetry_sdk::trace::{
    IdGenerator as SdkIds, Sampler as SdkSampler, SdkTracerProvider, TracerProviderBuilder,
};

use crate::{
    FastIds, Finished, Head, IdGenerator, Kind, Origin, Sampling, Sink, SpanId, Started,
    TraceContext, TraceId,
};

mod attributes;

/// Every recorded request as an OpenTelemetry span, for the SDK to export.
///
/// The span is built when the request is over, of what is known then: what is not recorded builds nothing, and names,
/// status and attributes are set once. While the request runs, OpenTelemetry's current context says that it is the parent: spans
/// made below by the API, or by `tracing` through `tracing-opentelemetry`, are its children.
///
/// The provider has to come from [`provider`](Self::provider), which makes the ids of the exported span those of the headers and the
/// logs. Attributes follow the stable semantic conventions for HTTP: the name is method and route, never the path; of a query, the values of known
/// credentials, and of keys that are [named](Self::redact), are written `REDACTED`; but for the user agent, and the host where the target has none, no header is recorded unless it is [listed](Self::header). The client's address and the user are recorded
/// where they are known, as by [`client_ip`](crate::ServerLayer::client_ip) and [`user`](crate::user).
#[derive(Debug)]
#[must_use]
pub struct OtelSink<T> {
    tracer: T,
    /// With the attribute in which each is told.
    headers: Vec<(HeaderName, Key)>,
    secrets: Vec<String>,
    scheme: &'static str,
    upgrade: Upgrade,
    covers_unsampled: bool,
}

/// When a request whose recording was [deferred](Sampling::Defer) is recorded after all.
#[derive(Clone, Copy, Debug, Default)]
struct Upgrade {
    on_error: bool,
    slower_than: Option<Duration>,
}

/// What is kept of a request while it runs.
#[derive(Debug)]
pub struct OtelSpan {
    context: Context,
    /// `None` of one that will not be recorded.
    head: Option<OtelHead>,
}

/// What is kept of the head of a request that may be recorded.
#[derive(Debug)]
struct OtelHead {
    version: Version,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    headers: Vec<(Key, Vec<HeaderValue>)>,
}

impl OtelSink<()> {
    /// Where a provider for this sink begins: the SDK's, with our ids, recording what reaches it, whatever `OTEL_TRACES_SAMPLER` says: what is recorded is decided by our
    /// [`Sampler`](crate::Sampler). Spans that are made below a request go with it.
    #[must_use]
    pub fn provider() -> TracerProviderBuilder {
        // By the parent, for those that handlers make below a request which is not recorded.
        let sampler = SdkSampler::ParentBased(Box::new(SdkSampler::AlwaysOn));
        let provider = SdkTracerProvider::builder().with_id_generator(OurIds);
        provider.with_sampler(sampler)
    }
}

impl<T: Tracer> OtelSink<T> {
    /// Sends spans through this tracer, of a [provider](OtelSink::provider) for this sink.
    pub fn new(tracer: T) -> Self {
        Self {
            tracer,
            headers: Vec::new(),
            secrets: Vec::new(),
            scheme: "http",
            upgrade: Upgrade::default(),
            covers_unsampled: false,
        }
    }

    /// Records this request header, with all its lines.
    pub fn header(mut self, name: HeaderName) -> Self {
        if self.headers.iter().all(|(known, _)| *known != name) {
            let key: Arc<str> = format!("http.request.header.{name}").into();
            self.headers.push((name, key.into()));
        }
        self
    }

    /// Writes the values of this key of a query `REDACTED` too. Case does not matter.
    pub fn redact(mut self, key: impl Into<String>) -> Self {
        self.secrets.push(key.into());
        self
    }

    /// The scheme of requests that do not tell it, as those to a server; `http` by default.
    pub fn scheme(self, scheme: &'static str) -> Self {
        Self { scheme, ..self }
    }

    /// Records a deferred request that failed after all.
    pub fn upgrade_on_error(mut self) -> Self {
        self.upgrade.on_error = true;
        self
    }

    /// Records a deferred request that took at least this long after all.
    pub fn upgrade_if_slower_than(mut self, limit: Duration) -> Self {
        self.upgrade.slower_than = Some(limit);
        self
    }

    /// Also stands above what is made below requests that are not recorded, so that it is not recorded either.
    ///
    /// For programs whose handlers make spans of OpenTelemetry or, with `tracing-opentelemetry`, of `tracing`: without this such a span
    /// finds no parent in an unsampled request and becomes a trace of its own. It costs each unsampled request what a sink that listens costs.
    pub fn cover_unsampled(mut self) -> Self {
        self.covers_unsampled = true;
        self
    }

    fn may_record(&self, sampling: Sampling) -> bool {
        let may_upgrade = self.upgrade.on_error || self.upgrade.slower_than.is_some();
        sampling.is_sampled() || (sampling == Sampling::Defer && may_upgrade)
    }

    fn builder(&self, head: &OtelHead, finished: &Finished<'_>) -> SpanBuilder {
        let started_at = finished.ended_at().checked_sub(finished.total);
        SpanBuilder {
            span_kind: Some(match finished.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
            }),
            name: attributes::name(finished),
            start_time: started_at,
            attributes: Some(attributes::of(head, finished, self.scheme, &self.secrets)),
            events: (!finished.notes().is_empty()).then(|| attributes::events(finished)),
            links: finished.context.link().map(|other| vec![link(other)]),
        }
    }
}

impl OtelHead {
    fn of(head: &Head<'_>, listed: &[(HeaderName, Key)]) -> Self {
        let sent = head.headers;
        let listed = listed.iter().filter_map(|(name, key)| {
            let lines: Vec<_> = sent.get_all(name).iter().cloned().collect();
            (!lines.is_empty()).then(|| (key.clone(), lines))
        });
        Self {
            version: head.version,
            // Where the target has its own, nobody asks for it.
            host: match head.uri.authority() {
                Some(_) => None,
                None => sent.get(header::HOST).cloned(),
            },
            user_agent: sent.get(header::USER_AGENT).cloned(),
            headers: listed.collect(),
        }
    }
}

impl Upgrade {
    fn applies(self, finished: &Finished<'_>) -> bool {
        let is_slow = self
            .slower_than
            .is_some_and(|limit| finished.total >= limit);
        is_slow || (self.on_error && finished.is_failure())
    }
}

impl<T: Tracer> Sink for OtelSink<T>
where
    T::Span: Send + Sync + 'static,
{
    type Span = OtelSpan;

    const TIMES_HEAD: bool = false;

    fn begin(&self, started: &Started<'_>) -> Option<OtelSpan> {
        let head = self
            .may_record(started.context.sampling())
            .then(|| OtelHead::of(&started.head, &self.headers));
        (head.is_some() || self.covers_unsampled).then(|| OtelSpan {
            context: ours(started.context),
            head,
        })
    }

    fn in_scope<R>(&self, span: &mut OtelSpan, run: impl FnOnce() -> R) -> R {
        let _attached: ContextGuard = span.context.clone().attach();
        run()
    }

    fn end(&self, span: OtelSpan, finished: &Finished<'_>) {
        let context = finished.context;
        let Some(head) = span.head else { return };
        if !(context.is_sampled() || self.upgrade.applies(finished)) {
            return;
        }
        let builder = self.builder(&head, finished);
        let mut exported = assign(context, || {
            self.tracer.build_with_context(builder, &parent(context))
        });
        if finished.is_failure() {
            exported.set_status(trace::Status::error(""));
        }
        exported.end_with_timestamp(finished.ended_at());
    }
}

/// The request as the parent of what is made below it.
fn ours(context: &TraceContext) -> Context {
    Context::current().with_remote_span_context(SpanContext::new(
        trace_id(context.trace_id()),
        span_id(context.span_id()),
        TraceFlags::new(context.flags().bits()),
        false,
        state(context),
    ))
}

/// The span above: the caller's, or of a call of ours that of the request it is made for. The decision to record was ours, so the SDK's sampler is told of it as the parent's.
///
/// Of a root there is none, and what stands here has no id: from it the SDK takes the `tracestate`, in which the sampler has said how probable the root was.
fn parent(context: &TraceContext) -> Context {
    let parent = context.parent_id();
    let is_remote = parent.is_some() && context.origin() != Origin::Local;
    let flags = TraceFlags::new(context.flags().bits()).with_sampled(true);
    Context::new().with_remote_span_context(SpanContext::new(
        trace_id(context.trace_id()),
        parent.map_or(trace::SpanId::INVALID, span_id),
        flags,
        is_remote,
        state(context),
    ))
}

fn state(context: &TraceContext) -> TraceState {
    match context.state() {
        none if none.is_empty() => TraceState::NONE,
        some => TraceState::from_key_value(some.iter()).unwrap_or_default(),
    }
}

fn link(link: crate::Link) -> Link {
    let context = SpanContext::new(
        trace_id(link.trace_id),
        span_id(link.span_id),
        TraceFlags::default(),
        true,
        TraceState::NONE,
    );
    Link::with_context(context)
}

fn trace_id(id: TraceId) -> trace::TraceId {
    trace::TraceId::from_bytes(id.to_bytes())
}

fn span_id(id: SpanId) -> trace::SpanId {
    trace::SpanId::from_bytes(id.to_bytes())
}

thread_local! {
    /// The ids of the span that is being built on this thread. Each is given out once: whatever else the SDK builds meanwhile has its own.
    static ASSIGNED: Cell<(Option<TraceId>, Option<SpanId>)> = const { Cell::new((None, None)) };
}

/// The SDK takes ids from nowhere but its generator.
fn assign<R>(context: &TraceContext, build: impl FnOnce() -> R) -> R {
    /// Takes back what was not asked for, also when the SDK panics.
    struct TakeBack;
    impl Drop for TakeBack {
        fn drop(&mut self) {
            ASSIGNED.set((None, None));
        }
    }
    // Below a parent no trace id is asked for.
    let of_a_root = context.parent_id().is_none();
    let trace_id = of_a_root.then(|| context.trace_id());
    ASSIGNED.set((trace_id, Some(context.span_id())));
    let _take_back = TakeBack;
    build()
}

#[derive(Debug)]
struct OurIds;

impl SdkIds for OurIds {
    fn new_trace_id(&self) -> trace::TraceId {
        let (assigned, span_id) = ASSIGNED.get();
        ASSIGNED.set((None, span_id));
        trace_id(assigned.unwrap_or_else(|| FastIds.trace_id()))
    }

    fn new_span_id(&self) -> trace::SpanId {
        let (trace_id, assigned) = ASSIGNED.get();
        ASSIGNED.set((trace_id, None));
        span_id(assigned.unwrap_or_else(|| FastIds.span_id()))
    }
}
