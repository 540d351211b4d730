//! A request on its way: leading, following, or alone.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::tape::{Tape, TapeReader};
use buttress_wire::{Protocol, Refusal, grpc::Code};
use http::{HeaderMap, Request, Response, StatusCode, Version, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use super::Flight;
use super::body::DedupBody;
use super::key::HttpKey;
use super::layer::{OnFailure, OnFull, Shared};
use super::share::{Share, headers_for_followers};
use crate::event::Event;
use crate::flights::{Leader, Role, Wait, Waited};

/// What a leader leaves to those who joined it.
pub(super) enum Landed<B> {
    /// The leader's call failed without a response.
    Failed,
    /// The response is the leader's own.
    Private,
    /// For those who waited: their place is kept.
    Response(Arc<Head>, TapeReader<B>),
    /// For newcomers, while the start of the body is still there.
    Streaming(Arc<Head>, Tape<B>),
}

/// What followers see of the response's head.
pub(super) struct Head {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
}

pin_project! {
    /// The response of a [`Dedup`](super::Dedup) service.
    ///
    /// ```text
    ///  Follow ── promoted ──► Lead ──► (response)
    ///    │ └──── value ─────────────► (response)
    ///    └─ private, failed, timed out ──► Alone ──► (response)
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping a leader drops the inner call, then makes one follower the leader, which calls the inner service with its own
    /// request. Dropping a follower gives its place back. Dropping one that is alone drops its inner call.
    pub struct ResponseFuture<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, B>,
        shared: Arc<Shared<B>>,
        protocol: Protocol,
        key_hash: u64,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        Alone { #[pin] call: Oneshot<S, Request<ReqB>> },
        Follow { wait: Wait<HttpKey, Landed<B>>, own: Option<(S, Request<ReqB>)> },
        // In this order: the call is dropped before someone else is made the leader.
        Lead { #[pin] call: Oneshot<S, Request<ReqB>>, leader: Option<Leader<HttpKey, Landed<B>>> },
        Respond { response: Option<Response<DedupBody<B>>> },
    }
}

impl<S, ReqB, B> ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(
        key: Option<HttpKey>,
        request: Request<ReqB>,
        inner: S,
        shared: &Arc<Shared<B>>,
    ) -> Self {
        let protocol = Protocol::of(request.headers());
        let key_hash = key.as_ref().map_or(0, |key| shared.hash(key));
        let state = match key {
            Some(key) => State::join(key, inner, request, shared, protocol),
            None => State::alone((inner, request)),
        };
        Self {
            state,
            shared: Arc::clone(shared),
            protocol,
            key_hash,
        }
    }
}

impl<S, ReqB, B> State<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn join(
        key: HttpKey,
        inner: S,
        request: Request<ReqB>,
        shared: &Shared<B>,
        protocol: Protocol,
    ) -> Self {
        match shared.flights.join(key) {
            Role::Leader(leader) => Self::lead((inner, request), leader),
            Role::Follower(wait) => Self::Follow {
                wait,
                own: Some((inner, request)),
            },
            Role::Landed(landed) => match landed.join() {
                Some(response) => Self::Respond {
                    response: Some(response),
                },
                // The start of the stream has gone between the two looks.
                None => Self::alone((inner, request)),
            },
            Role::Full if shared.settings.on_full == OnFull::Reject => Self::Respond {
                response: Some(refuse(&too_many(), protocol)),
            },
            Role::Full => Self::alone((inner, request)),
        }
    }

    fn alone((inner, request): (S, Request<ReqB>)) -> Self {
        Self::Alone {
            call: Oneshot::new(inner, request),
        }
    }

    fn lead((inner, request): (S, Request<ReqB>), leader: Leader<HttpKey, Landed<B>>) -> Self {
        let call = Oneshot::new(inner, request);
        Self::Lead {
            call,
            leader: Some(leader),
        }
    }
}

impl<S, ReqB, B> Future for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<DedupBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // ## Alone => (response)
                StateProjection::Alone { call } => {
                    let response = ready!(call.poll(cx))?;
                    return Poll::Ready(Ok(own(response.map(DedupBody::own), Flight::Alone)));
                }
                // ## Lead => (response)
                StateProjection::Lead { call, leader } => {
                    let result = ready!(call.poll(cx));
                    let leader = leader
                        .take()
                        .expect("a future is not polled after it was ready");
                    return Poll::Ready(land(result, leader, this.shared, *this.key_hash));
                }
                // ## Follow => (Alone | Lead | Respond)
                StateProjection::Follow { wait, own } => {
                    let waited = ready!(Pin::new(wait).poll(cx));
                    let own = own
                        .take()
                        .expect("a follower keeps its request until it is done");
                    let next = followed(waited, own, this.shared, *this.protocol);
                    this.state.set(next);
                }
                // ## Respond => (response)
                StateProjection::Respond { response } => {
                    let response = response.take();
                    let response = response.expect("a future is not polled after it was ready");
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

/// The leader's call has ended: tells the others, and gives the leader its own response.
fn land<B, E>(
    result: Result<Response<B>, E>,
    leader: Leader<HttpKey, Landed<B>>,
    shared: &Shared<B>,
    key_hash: u64,
) -> Result<Response<DedupBody<B>>, E>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            leader.complete(Landed::Failed);
            shared.emit(Event::Failed);
            return Err(error);
        }
    };
    let (parts, body) = response.into_parts();
    if shared.share(&parts) == Share::Private {
        shared.remember_private(key_hash);
        leader.complete(Landed::Private);
        shared.emit(Event::Private);
        return Ok(own(
            Response::from_parts(parts, DedupBody::own(body)),
            Flight::Alone,
        ));
    }
    let (tape, reader) = Tape::new(body, shared.settings.window, shared.laggards());
    let head = Arc::new(Head::of(&parts));
    let landing = leader.land(
        Landed::Response(Arc::clone(&head), reader.clone()),
        Landed::Streaming(head, tape.clone()),
    );
    // The key is free once the start of the body is gone, the body has ended, or nobody reads it.
    tape.on_closed(move || drop(landing));
    Ok(own(
        Response::from_parts(parts, DedupBody::shared(reader)),
        Flight::Led,
    ))
}

/// A follower has waited: what it does next.
fn followed<S, ReqB, B>(
    waited: Waited<HttpKey, Landed<B>>,
    own: (S, Request<ReqB>),
    shared: &Shared<B>,
    protocol: Protocol,
) -> State<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let landed = match waited {
        Waited::Promoted(leader) => return State::lead(own, leader),
        Waited::TimedOut => return State::alone(own),
        Waited::Value(landed) => landed,
    };
    if matches!(landed, Landed::Failed) && shared.settings.on_failure == OnFailure::BadGateway {
        return State::Respond {
            response: Some(refuse(&leader_failed(), protocol)),
        };
    }
    match landed.join() {
        Some(response) => State::Respond {
            response: Some(response),
        },
        None => State::alone(own),
    }
}

impl<B> Landed<B> {
    /// The response for one more follower, if there is one.
    fn join(self) -> Option<Response<DedupBody<B>>> {
        let (head, reader) = match self {
            Self::Failed | Self::Private => return None,
            Self::Response(head, reader) => (head, reader),
            Self::Streaming(head, tape) => (head, tape.join()?),
        };
        Some(own(
            head.response(DedupBody::shared(reader)),
            Flight::Joined,
        ))
    }
}

impl<B> Clone for Landed<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed => Self::Failed,
            Self::Private => Self::Private,
            Self::Response(head, reader) => Self::Response(Arc::clone(head), reader.clone()),
            Self::Streaming(head, tape) => Self::Streaming(Arc::clone(head), tape.clone()),
        }
    }
}

impl Head {
    fn of(parts: &response::Parts) -> Self {
        let headers = headers_for_followers(&parts.headers);
        Self {
            status: parts.status,
            version: parts.version,
            headers,
        }
    }

    fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.version_mut() = self.version;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

fn own<B>(mut response: Response<B>, flight: Flight) -> Response<B> {
    response.extensions_mut().insert(flight);
    response
}

fn refuse<B>(refusal: &Refusal, protocol: Protocol) -> Response<DedupBody<B>> {
    own(
        refusal.render(protocol).map(DedupBody::refusal),
        Flight::Refused,
    )
}

fn too_many() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:buttress:problem:dedup-full",
        "Too many requests wait for the same answer",
        Code::Unavailable,
    )
}

fn leader_failed() -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "urn:buttress:problem:dedup-leader-failed",
        "The call that this request shared has failed",
        Code::Unavailable,
    )
}

impl<S, ReqB, B> fmt::Debug for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
