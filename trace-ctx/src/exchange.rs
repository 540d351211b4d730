//! One request from the call to the end of its body: what is kept meanwhile, and the one moment when it is told.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use bytes::Buf;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame};

use crate::current::Entered;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::{Finished, Head, Outcome, RouteName, Sink, Started};

/// One request and its response, from the call to the end of the body: its context, and what is told when it ends.
///
/// Moves from the future into the body. Dropping it before `finish` tells the sink what that
/// drop means. Hence the bound, on this and on the future and the body that hold it: a `Drop` cannot have one of its own.
pub(crate) struct Exchange<K: Sink> {
    /// `None` where there is nobody to tell and nothing to answer: counting references costs as much as the rest of a poll.
    shared: Option<Arc<Shared<K>>>,
    /// Empty only while [`Entered`].
    context: Slot,
    /// `None` if no sink wants the request, or it has been told.
    ///
    /// Boxed, so that futures and bodies stay small where nobody listens.
    record: Option<Box<Record<K::Span>>>,
}

struct Record<P> {
    span: P,
    method: Method,
    uri: Uri,
    route: Option<RouteName>,
    started: Duration,
    time_to_head: Option<Duration>,
    status: Option<StatusCode>,
    grpc_status: Option<u32>,
    bytes: u64,
    /// The length of the body, if it is declared.
    expected: Option<u64>,
    /// What a drop at this moment would mean.
    on_drop: Outcome,
}

impl<K: Sink> Exchange<K> {
    pub(crate) fn begin<B>(
        shared: &Arc<Shared<K>>,
        mut context: Slot,
        request: &Request<B>,
    ) -> Self {
        let record = context.get().and_then(|context| {
            let head = Head::of(request);
            let started = Started::new(context, shared.kind, head, &*shared.route);
            let span = shared.sink.begin(&started)?;
            let started_at = shared.clock.now();
            Some(Box::new(Record::new(
                span,
                head,
                started.into_route(),
                started_at,
            )))
        });
        if let Some(context) = context.get_mut() {
            context.is_told = record.is_some();
        }
        let is_needed = record.is_some() || shared.answer.says_something;
        Self {
            shared: is_needed.then(|| shared.clone()),
            context,
            record,
        }
    }

    /// Runs a piece of the request: with its context current and in the scope of the sink's span.
    #[inline]
    pub(crate) fn enter<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let _entered = Entered::new(&mut self.context);
        match (&mut self.record, &self.shared) {
            (Some(record), Some(shared)) => record.in_scope(&*shared.sink, run),
            _ => run(),
        }
    }

    /// The same where no sink has a scope: without a closure, through which a big value would be moved twice.
    #[inline]
    pub(crate) fn enter_silently(&mut self) -> Option<Entered<'_>> {
        match self.record {
            None => Some(Entered::new(&mut self.context)),
            Some(_) => None,
        }
    }

    /// The response is there.
    #[inline]
    pub(crate) fn on_head<B: Body>(&mut self, response: &mut Response<B>) {
        if let Some(shared) = &self.shared {
            if let Some(record) = &mut self.record {
                record.on_head(shared, response);
            }
            if let Some(context) = self.context.get() {
                shared.answer(context, response);
            }
        }
        self.on_progress(response.body());
    }

    /// A frame is being passed on.
    pub(crate) fn on_frame<B: Body>(&mut self, frame: &Frame<B::Data>, body: &B) {
        if let Some(record) = &mut self.record {
            record.on_frame(frame);
        }
        self.on_progress(body);
    }

    /// Servers do not ask a body for its end if it said that there is nothing more.
    fn on_progress<B: Body>(&mut self, body: &B) {
        let Some(record) = &mut self.record else {
            return;
        };
        if record.watch(|| body.is_end_stream()) {
            self.finish(Outcome::Complete);
        }
    }

    /// Tells the sink, unless it has been told.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let Some(record) = self.record.take() {
            self.tell(*record, outcome);
        }
    }

    fn tell(&mut self, record: Record<K::Span>, outcome: Outcome) {
        let (Some(shared), Some(current)) = (&self.shared, self.context.get_mut()) else {
            return;
        };
        let context = &current.clone();
        // What is said from now on is told to nobody.
        current.is_told = false;
        let _entered = Entered::new(&mut self.context);
        let finished = Finished {
            context,
            kind: shared.kind,
            method: &record.method,
            uri: &record.uri,
            route: record.route.as_ref(),
            outcome,
            status: record.status,
            grpc_status: record.grpc_status,
            bytes: record.bytes,
            time_to_head: record.time_to_head,
            total: shared.clock.now().saturating_sub(record.started),
            clock: &*shared.clock,
            ended_at: OnceCell::new(),
        };
        shared.sink.end(record.span, &finished);
    }
}

impl<K: Sink> Drop for Exchange<K> {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.finish(record.on_drop);
        }
    }
}

impl<P> Record<P> {
    fn new(span: P, head: Head<'_>, route: Option<RouteName>, started: Duration) -> Self {
        Self {
            span,
            method: head.method.clone(),
            uri: head.uri.clone(),
            route,
            started,
            time_to_head: None,
            status: None,
            grpc_status: None,
            bytes: 0,
            expected: None,
            on_drop: Outcome::FutureDropped,
        }
    }

    fn in_scope<R>(&mut self, sink: &impl Sink<Span = P>, run: impl FnOnce() -> R) -> R {
        // If `run` unwinds, this is what the drop of the exchange will find.
        let on_drop = mem::replace(&mut self.on_drop, Outcome::Panic);
        let output = sink.in_scope(&mut self.span, run);
        self.on_drop = on_drop;
        output
    }

    /// Runs a small piece of what is not ours, in no scope.
    fn watch<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let on_drop = mem::replace(&mut self.on_drop, Outcome::Panic);
        let output = run();
        self.on_drop = on_drop;
        output
    }

    fn on_head<K: Sink, B: Body>(&mut self, shared: &Shared<K>, response: &Response<B>) {
        // Until we are through with what is not ours.
        self.on_drop = Outcome::Panic;
        self.time_to_head = K::TIMES_HEAD.then(|| shared.clock.now().saturating_sub(self.started));
        let (status, extensions) = (response.status(), response.extensions());
        let route = shared.route.of_response(status, extensions);
        self.route = route.or(self.route.take());
        self.status = Some(response.status());
        self.grpc_status = grpc_status(response.headers());
        self.expected = declared_length(response);
        self.on_drop = Outcome::BodyDropped;
        if has_no_content(&self.method, response.status()) {
            self.on_drop = Outcome::Complete;
        }
        self.note_whole_body();
    }

    fn on_frame<D: Buf>(&mut self, frame: &Frame<D>) {
        if let Some(data) = frame.data_ref() {
            self.bytes += data.remaining() as u64;
            self.note_whole_body();
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.grpc_status = grpc_status(trailers).or(self.grpc_status);
            // Nothing comes after them: a server over HTTP/2 does not ask.
            self.on_drop = Outcome::Complete;
        }
    }

    /// A server that has sent the declared length drops the body without asking for its end.
    fn note_whole_body(&mut self) {
        if self.expected.is_some_and(|expected| self.bytes >= expected) {
            self.on_drop = Outcome::Complete;
        }
    }
}

/// Nobody reads the body of such a response, whatever it says (RFC 9110, 6.4.1; 9.3.6 for CONNECT).
fn has_no_content(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD
        || (method == Method::CONNECT && status.is_success())
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn declared_length<B: Body>(response: &Response<B>) -> Option<u64> {
    let field = response.headers().get(header::CONTENT_LENGTH);
    let field = field.and_then(|value| value.to_str().ok()?.parse().ok());
    field.or_else(|| response.body().size_hint().exact())
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl<K: Sink> fmt::Debug for Exchange<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("context", &self.context.get())
            .field("is_recorded", &self.record.is_some())
            .finish_non_exhaustive()
    }
}
