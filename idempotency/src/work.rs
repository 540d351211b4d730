//! What is done for a keyed request, from its first byte to its filed record.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use buttress_wire::{Refusal, ReplayBody, into_bytes};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, request};
use http_body::{Body, Frame};
use tower_service::Service;

use crate::body::{IdempotentBody, RequestBody};
use crate::event::Event;
use crate::fingerprint::FingerprintError;
use crate::held::Held;
use crate::opening::{Asked, Keyed, Opened};
use crate::reconcile::Reconciled;
use crate::refusal;
use crate::reply::Due;
use crate::settings::{Execution, OnStoreError};
use crate::spawned::spawned;
use crate::store::{Begin, Recovery, Standing, Store, StoreError};

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
        self,
        parts: request::Parts,
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
            let body = match self.keyed.read_body(body).await {
                Ok(body) => body,
                Err(refusal) => return Ok(self.keyed.refuse(&refusal)),
            };
            let asked = match self.keyed.ask_for(&parts, &body.data) {
                Ok(asked) => asked,
                Err(error) => return Ok(self.keyed.refuse(&refusal::no_fingerprint(error))),
            };
            match self.keyed.open(&asked).await {
                // A replay does not carry the room that an execution needs.
                Ok(Opened::Ours(held)) => self.start(parts, body, held).await,
                Ok(Opened::Found(Begin::OutcomeUnknown)) if self.keyed.can_reconcile() => {
                    Box::pin(self.reconcile(parts, body, asked)).await
                }
                Ok(Opened::Found(found)) => Ok(self.keyed.answer(found)),
                Ok(Opened::Crowded) => Ok(self.keyed.crowded()),
                Err(error) => Box::pin(self.without_store(parts, body, &error)).await,
            }
        }
    }

    async fn without_store<ReqB, B>(
        mut self,
        parts: request::Parts,
        body: Whole,
        error: &StoreError,
    ) -> Answer<B, S::Error>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>>,
    {
        self.keyed.shared.emit(Event::StoreFailed(error));
        let bypass = self.keyed.shared.settings.on_store_error == OnStoreError::Bypass;
        // There is a record: something was done. Or nobody waits for it any more.
        let refused = matches!(error, StoreError::Corrupt(_)) || self.keyed.call.progress.is_gone();
        if !bypass || refused {
            return Ok(self.keyed.refuse(&refusal::store_failed(error)));
        }
        self.keyed.shared.emit(Event::Bypassed);
        poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        let request = Request::from_parts(parts, body.into_body());
        let response = self.inner.call(request).await?;
        Ok(response.map(IdempotentBody::pass))
    }

    /// Executes it where that is chosen to happen.
    fn start<ReqB, B>(
        self,
        parts: request::Parts,
        body: Whole,
        held: Held<St>,
    ) -> Pin<Box<dyn Future<Output = Answer<B, S::Error>> + Send>>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        ReqB: Send + 'static,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let progress = &self.keyed.call.progress;
        match self.keyed.shared.settings.execution {
            Execution::DetachOnDrop => Box::pin(self.execute(parts, body, held)),
            Execution::Inline if progress.is_gone() => Box::pin(async move {
                // The caller left while the key was being claimed, and the work is the caller's alone.
                held.forget().await;
                Ok(self.keyed.refuse(&refusal::outcome_unknown()))
            }),
            Execution::Inline => {
                progress.end();
                Box::pin(self.execute(parts, body, held))
            }
            Execution::Detached => {
                let call = Arc::clone(&self.keyed.call);
                let tasks = self.keyed.shared.common.tasks.clone();
                let answer = spawned(&tasks, self.execute(parts, body, held));
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
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each argument twice"
    )]
    fn execute<ReqB, B>(
        mut self,
        mut parts: request::Parts,
        body: Whole,
        held: Held<St>,
    ) -> impl Future<Output = Answer<B, S::Error>> + Send
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>> + Send,
        S::Future: Send,
        S::Error: Send,
        ReqB: Send,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        async move {
            parts.extensions.insert(held.seen());
            let mut ready = poll_fn(|cx| self.inner.poll_ready(cx));
            let ready = held.keep_alive(Pin::new(&mut ready)).await;
            if let Err(error) = ready {
                // It was never called.
                Box::pin(held.forget()).await;
                return Err(error);
            }
            let request = Request::from_parts(parts, body.into_body());
            let response = {
                let call = pin!(self.inner.call(request));
                held.keep_alive(call).await
            };
            match held.standing().await {
                // An error says nothing about what was done before it: dropping what is held leaves it to recovery.
                Ok(Standing::Running) => {
                    // What is done with here is not kept while the record is filed.
                    let (response, mut held, recorded) = {
                        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                        let (response, due) = self.keyed.judge(response?, held, &waker);
                        match due {
                            Due::File(held, recorded) => (response, held, recorded),
                            Due::Forget(held) => {
                                Box::pin(held.forget()).await;
                                return Ok(response);
                            }
                            Due::Nothing => return Ok(response),
                        }
                    };
                    let winner = self.keyed.file(&mut held, recorded).await;
                    Ok(winner.unwrap_or(response))
                }
                Ok(Standing::Done) => {
                    held.committed();
                    Ok(response?.map(IdempotentBody::pass))
                }
                Err(StoreError::Lost) => {
                    let grant = Arc::clone(&held.grant);
                    held.lost();
                    let winner = self.keyed.yield_to_winner(&grant);
                    Ok(Box::pin(winner).await)
                }
                Err(error) => Ok(self.keyed.refuse(&refusal::store_failed(&error))),
            }
        }
    }

    /// Takes the claim over from whoever is gone, to ask what has become of the work; it is done again only if it was not done.
    async fn reconcile<ReqB, B>(
        self,
        parts: request::Parts,
        body: Whole,
        asked: Asked,
    ) -> Answer<B, S::Error>
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
            Ok(Opened::Ours(held)) => held,
            Ok(Opened::Found(found)) => return Ok(self.keyed.answer(found)),
            Ok(Opened::Crowded) => return Ok(self.keyed.crowded()),
            // It is known that nobody knows, and nothing is done without having asked.
            Err(error) => {
                self.keyed.shared.emit(Event::StoreFailed(&error));
                return Ok(self.keyed.answer(Begin::OutcomeUnknown));
            }
        };
        if self.keyed.shared.settings.execution == Execution::Inline {
            self.keyed.call.progress.end();
        }
        match self.keyed.ask(&parts, &body, &held).await {
            Reconciled::Done(response) => Ok(self.keyed.reconciled(response, held).await),
            Reconciled::NotDone => {
                held.is_first_after_all();
                self.start(parts, body, held).await
            }
            Reconciled::Unknown => {
                drop(held);
                Ok(self.keyed.answer(Begin::OutcomeUnknown))
            }
        }
    }
}

impl<St: Store> Keyed<St> {
    /// The whole body, within the limit.
    async fn read_body<ReqB>(&self, body: ReqB) -> Result<Whole, Refusal>
    where
        ReqB: Body,
        ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.shared.settings.max_request_body;
        if body.size_hint().lower() > limit as u64 {
            return Err(refusal::request_too_large(limit));
        }
        let mut body = pin!(body);
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
            fingerprint: settings.fingerprint(parts, body)?,
            recovery: settings.recovery,
        })
    }

    fn can_reconcile(&self) -> bool {
        self.shared.settings.reconcile.is_some()
    }

    async fn ask(&self, parts: &request::Parts, body: &Whole, held: &Held<St>) -> Reconciled {
        let Some(hook) = &self.shared.settings.reconcile else {
            return Reconciled::Unknown;
        };
        let mut request = Request::from_parts(parts.clone(), body.data.clone());
        request.extensions_mut().insert(held.seen());
        held.keep_alive(hook.reconcile(request).as_mut()).await
    }
}

/// A request body, read.
pub(crate) struct Whole {
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
