//! Answers to requests whose key is not theirs, and records of those whose it is.

use std::collections::VecDeque;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::{Outcome, Recorded, Recording, Refusal, ReplayBody, into_bytes};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, response};
use http_body::{Body, Frame};

use crate::body::IdempotentBody;
use crate::event::Event;
use crate::handler::Grant;
use crate::held::Held;
use crate::keep::{Fields, Keep, recorded, recorded_headers};
use crate::opening::Keyed;
use crate::refusal;
use crate::store::{Begin, Origin, Record, Standing, Store, StoreError};
use crate::streaming::Streaming;
use crate::transaction::Settled;

type BoxError = Box<dyn Error + Send + Sync>;

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
        let mut response = recorded.response();
        let names = self.shared.settings.names();
        names.mark(response.headers_mut(), origin);
        response.map(IdempotentBody::recorded)
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

    pub(crate) fn full<B>(&self) -> Response<IdempotentBody<B>> {
        self.shared.emit(Event::Full);
        self.refuse(&refusal::full())
    }

    /// What has come to the key is the answer: our lease was lost and somebody else has claimed it since; or the handler has filed another response than it gave.
    pub(crate) async fn yield_to_winner<B>(&self, ours: &Grant) -> Response<IdempotentBody<B>> {
        match self.winner(&ours.claim.key, ours.fingerprint).await {
            Ok(Some(found)) => self.answer(found),
            // The winner has given it back.
            Ok(None) => self.answer(Begin::OutcomeUnknown),
            Err(error) => self.refuse(&refusal::store_failed(&error)),
        }
    }
}

impl<St: Store> Held<St> {
    /// A hook knows the response.
    pub(crate) async fn reconciled<B>(
        mut self,
        response: Response<Bytes>,
    ) -> Response<IdempotentBody<B>> {
        let names = self.grant.shared().settings.names();
        let recorded = recorded(response, names);
        match self.complete(Some(recorded.clone())).await {
            Err(StoreError::Lost) => self.keyed().yield_to_winner(&self.grant).await,
            _ => {
                self.grant
                    .shared()
                    .emit(Event::Reconciled(&self.grant.claim));
                self.keyed().replay(&recorded, &self.grant.origin)
            }
        }
    }

    /// The handler has answered: what its claim says to that, and what is due before it is sent.
    pub(crate) fn answered<B, E>(
        &mut self,
        response: Result<Response<B>, E>,
        cx: &mut Context<'_>,
    ) -> (Answered<B, E>, Due)
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match (self.grant.settlement.get(), response) {
            (Settled::Open, Ok(response)) => {
                let (response, due) = self.judge(response, cx);
                (Answered::Now(Ok(response)), due)
            }
            // An error says nothing about what was done before it: dropping what is held leaves it to recovery.
            (Settled::Open, Err(error)) => (Answered::Now(Err(error)), Due::Nothing),
            (Settled::Committed, response) => {
                self.committed();
                if !self.grant.is_filed(&response) {
                    return (Answered::Unsettled(response), Due::Yield);
                }
                let response = response.map(|response| response.map(IdempotentBody::pass));
                (Answered::Now(response), Due::Nothing)
            }
            (Settled::Lost, response) => {
                self.lost();
                (Answered::Unsettled(response), Due::Yield)
            }
            (Settled::Pending, response) => (Answered::Unsettled(response), Due::Nothing),
        }
    }

    /// The handler has answered, and does not know whether its transaction was committed: the store does. What the handler says is sent only if it fits.
    pub(crate) async fn confirmed<B, E>(
        &mut self,
        response: Result<Response<B>, E>,
    ) -> Result<Response<IdempotentBody<B>>, E>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.confirm().await {
            Ok(Standing::Done) => {
                self.committed();
                if !self.grant.is_filed(&response) {
                    return Ok(self.keyed().yield_to_winner(&self.grant).await);
                }
                Ok(response?.map(IdempotentBody::pass))
            }
            Ok(Standing::Running) => {
                let response = response?;
                // It tells of what was rolled back. Nobody knows what else was done: dropping what is held leaves it to recovery.
                if self.grant.completion(&response).is_some() {
                    return Ok(self.keyed().answer(Begin::OutcomeUnknown));
                }
                // From here on it is held, renewed and lost like any other.
                self.grant.settlement.set(Settled::Open);
                let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                let (response, mut due) = self.judge(response, &mut Context::from_waker(&waker));
                let winner = self.see_to(&mut due).await;
                Ok(winner.unwrap_or(response))
            }
            Err(StoreError::Lost) => {
                self.lost();
                Ok(self.keyed().yield_to_winner(&self.grant).await)
            }
            Err(error) => Ok(self.keyed().refuse(&refusal::store_failed(&error))),
        }
    }

    /// What the response of our execution looks like outside, and what is due before it is sent.
    ///
    /// Reads what is there of the body. When that is all, the record is filed before the first byte of the response is sent; else
    /// the body is recorded while it streams, and takes what is held.
    fn judge<B>(
        &mut self,
        response: Response<B>,
        cx: &mut Context<'_>,
    ) -> (Response<IdempotentBody<B>>, Due)
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = response.into_parts();
        let (body, due) = match self.grant.shared().keep(&head) {
            Keep::Forget => (IdempotentBody::pass(body), Due::Forget),
            // Dropping what is held says so.
            Keep::Unknown => (IdempotentBody::pass(body), Due::Nothing),
            Keep::Record => self.record(&mut head, body, cx),
        };
        (Response::from_parts(head, body), due)
    }

    fn record<B>(
        &mut self,
        head: &mut response::Parts,
        body: B,
        cx: &mut Context<'_>,
    ) -> (IdempotentBody<B>, Due)
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let settings = &self.grant.shared().settings;
        let names = settings.names();
        let Fields { told, all_stay } = Fields::of(&head.headers, names);
        if told.is_event_stream() {
            // Its end may never come.
            return (IdempotentBody::pass(body), Due::File(None));
        }
        let announced = told.announced_length(body.size_hint().exact());
        let expected = Expected {
            status: head.status,
            headers: recorded_headers(&mut head.headers, all_stay, names),
            announced,
            limit: settings.max_recorded_body,
        };
        // A count of references, which only a body that streams on has to have.
        let apart = || self.grant.shared().apart();
        let (body, due) = match ReadyFrames::read(Box::pin(body), expected, cx) {
            ReadyFrames::One(data, recorded) => {
                let body = IdempotentBody::recorded(ReplayBody::new(data, None));
                return (body, Due::File(Some(recorded)));
            }
            ReadyFrames::All(Outcome::Complete(recorded)) => {
                let body = IdempotentBody::recorded(recorded.replay_body());
                return (body, Due::File(Some(recorded)));
            }
            // It ended, and not as announced: its client sees the same.
            ReadyFrames::All(_) => {
                let cut = Streaming::fail(VecDeque::new(), "cut short".into(), apart());
                (cut, Due::Nothing)
            }
            ReadyFrames::Broken(ahead, error) => {
                (Streaming::fail(ahead, error, apart()), Due::Nothing)
            }
            ReadyFrames::TooLarge(ahead, body) => {
                (Streaming::pass(ahead, body, apart()), Due::File(None))
            }
            ReadyFrames::Some(ahead, body, recording) => {
                let (execution, apart) = (settings.execution, apart());
                let held = self.hand_over();
                let body = Streaming::record(ahead, body, *recording, held, apart, execution);
                (body, Due::Nothing)
            }
        };
        (IdempotentBody::streaming(body), due)
    }

    /// Does what is due; gives another answer if somebody else has settled the claim with one.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each argument twice"
    )]
    pub(crate) fn see_to<'a, B>(
        &'a mut self,
        due: &'a mut Due,
    ) -> impl Future<Output = Option<Response<IdempotentBody<B>>>> + Send + use<'a, B, St> {
        async move {
            let is_answer = matches!(due, Due::File(Some(_)));
            match due {
                Due::File(recorded) => match self.complete(recorded.take()).await {
                    Err(StoreError::Lost) if is_answer => {}
                    _ => return None,
                },
                Due::Forget => {
                    Box::pin(self.forget()).await;
                    return None;
                }
                Due::Nothing => return None,
                Due::Yield => {}
            }
            let winner = self.keyed().yield_to_winner(&self.grant);
            Some(Box::pin(winner).await)
        }
    }
}

/// What becomes of a response, by its claim.
pub(crate) enum Answered<B, E> {
    Now(Result<Response<IdempotentBody<B>>, E>),
    /// Nobody here knows how the handler's transaction ended.
    Unsettled(Result<Response<B>, E>),
}

/// What is to be done with a claim before the response to its work is sent.
pub(crate) enum Due {
    /// The response is filed, or, without one, that there was one.
    File(Option<Recorded>),
    /// The claim is given back.
    Forget,
    /// A body has what is held; or it is settled; or nobody knows, and dropping it says so.
    Nothing,
    /// The store has the answer: somebody else has the claim, or the handler has filed another one than it gave.
    Yield,
}

/// What is known of a response when its body begins.
struct Expected {
    status: StatusCode,
    headers: HeaderMap,
    announced: Option<u64>,
    limit: usize,
}

impl Expected {
    fn recording(self) -> Recording {
        Recording::new(self.status, self.headers, self.limit).announced(self.announced)
    }

    /// Whether a body of so many bytes is one that can be kept, and is as long as it was said to be.
    fn is(&self, length: usize) -> bool {
        length <= self.limit && self.announced.is_none_or(|bytes| bytes == length as u64)
    }

    /// The whole response. What is kept of its body is a copy: it may be a slice of something larger.
    fn recorded(self, body: &[u8]) -> Recorded {
        Recorded::new(
            self.status,
            self.headers,
            Bytes::copy_from_slice(body),
            None,
        )
    }
}

/// What is there of a body without waiting.
enum ReadyFrames<B> {
    All(Outcome),
    Broken(VecDeque<Frame<Bytes>>, BoxError),
    /// All of it, as most bodies are.
    One(Bytes, Recorded),
    Some(VecDeque<Frame<Bytes>>, Pin<Box<B>>, Box<Recording>),
    TooLarge(VecDeque<Frame<Bytes>>, Pin<Box<B>>),
}

impl<B> ReadyFrames<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    fn read(mut body: Pin<Box<B>>, expected: Expected, cx: &mut Context<'_>) -> Self {
        let mut next = poll_next(body.as_mut(), cx);
        if let Poll::Ready(Some(Ok(frame))) = next {
            match frame.into_data() {
                Ok(data) if expected.is(data.len()) && body.is_end_stream() => {
                    let recorded = expected.recorded(&data);
                    return Self::One(data, recorded);
                }
                Ok(data) => next = Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => next = Poll::Ready(Some(Ok(frame))),
            }
        }
        let (mut recording, mut ahead) = (expected.recording(), VecDeque::new());
        loop {
            match next {
                Poll::Pending => return Self::Some(ahead, body, Box::new(recording)),
                Poll::Ready(None) => return Self::All(recording.end()),
                Poll::Ready(Some(Err(error))) => return Self::Broken(ahead, error),
                Poll::Ready(Some(Ok(frame))) => {
                    let within = recording.frame(&frame);
                    if within && body.is_end_stream() {
                        return Self::All(recording.end());
                    }
                    ahead.push_back(frame);
                    if !within {
                        return Self::TooLarge(ahead, body);
                    }
                }
            }
            next = poll_next(body.as_mut(), cx);
        }
    }
}

/// The next frame of a body that has not said that there is none.
fn poll_next<B>(
    body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Poll::Ready(None);
    }
    let frame = ready!(body.poll_frame(cx));
    Poll::Ready(frame.map(|frame| frame.map(into_bytes).map_err(Into::into)))
}
