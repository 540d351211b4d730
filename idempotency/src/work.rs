//! What is done for a keyed request, from its first byte to its filed record.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use buttress_wire::{Refusal, ReplayBody, into_bytes};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, request};
use http_body::{Body, Frame};
use tower_service::Service;

use crate::body::{IdempotentBody, RequestBody};
use crate::event::Event;
use crate::fingerprint::FingerprintError;
use crate::handler::Idempotency;
use crate::held::Held;
use crate::opening::{Asked, Failed, Keyed, Opened};
use crate::reconcile::Reconciled;
use crate::refusal;
use crate::reply::Answered;
use crate::settings::Execution;
use crate::spawned::spawned;
use crate::store::{Begin, Recovery, Store};

/// A keyed request, and what it is worked on with.
pub(crate) struct Work<S, St> {
    pub(crate) inner: S,
    pub(crate) keyed: Keyed<St>,
}

pub(crate) type Answer<B, E> = Result<Response<IdempotentBody<B>>, E>;

impl<S, St: Store> Work<S, St> {
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each argument twice"
    )]
    pub(crate) fn run<ReqB, B>(
        mut self,
        mut request: Incoming,
        body: ReqB,
    ) -> impl Future<Output = Answer<B, S::Error>> + Send
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        ReqB: Body + Send + 'static,
        ReqB::Data: Send,
        ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        async move {
            match self.keyed.read_body(pin!(body)).await {
                Ok(body) => request.body = body,
                Err(refusal) => return Ok(self.keyed.refuse(&refusal)),
            }
            let asked = match self.keyed.ask_for(request.head(), &request.body.data) {
                Ok(asked) => asked,
                Err(error) => return Ok(self.keyed.refuse(&refusal::no_fingerprint(error))),
            };
            let mut held = 'ours: {
                // Awaited apart from the match, whose subject would have room in the future until then.
                let instead: Pin<Box<dyn Future<Output = _> + Send>> =
                    match self.keyed.open(&asked).await {
                        Ok(Opened::Ours(claim, room, since)) => {
                            let fingerprint = asked.fingerprint;
                            break 'ours Held::new(self.keyed, claim, fingerprint, room, since);
                        }
                        Ok(Opened::Found(Begin::OutcomeUnknown)) if self.keyed.can_reconcile() => {
                            Box::pin(self.reconcile(request, asked))
                        }
                        Ok(Opened::Found(found)) => return Ok(self.keyed.answer(found)),
                        Ok(Opened::Crowded) => return Ok(self.keyed.crowded()),
                        Ok(Opened::Full) => return Ok(self.keyed.full()),
                        Err(failed) => Box::pin(self.without_store(request, &asked, failed)),
                    };
                return instead.await;
            };
            if held.keyed().is_inline_now() {
                execute(&mut self.inner, &mut request, &mut held).await
            } else {
                start(self.inner, request, held).await
            }
        }
    }

    async fn without_store<ReqB, B>(
        mut self,
        mut request: Incoming,
        asked: &Asked,
        failed: Failed<St>,
    ) -> Answer<B, S::Error>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>>,
    {
        let Failed { error, beside } = failed;
        self.keyed.shared.emit(Event::StoreFailed(&error));
        if !self.keyed.call.may_bypass(asked, &error) {
            return Ok(self.keyed.refuse(&refusal::store_failed(&error)));
        }
        poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        self.keyed.shared.emit(Event::Bypassed);
        if let Some(claim) = beside {
            claim.keep();
        }
        let response = self.inner.call(request.take()).await?;
        Ok(response.map(IdempotentBody::pass))
    }

    /// Takes the claim over from whoever is gone, to ask what has become of the work; it is done again only if it was not done.
    async fn reconcile<ReqB, B>(self, request: Incoming, asked: Asked) -> Answer<B, S::Error>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        ReqB: Send + 'static,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let taking_over = Asked {
            recovery: Recovery::Reexecute,
            ..asked
        };
        let mut held = match self.keyed.open(&taking_over).await {
            Ok(Opened::Ours(claim, room, since)) => {
                Held::new(self.keyed, claim, asked.fingerprint, room, since)
            }
            Ok(Opened::Found(found)) => return Ok(self.keyed.answer(found)),
            Ok(Opened::Crowded) => return Ok(self.keyed.crowded()),
            Ok(Opened::Full) => return Ok(self.keyed.full()),
            // It is known that nobody knows, and nothing is done without having asked.
            Err(failed) => {
                self.keyed.shared.emit(Event::StoreFailed(&failed.error));
                return Ok(self.keyed.answer(Begin::OutcomeUnknown));
            }
        };
        if held.keyed().shared.settings.execution == Execution::Inline {
            held.keyed().progress.end();
        }
        match held.keyed().ask(&request, &held).await {
            Reconciled::Done(response) => Ok(held.reconciled(response).await),
            Reconciled::NotDone => {
                held.is_first_after_all();
                start(self.inner, request, held).await
            }
            Reconciled::Unknown => {
                let keyed = held.keyed().clone();
                drop(held);
                Ok(keyed.answer(Begin::OutcomeUnknown))
            }
        }
    }
}

/// Executes it where that is chosen to happen.
fn start<S, St, ReqB, B>(
    mut inner: S,
    mut request: Incoming,
    mut held: Held<St>,
) -> Pin<Box<dyn Future<Output = Answer<B, S::Error>> + Send>>
where
    St: Store,
    S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ReqB: Send + 'static,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if held.keyed().is_inline_now() {
        return Box::pin(async move { execute(&mut inner, &mut request, &mut held).await });
    }
    if held.keyed().shared.settings.execution == Execution::Inline {
        // The caller left while the key was being claimed, and the work is the caller's alone.
        return Box::pin(async move {
            held.forget().await;
            Ok(held.keyed().refuse(&refusal::outcome_unknown()))
        });
    }
    let call = Arc::clone(&held.keyed().call);
    let tasks = held.keyed().shared.common.tasks.clone();
    let execution = async move { execute(&mut inner, &mut request, &mut held).await };
    let answer = spawned(&tasks, execution);
    // The task has it from here on.
    call.progress.end();
    Box::pin(async move {
        let nobody_knows = || {
            let refusal = refusal::outcome_unknown().render(call.protocol);
            Ok(refusal.map(IdempotentBody::refusal))
        };
        answer.await.unwrap_or_else(nobody_knows)
    })
}

/// All that it works on stays where it is: a future that moves is a copy of all that it has room for.
#[expect(
    clippy::manual_async_fn,
    reason = "the future of an `async fn` has room for each argument twice"
)]
fn execute<'a, S, St, ReqB, B>(
    inner: &'a mut S,
    request: &'a mut Incoming,
    held: &'a mut Held<St>,
) -> impl Future<Output = Answer<B, S::Error>> + Send
where
    St: Store,
    S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send,
    S::Future: Send,
    S::Error: Send,
    ReqB: Send,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async move {
        request.insert(held.seen());
        if let Err(error) = poll_fn(|cx| held.keep_while(inner.poll_ready(cx))).await {
            // It was never called.
            Box::pin(held.forget()).await;
            return Err(error);
        }
        let (answered, mut due) = {
            let mut call = pin!(inner.call(request.take()));
            poll_fn(|cx| {
                let response = ready!(held.keep_while(call.as_mut().poll(cx)));
                Poll::Ready(held.answered(response, cx))
            })
            .await
        };
        if let Some(winner) = held.see_to(&mut due).await {
            return Ok(winner);
        }
        match answered {
            Answered::Now(response) => response,
            Answered::Unsettled(response) => Box::pin(held.confirmed(response)).await,
        }
    }
}

impl<St: Store> Keyed<St> {
    /// The whole body, within the limit.
    async fn read_body<ReqB>(&self, mut body: Pin<&mut ReqB>) -> Result<Whole, Refusal>
    where
        ReqB: Body,
        ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.shared.settings.max_request_body;
        if body.size_hint().lower() > limit as u64 {
            return Err(refusal::request_too_large(limit));
        }
        let mut reading = Reading::default();
        while !body.is_end_stream()
            && let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
        {
            let frame = frame.map_err(|_| refusal::body_broke())?;
            if !reading.take(into_bytes(frame), limit) {
                return Err(refusal::request_too_large(limit));
            }
        }
        Ok(reading.end())
    }

    fn ask_for(&self, parts: &request::Parts, body: &[u8]) -> Result<Asked, FingerprintError> {
        let settings = &self.shared.settings;
        Ok(Asked {
            fingerprint: settings.fingerprint(parts, body, &self.call.beside)?,
            recovery: settings.recovery,
        })
    }

    /// Whether the work is done in the future of its call.
    fn is_inline_now(&self) -> bool {
        match self.shared.settings.execution {
            Execution::DetachOnDrop => true,
            Execution::Detached => false,
            Execution::Inline if self.call.progress.is_gone() => false,
            Execution::Inline => {
                self.call.progress.end();
                true
            }
        }
    }

    fn can_reconcile(&self) -> bool {
        self.shared.settings.reconcile.is_some()
    }

    async fn ask(&self, request: &Incoming, held: &Held<St>) -> Reconciled {
        let Some(hook) = &self.shared.settings.reconcile else {
            return Reconciled::Unknown;
        };
        let mut request = Request::from_parts(request.head().clone(), request.body.data.clone());
        request.extensions_mut().insert(held.seen());
        let mut reconciling = hook.reconcile(request);
        poll_fn(|cx| held.keep_while(reconciling.as_mut().poll(cx))).await
    }
}

/// A request, until the inner service has it.
pub(crate) struct Incoming {
    head: Option<request::Parts>,
    body: Whole,
}

impl Incoming {
    /// One whose body is yet to be read.
    pub(crate) fn new(head: request::Parts) -> Self {
        Self {
            head: Some(head),
            body: Whole::default(),
        }
    }

    fn head(&self) -> &request::Parts {
        self.head.as_ref().expect(TAKEN_LAST)
    }

    fn insert(&mut self, seen: Idempotency) {
        let head = self.head.as_mut().expect(TAKEN_LAST);
        head.extensions.insert(seen);
    }

    fn take<B>(&mut self) -> Request<RequestBody<B>> {
        let head = self.head.take().expect(TAKEN_LAST);
        Request::from_parts(head, std::mem::take(&mut self.body).into_body())
    }
}

const TAKEN_LAST: &str = "the inner service is called once, and nothing is asked after";

/// A request body, read.
#[derive(Default)]
struct Whole {
    data: Bytes,
    /// Few requests have any, and all make room for them.
    trailers: Option<Box<HeaderMap>>,
}

impl Whole {
    fn into_body<B>(self) -> RequestBody<B> {
        RequestBody::whole(ReplayBody::new(
            self.data,
            self.trailers.map(|trailers| *trailers),
        ))
    }
}

/// A request body, as it is read. Most are one frame, and are not copied.
#[derive(Default)]
struct Reading {
    first: Bytes,
    /// All of it, once there is more than one frame.
    all: BytesMut,
    trailers: Option<Box<HeaderMap>>,
}

impl Reading {
    /// False when it is more than `limit` bytes.
    fn take(&mut self, frame: Frame<Bytes>, limit: usize) -> bool {
        match frame.into_data() {
            Ok(data) => return self.take_data(data, limit),
            Err(frame) => {
                let trailers = self.trailers.get_or_insert_default();
                trailers.extend(frame.into_trailers().unwrap_or_default());
            }
        }
        true
    }

    fn take_data(&mut self, data: Bytes, limit: usize) -> bool {
        let seen = self.first.len().max(self.all.len());
        if data.len() > limit - seen {
            return false;
        }
        if seen == 0 {
            self.first = data;
            return true;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
        true
    }

    fn end(self) -> Whole {
        Whole {
            data: if self.all.is_empty() {
                self.first
            } else {
                self.all.freeze()
            },
            trailers: self.trailers,
        }
    }
}
