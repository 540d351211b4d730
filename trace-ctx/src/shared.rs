//! What a layer and its services share, and what a response tells of its context.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response};

use crate::ascii::visible_ascii;
use crate::{Clock, FromExtensions, Kind, Policy, Route, SystemClock, TraceContext};

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What a layer and its services share.
pub(crate) struct Shared<K> {
    pub(crate) kind: Kind,
    pub(crate) policy: Policy,
    pub(crate) answer: Answer,
    pub(crate) route: Arc<dyn Route>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: Arc<K>,
}

/// What a response tells about its context. Nothing by default: each costs allocations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Whether any of what follows is asked for.
    pub(crate) says_something: bool,
    pub(crate) request_id: bool,
    pub(crate) correlation_id: bool,
    pub(crate) trace_id: Option<HeaderName>,
    pub(crate) server_timing: bool,
    pub(crate) extension: bool,
}

impl Shared<()> {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            policy: Policy::default(),
            answer: Answer::default(),
            route: Arc::new(FromExtensions),
            clock: Arc::new(SystemClock),
            sink: Arc::new(()),
        }
    }
}

impl<K> Shared<K> {
    pub(crate) fn with_sink<L>(self, sink: L) -> Shared<L> {
        let Self {
            kind,
            policy,
            answer,
            route,
            clock,
            sink: _,
        } = self;
        Shared {
            kind,
            policy,
            answer,
            route,
            clock,
            sink: Arc::new(sink),
        }
    }

    #[inline]
    pub(crate) fn answer<B>(&self, context: &TraceContext, response: &mut Response<B>) {
        if self.answer.says_something {
            self.say(context, response);
        }
    }

    fn say<B>(&self, context: &TraceContext, response: &mut Response<B>) {
        let headers = response.headers_mut();
        if self.answer.request_id {
            headers.insert(
                &self.policy.request_id,
                context.request_id().to_header_value(),
            );
        }
        if let (true, Some(name)) = (self.answer.correlation_id, &self.policy.correlation_id) {
            headers.insert(name, context.correlation_id().to_header_value());
        }
        if let Some(name) = &self.answer.trace_id {
            headers.insert(name, visible_ascii(&context.trace_id().to_hex()));
        }
        if self.answer.server_timing {
            headers.append(&SERVER_TIMING, server_timing(context));
        }
        if self.answer.extension {
            response.extensions_mut().insert(context.clone());
        }
    }
}

/// `trace;desc=00-…`: our own span, as a `traceparent` for the caller.
fn server_timing(context: &TraceContext) -> HeaderValue {
    const PREFIX: &[u8] = b"trace;desc=";
    let mut value = [0; PREFIX.len() + 55];
    value[..PREFIX.len()].copy_from_slice(PREFIX);
    value[PREFIX.len()..].copy_from_slice(&context.traceparent().to_bytes());
    visible_ascii(&value)
}

/// Not derived: a sink need not be `Clone`.
impl<K> Clone for Shared<K> {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind,
            policy: self.policy.clone(),
            answer: self.answer.clone(),
            route: self.route.clone(),
            clock: self.clock.clone(),
            sink: self.sink.clone(),
        }
    }
}

impl<K> fmt::Debug for Shared<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("kind", &self.kind)
            .field("policy", &self.policy)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
