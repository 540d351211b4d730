//! Answers to requests whose key is not theirs, and records of those whose it is.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use buttress_wire::fields::{announced_length, is_event_stream};
use buttress_wire::{Outcome, Recorded, Recording, Refusal, into_bytes};
use bytes::Bytes;
use http::{Response, response};
use http_body::{Body, Frame};

use crate::body::IdempotentBody;
use crate::event::Event;
use crate::fingerprint::Fingerprint;
use crate::handler::Grant;
use crate::held::Held;
use crate::keep::{Keep, recorded, recorded_headers};
use crate::opening::Keyed;
use crate::refusal;
use crate::store::{Begin, Origin, Record, Store, StoreError};
use crate::streaming::Streaming;

impl<St: Store> Keyed<St> {
    /// The key is not ours.
    pub(crate) fn answer<B>(&self, found: Begin) -> Response<IdempotentBody<B>> {
        let (event, refusal) = match &found {
            Begin::Replay(Record::Response(recorded, origin)) => {
                return self.replay(recorded, origin);
            }
            Begin::Replay(Record::Tombstone(origin)) => {
                let refusal = refusal::response_not_stored(origin);
                (Event::Replayed(origin), refusal)
            }
            Begin::InProgress(left) => (Event::InProgress, refusal::in_progress(*left)),
            Begin::Mismatch => (Event::Mismatch, refusal::key_reused()),
            Begin::OutcomeUnknown => (Event::OutcomeUnknown, refusal::outcome_unknown()),
            Begin::Claimed(_) | Begin::Replay(Record::Sealed(_)) => {
                unreachable!("a claim is executed, and what is sealed was opened")
            }
        };
        self.shared.emit(event);
        self.refuse(&refusal)
    }

    fn replay<B>(&self, recorded: &Recorded, origin: &Origin) -> Response<IdempotentBody<B>> {
        self.shared.emit(Event::Replayed(origin));
        recorded.response().map(IdempotentBody::recorded)
    }

    pub(crate) fn refuse<B>(&self, refusal: &Refusal) -> Response<IdempotentBody<B>> {
        refusal
            .render(self.call.protocol)
            .map(IdempotentBody::refusal)
    }

    pub(crate) fn crowded<B>(&self) -> Response<IdempotentBody<B>> {
        self.shared.emit(Event::Crowded);
        self.refuse(&refusal::crowded())
    }

    /// Our lease was lost and somebody else has claimed the key since: what they have come to is the answer.
    pub(crate) async fn yield_to_winner<B>(
        &self,
        lost: &Grant,
        fingerprint: Fingerprint,
    ) -> Response<IdempotentBody<B>> {
        match self.winner(&lost.claim.key, fingerprint).await {
            Ok(Some(found)) => self.answer(found),
            // The winner has given it back.
            Ok(None) => self.answer(Begin::OutcomeUnknown),
            Err(error) => self.refuse(&refusal::store_failed(&error)),
        }
    }

    /// A hook knows the response.
    pub(crate) async fn reconciled<B>(
        &self,
        response: Response<Bytes>,
        held: Held<St>,
    ) -> Response<IdempotentBody<B>> {
        let (grant, fingerprint) = (Arc::clone(&held.grant), held.fingerprint);
        let replay_header = &self.shared.settings.replay_header;
        let recorded = recorded(response, replay_header, &grant.origin);
        match held.complete(Some(recorded.clone())).await {
            Err(StoreError::Lost) => self.yield_to_winner(&grant, fingerprint).await,
            _ => {
                self.shared.emit(Event::Reconciled(&grant.claim));
                self.replay(&recorded, &grant.origin)
            }
        }
    }

    /// What the response of our execution looks like outside, and what is due before it is sent.
    ///
    /// Reads what is there of the body. When that is all, the record is filed before the first byte of the response is sent; else
    /// the body is recorded while it streams.
    pub(crate) fn judge<B>(
        &self,
        response: Response<B>,
        held: Held<St>,
        waker: &Waker,
    ) -> (Response<IdempotentBody<B>>, Due<St>)
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        let (body, due) = match self.shared.keep(&head) {
            Keep::Forget => (IdempotentBody::pass(body), Due::Forget(held)),
            // Dropping what is held says so.
            Keep::Unknown => (IdempotentBody::pass(body), Due::Nothing),
            // Its end may never come.
            Keep::Record if is_event_stream(&head.headers) => {
                (IdempotentBody::pass(body), Due::File(held, None))
            }
            Keep::Record => self.record(&head, body, held, &mut Context::from_waker(waker)),
        };
        (Response::from_parts(head, body), due)
    }

    fn record<B>(
        &self,
        head: &response::Parts,
        body: B,
        held: Held<St>,
        cx: &mut Context<'_>,
    ) -> (IdempotentBody<B>, Due<St>)
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (settings, apart) = (&self.shared.settings, self.call.apart.clone());
        let origin = &held.grant.origin;
        let headers = recorded_headers(&head.headers, &settings.replay_header, origin);
        let recording = Recording::new(head.status, headers, settings.max_recorded_body)
            .announced(announced_length(&head.headers, body.size_hint().exact()));
        let (body, due) = match ReadyFrames::read(Box::pin(body), recording, cx) {
            ReadyFrames::All(Outcome::Complete(recorded)) => {
                let body = IdempotentBody::recorded(recorded.replay_body());
                return (body, Due::File(held, Some(recorded)));
            }
            // It ended, and not as announced: its client sees the same.
            ReadyFrames::All(_) => {
                let cut = Streaming::fail(VecDeque::new(), "cut short".into(), apart);
                (cut, Due::Nothing)
            }
            ReadyFrames::Broken(ahead, error) => {
                (Streaming::fail(ahead, error, apart), Due::Nothing)
            }
            ReadyFrames::TooLarge(ahead, body) => {
                (Streaming::pass(ahead, body, apart), Due::File(held, None))
            }
            ReadyFrames::Some(ahead, body, recording) => {
                let execution = settings.execution;
                let body = Streaming::record(ahead, body, *recording, held, apart, execution);
                (body, Due::Nothing)
            }
        };
        (IdempotentBody::streaming(body), due)
    }

    /// Does what is due; gives another answer if somebody else has settled the claim with one.
    pub(crate) async fn settle<B>(&self, due: Due<St>) -> Option<Response<IdempotentBody<B>>> {
        match due {
            Due::Nothing => None,
            Due::Forget(held) => {
                held.forget().await;
                None
            }
            Due::File(held, None) => {
                let _ = held.complete(None).await;
                None
            }
            Due::File(held, recorded) => {
                let (grant, fingerprint) = (Arc::clone(&held.grant), held.fingerprint);
                match held.complete(recorded).await {
                    Err(StoreError::Lost) => {
                        let winner = self.yield_to_winner(&grant, fingerprint);
                        Some(Box::pin(winner).await)
                    }
                    _ => None,
                }
            }
        }
    }
}

/// What is to be done with a claim before the response to its work is sent.
pub(crate) enum Due<St: Store> {
    /// The response is filed, or, without one, that there was one.
    File(Held<St>, Option<Recorded>),
    /// The claim is given back.
    Forget(Held<St>),
    Nothing,
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
    fn read(mut body: Pin<Box<B>>, mut recording: Recording, cx: &mut Context<'_>) -> Self {
        let mut ahead = VecDeque::new();
        while !body.is_end_stream() {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Self::Some(ahead, body, Box::new(recording)),
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) => return Self::Broken(ahead, error.into()),
                Poll::Ready(Some(Ok(frame))) => {
                    let frame = into_bytes(frame);
                    let within = recording.frame(&frame);
                    if within && body.is_end_stream() {
                        break;
                    }
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
