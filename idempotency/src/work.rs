//! What is done for a keyed request, from its first byte to its filed record.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use buttress_wire::fields::{announced_length, is_event_stream};
use buttress_wire::{Outcome, Protocol, Recorded, Recording, Refusal, ReplayBody, into_bytes};
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, request, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_service::Service;

use crate::body::{IdempotentBody, RequestBody};
use crate::event::Event;
use crate::fingerprint::Fingerprint;
use crate::handler::Idempotency;
use crate::held::Held;
use crate::key::{ClientKey, RecordKey};
use crate::layer::{OnStoreError, Shared};
use crate::record::{Keep, recorded_headers};
use crate::refusal;
use crate::store::{Begin, BeginRequest, Record, Recovery, Standing, Store, StoreError, Token};
use crate::streaming::Streaming;

/// A keyed request, and what it is worked on with.
pub(crate) struct Work<S, St> {
    pub(crate) inner: S,
    pub(crate) keyed: Keyed<St>,
}

/// What is known of a keyed request beside its inner service, which need not be `Sync` and so is not borrowed across an await.
pub(crate) struct Keyed<St> {
    pub(crate) shared: Arc<Shared<St>>,
    pub(crate) key: ClientKey,
    /// Set while there may be a claim: then the work must go on without its caller.
    pub(crate) begun: Arc<AtomicBool>,
    pub(crate) protocol: Protocol,
}

type Answer<B, E> = Result<Response<IdempotentBody<B>>, E>;

impl<S, St: Store> Work<S, St> {
    pub(crate) async fn run<ReqB, B>(self, request: Request<ReqB>) -> Answer<B, S::Error>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>>,
        ReqB: Body,
        ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = match self.keyed.read(body).await {
            Ok(body) => body,
            Err(refusal) => return Ok(self.keyed.refuse(&refusal)),
        };
        let request = self.keyed.begin_request(&parts, &body.data);
        self.keyed.begun.store(true, Ordering::Release);
        let begun = self.keyed.shared.store.begin(request.clone()).await;
        if let Ok(Begin::Claimed(claim)) = begun {
            let held = Held::new(&self.keyed.shared, claim, request);
            return self.execute(parts, body, held).await;
        }
        self.keyed.begun.store(false, Ordering::Release);
        match begun {
            Ok(found) => Ok(self.keyed.answer(found)),
            Err(error) => self.without_store(parts, body, &error).await,
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
        self.keyed.shared.emit(Event::StoreFailed);
        if self.keyed.shared.settings.on_store_error == OnStoreError::Reject {
            return Ok(self.keyed.refuse(&refusal::store_failed(error)));
        }
        std::future::poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        let response = self
            .inner
            .call(Request::from_parts(parts, body.into_body()))
            .await?;
        Ok(response.map(IdempotentBody::pass))
    }

    async fn execute<ReqB, B>(
        mut self,
        mut parts: request::Parts,
        body: Whole,
        held: Held<St>,
    ) -> Answer<B, S::Error>
    where
        S: Service<Request<RequestBody<ReqB>>, Response = Response<B>>,
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let seen = Idempotency {
            claim: held.claim.clone(),
            lost: held.lost.clone(),
            settlement: Arc::clone(&held.settlement),
            ledger: Arc::clone(&self.keyed.shared) as _,
        };
        parts.extensions.insert(seen);
        let ready = held
            .keep_alive(std::future::poll_fn(|cx| self.inner.poll_ready(cx)))
            .await;
        if let Err(error) = ready {
            // It was never called.
            held.forget().await;
            return Err(error);
        }
        let call = self
            .inner
            .call(Request::from_parts(parts, body.into_body()));
        let response = held.keep_alive(call).await;
        match held.standing().await {
            // An error says nothing about what was done before it: dropping what is held leaves it to recovery.
            Ok(Standing::Running) => Ok(self.keyed.record(response?, held).await),
            Ok(Standing::Done) => {
                held.settled(Event::Completed);
                Ok(response?.map(IdempotentBody::pass))
            }
            Err(StoreError::Lost) => {
                let again = held.request.clone();
                held.settled(Event::Lost);
                Ok(self.keyed.yield_to_winner(again).await)
            }
            Err(error) => Ok(self.keyed.refuse(&refusal::store_failed(&error))),
        }
    }
}

impl<St: Store> Keyed<St> {
    /// The whole body, within the limit.
    async fn read<ReqB>(&self, body: ReqB) -> Result<Whole, Refusal>
    where
        ReqB: Body,
        ReqB::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.shared.settings.max_request_body;
        if body.size_hint().lower() > limit as u64 {
            return Err(refusal::request_too_large(limit));
        }
        let collected = Limited::new(body, limit).collect().await.map_err(|error| {
            let too_large = error.is::<LengthLimitError>();
            if too_large {
                refusal::request_too_large(limit)
            } else {
                refusal::body_broke()
            }
        })?;
        let trailers = collected.trailers().cloned();
        Ok(Whole {
            trailers,
            data: collected.to_bytes(),
        })
    }

    fn begin_request(&self, parts: &request::Parts, body: &[u8]) -> BeginRequest {
        let settings = &self.shared.settings;
        let scope = settings
            .scope
            .as_ref()
            .map(|scope| scope(parts))
            .unwrap_or_default();
        BeginRequest {
            key: RecordKey::new(&settings.secret, &scope, parts, &self.key),
            fingerprint: Fingerprint::new(parts, body),
            token: Token::random(),
            lease: settings.lease,
            ttl: settings.ttl,
            recovery: settings.recovery,
        }
    }

    /// The key is not ours.
    fn answer<B>(&self, found: Begin) -> Response<IdempotentBody<B>> {
        let (event, refusal) = match found {
            Begin::Replay(Record::Response(recorded)) => return self.replay(&recorded),
            Begin::Replay(Record::Tombstone) => (Event::Replayed, refusal::response_not_stored()),
            Begin::InProgress(left) => (Event::InProgress, refusal::in_progress(left)),
            Begin::Mismatch => (Event::Mismatch, refusal::key_reused()),
            Begin::OutcomeUnknown => (Event::OutcomeUnknown, refusal::outcome_unknown()),
            Begin::Claimed(_) => unreachable!("a claim is executed"),
        };
        self.shared.emit(event);
        self.refuse(&refusal)
    }

    fn replay<B>(&self, recorded: &Recorded) -> Response<IdempotentBody<B>> {
        self.shared.emit(Event::Replayed);
        let mut response = recorded.response().map(IdempotentBody::recorded);
        let name = self.shared.settings.replay_header.clone();
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("true"));
        response
    }

    fn refuse<B>(&self, refusal: &Refusal) -> Response<IdempotentBody<B>> {
        refusal.render(self.protocol).map(IdempotentBody::refusal)
    }

    async fn record<B>(&self, response: Response<B>, held: Held<St>) -> Response<IdempotentBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        match self.shared.keep(&head) {
            Keep::Forget => held.forget().await,
            Keep::Unknown => drop(held),
            // Its end may never come.
            Keep::Record if is_event_stream(&head.headers) => {
                let _ = held.complete(Record::Tombstone).await;
            }
            Keep::Record => return self.record_body(head, body, held).await,
        }
        Response::from_parts(head, IdempotentBody::pass(body))
    }

    /// Reads what is there of the body. When that is all, the record is filed before the first byte of the response is sent; else
    /// the body is recorded while it streams.
    async fn record_body<B>(
        &self,
        head: response::Parts,
        body: B,
        held: Held<St>,
    ) -> Response<IdempotentBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.shared.settings.max_recorded_body;
        let recording = Recording::new(head.status, recorded_headers(&head.headers), limit)
            .announced(announced_length(&head.headers, body.size_hint().exact()));
        let apart = self.shared.apart();
        let body = match ReadyFrames::read(Box::pin(body), recording).await {
            ReadyFrames::All(Outcome::Complete(recorded)) => {
                return self.file(head, recorded, held).await;
            }
            // It ended, and not as announced: its client sees the same.
            ReadyFrames::All(_) => Streaming::fail(VecDeque::new(), "cut short".into(), apart),
            ReadyFrames::Broken(ahead, error) => Streaming::fail(ahead, error, apart),
            ReadyFrames::TooLarge(ahead, body) => {
                let _ = held.complete(Record::Tombstone).await;
                Streaming::pass(ahead, body, apart)
            }
            ReadyFrames::Some(ahead, body, recording) => {
                Streaming::record(ahead, body, *recording, held, apart)
            }
        };
        Response::from_parts(head, IdempotentBody::streaming(body))
    }

    async fn file<B>(
        &self,
        head: response::Parts,
        recorded: Recorded,
        held: Held<St>,
    ) -> Response<IdempotentBody<B>> {
        let again = held.request.clone();
        if let Err(StoreError::Lost) = held.complete(Record::Response(recorded.clone())).await {
            return self.yield_to_winner(again).await;
        }
        Response::from_parts(head, IdempotentBody::recorded(recorded.replay_body()))
    }

    /// Our lease was lost and somebody else has claimed the key since: what they have come to is the answer. It is asked for with a new
    /// token and without the will to take over, so that it claims nothing.
    async fn yield_to_winner<B>(&self, again: BeginRequest) -> Response<IdempotentBody<B>> {
        let again = BeginRequest {
            token: Token::random(),
            recovery: Recovery::Reject,
            ..again
        };
        match self.shared.store.begin(again.clone()).await {
            // The winner has given it back, and we hold it by accident.
            Ok(Begin::Claimed(claim)) => {
                Held::new(&self.shared, claim, again).forget().await;
                self.refuse(&refusal::outcome_unknown())
            }
            Ok(found) => self.answer(found),
            Err(error) => self.refuse(&refusal::store_failed(&error)),
        }
    }
}

/// A request body, read.
struct Whole {
    data: Bytes,
    trailers: Option<http::HeaderMap>,
}

impl Whole {
    fn into_body<B>(self) -> RequestBody<B> {
        RequestBody::whole(ReplayBody::new(self.data, self.trailers))
    }
}

/// What is there of a body without waiting.
enum ReadyFrames<B> {
    All(Outcome),
    Broken(VecDeque<Frame<Bytes>>, Box<dyn Error + Send + Sync>),
    Some(VecDeque<Frame<Bytes>>, Pin<Box<B>>, Box<Recording>),
    TooLarge(VecDeque<Frame<Bytes>>, Pin<Box<B>>),
}

impl<B> ReadyFrames<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn read(mut body: Pin<Box<B>>, mut recording: Recording) -> Self {
        let mut ahead = VecDeque::new();
        while !body.is_end_stream() {
            // Ready with `None` for "not now".
            let polled = std::future::poll_fn(|cx| {
                Poll::Ready(match body.as_mut().poll_frame(cx) {
                    Poll::Pending => None,
                    Poll::Ready(frame) => Some(frame),
                })
            });
            match polled.await {
                None => return Self::Some(ahead, body, Box::new(recording)),
                Some(None) => break,
                Some(Some(Err(error))) => return Self::Broken(ahead, error.into()),
                Some(Some(Ok(frame))) => {
                    let frame = into_bytes(frame);
                    let within = recording.frame(&frame);
                    ahead.push_back(frame);
                    if !within {
                        return Self::TooLarge(ahead, body);
                    }
                }
            }
        }
        Self::All(recording.end())
    }
}
