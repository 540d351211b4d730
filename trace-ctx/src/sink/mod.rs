//! Who hears of finished requests, and what is told.

#[cfg(any(feature = "tracing", feature = "otel"))]
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Uri};

use crate::{Clock, Head, Note, Route, RouteName, TraceContext};

#[cfg(feature = "json")]
pub(crate) mod common;
mod compose;
mod failure;
#[cfg(feature = "json")]
pub(crate) mod json;
#[cfg(feature = "json")]
mod lines;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(feature = "otel")]
pub(crate) mod otel;
mod slow;
#[cfg(feature = "tracing")]
pub(crate) mod tracing;
mod upgrade;

pub use self::compose::SampledOnly;
pub use self::slow::SlowOnly;
pub use self::upgrade::SampledOr;

/// Where records go: an access log, a dashboard, spans.
///
/// For each request a sink is asked once with [`begin`](Self::begin) and, if it wants the request, told exactly
/// once with [`end`](Self::end): when the body has ended, failed or been dropped, when the future was dropped,
/// when the service failed or panicked. What a sink holds in its [`Span`](Self::Span) can therefore not leak.
///
/// Where no sink wants a request, nothing is kept for it and no clock is read.
///
/// - A closure over [`Finished`] is a sink that wants every request.
/// - A tuple of sinks is a sink, and so are `Arc<S>`, `Option<S>` and [`SampledOnly<S>`]. Of a tuple each begins, and is scoped, inside of those to its left.
/// - `()` wants nothing.
pub trait Sink {
    /// What the sink keeps for one request; `()` if all it needs is in [`Finished`].
    type Span;

    /// Whether it asks for [`Finished::time_to_head`]. Where no sink does, no clock is read for it.
    const TIMES_HEAD: bool = true;

    /// A request has come in, or is about to go out. `None`: not interested.
    ///
    /// Called before the service is, when the request is not yet [`current()`](crate::current): for a call that is the request it is made for. Should be quick, like everything here: it runs on the task of the
    /// request.
    fn begin(&self, started: &Started<'_>) -> Option<Self::Span>;

    /// Surrounds the call, every poll of the future and of the body, and the drops of both; in a tuple also the beginning of those to its right.
    fn in_scope<R>(&self, span: &mut Self::Span, run: impl FnOnce() -> R) -> R {
        let _ = span;
        run()
    }

    /// The request is over. Its context is [`current()`](crate::current).
    ///
    /// May run while a panic unwinds, and must not panic itself.
    fn end(&self, span: Self::Span, finished: &Finished<'_>);
}

/// Which side of a request a layer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// We answer it.
    Server,
    /// We made it.
    Client,
}

/// A request at its start, as [`Sink::begin`] sees it.
#[non_exhaustive]
pub struct Started<'a> {
    /// Its place in the trace.
    pub context: &'a TraceContext,
    /// Whether it came in or goes out.
    pub kind: Kind,
    /// The request.
    pub head: Head<'a>,
    find_route: &'a dyn Route,
    route: OnceCell<Option<RouteName>>,
}

/// One request that is over.
#[non_exhaustive]
pub struct Finished<'a> {
    /// Its place in the trace.
    pub context: &'a TraceContext,
    /// Whether it came in or went out.
    pub kind: Kind,
    /// Its method.
    pub method: &'a Method,
    /// Its target. The query may hold secrets.
    pub uri: &'a Uri,
    /// The template of its route, where known.
    pub route: Option<&'a RouteName>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status, if it came to a response.
    pub status: Option<StatusCode>,
    /// The gRPC status, from the trailers or else from the head.
    pub grpc_status: Option<u32>,
    /// How many bytes of the response body were passed on.
    pub bytes: u64,
    /// From the call to the head of the response, where a sink [asks for it](Sink::TIMES_HEAD).
    pub time_to_head: Option<Duration>,
    /// From the call to the end.
    pub total: Duration,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) ended_at: OnceCell<SystemTime>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole body was passed on, or there was none to pass on.
    Complete,
    /// The body failed.
    BodyError,
    /// The body was dropped before its end: in a server, the client is gone.
    BodyDropped,
    /// The future was dropped before there was a response: in a server, the client is gone.
    FutureDropped,
    /// The service returned an error.
    Error,
    /// The service, its future or the body panicked.
    Panic,
}

impl<'a> Started<'a> {
    pub(crate) fn new(
        context: &'a TraceContext,
        kind: Kind,
        head: Head<'a>,
        find_route: &'a dyn Route,
    ) -> Self {
        Self {
            context,
            kind,
            head,
            find_route,
            route: OnceCell::new(),
        }
    }

    /// The template of the route, where the request already tells it. Found when first asked for.
    #[must_use]
    pub fn route(&self) -> Option<&RouteName> {
        self.route
            .get_or_init(|| self.find_route.of_request(&self.head))
            .as_ref()
    }

    /// The same request, as a sink inside of another one is to see it.
    fn in_context<'b>(&'b self, context: &'b TraceContext) -> Started<'b> {
        Started::new(context, self.kind, self.head, self.find_route)
    }

    pub(crate) fn into_route(self) -> Option<RouteName> {
        self.route
            .into_inner()
            .unwrap_or_else(|| self.find_route.of_request(&self.head))
    }
}

impl fmt::Debug for Started<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("context", &self.context)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Finished<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished")
            .field("context", &self.context)
            .field("kind", &self.kind)
            .field("method", &self.method)
            .field("route", &self.route)
            .field("outcome", &self.outcome)
            .field("status", &self.status)
            .field("bytes", &self.bytes)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Outcome {
    /// The name as it stands in records: `complete`, `body_error`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::BodyError => "body_error",
            Self::BodyDropped => "body_dropped",
            Self::FutureDropped => "future_dropped",
            Self::Error => "error",
            Self::Panic => "panic",
        }
    }
}

impl Kind {
    /// The name as it stands in records: `server`, `client`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The methods of RFC 9110 and RFC 5789; any other is `_OTHER`, so that no caller can make up names.
#[cfg(any(feature = "json", feature = "otel", feature = "metrics"))]
pub(crate) fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

/// As the target tells it, or else what it is known to be.
#[cfg(any(feature = "otel", feature = "metrics"))]
pub(crate) fn scheme_of(uri: &Uri, known: &'static str) -> &'static str {
    match uri.scheme_str() {
        Some("http") => "http",
        Some("https") => "https",
        _ => known,
    }
}

/// The semantic conventions' name of an HTTP span: few values, whatever callers send.
#[cfg(any(feature = "tracing", feature = "otel"))]
pub(crate) fn span_name(method: &'static str, route: Option<&str>) -> Cow<'static, str> {
    let method = if method == "_OTHER" { "HTTP" } else { method };
    match route {
        Some(route) => format!("{method} {route}").into(),
        None => method.into(),
    }
}

impl Finished<'_> {
    /// The same request, as a sink inside of another one is to see it.
    fn in_context<'b>(&'b self, context: &'b TraceContext) -> Finished<'b> {
        Finished {
            context,
            ended_at: self.ended_at().into(),
            ..*self
        }
    }

    /// When it ended: the same for all who ask. The clock is read when the first one does.
    #[must_use]
    pub fn ended_at(&self) -> SystemTime {
        *self.ended_at.get_or_init(|| self.clock.wall())
    }

    /// What was said about the request while it ran, by [`attribute`](crate::attribute), [`event`](crate::event) and [`error`](crate::error).
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        self.context.notes()
    }
}

impl<F: Fn(&Finished<'_>)> Sink for F {
    type Span = ();

    fn begin(&self, _: &Started<'_>) -> Option<()> {
        Some(())
    }

    fn end(&self, (): (), finished: &Finished<'_>) {
        self(finished);
    }
}

impl<S: Sink> Sink for Arc<S> {
    type Span = S::Span;

    const TIMES_HEAD: bool = S::TIMES_HEAD;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        (**self).begin(started)
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        (**self).in_scope(span, run)
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        (**self).end(span, finished);
    }
}
