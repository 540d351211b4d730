//! What the flights of the HTTP layer mean.

use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;

use buttress_wire::fields::announced_length;
use buttress_wire::tape::{Tape, TapeReader};
use buttress_wire::{Outcome, Protocol, Recorded, Recording, Refusal, grpc::Code};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Version, request, response};
use http_body::Body;

use super::Flight;
use super::body::DedupBody;
use super::key::HttpKey;
use super::settings::{OnLeaderFailure, Shared};
use super::share::{Share, headers_for_followers};
use crate::coordinate::{Lease, named};
use crate::event::Event;
use crate::flying::{Others, Received, Shell};
use crate::layer::OnFull;
use crate::leader::Leader;

/// What a leader leaves to those who joined it.
pub enum Landed<B> {
    /// The leader's call failed without a response.
    Failed,
    /// The response is the leader's own.
    Private,
    /// Another process did the work.
    Received(Recorded),
    /// For those who waited: their place is kept.
    Response(Arc<Head>, TapeReader<B>),
    /// For [newcomers](Self::of_newcomer), while the start of the body is still there.
    Streaming(Arc<Head>, Tape<B>),
}

/// What followers see of the response's head.
#[derive(Debug)]
pub struct Head {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
}

/// One request.
pub struct Answer<B, E> {
    shared: Arc<Shared<B>>,
    protocol: Protocol,
    key_hash: u64,
    /// The request fields that are in the key beside the usual ones.
    covered: Vec<HeaderName>,
    /// If others are asked. Behind a pointer, since every future has room for it twice.
    elsewhere: Option<Box<Elsewhere>>,
    error: PhantomData<fn() -> E>,
}

/// Of other processes.
struct Elsewhere {
    /// What the flight is called there.
    name: Vec<u8>,
    /// Whether the request is for a head alone.
    is_head: bool,
    /// If they wait for this process.
    lease: Option<Box<dyn Lease>>,
}

impl<B, E> Answer<B, E> {
    pub(super) fn new(shared: &Arc<Shared<B>>, parts: &request::Parts, key: &HttpKey) -> Self {
        let elsewhere = shared.settings.elsewhere.as_ref();
        let elsewhere = elsewhere.map(|elsewhere| Elsewhere {
            name: named(&elsewhere.namespace, key.as_bytes()),
            is_head: parts.method == Method::HEAD,
            lease: None,
        });
        Self {
            shared: Arc::clone(shared),
            protocol: Protocol::of(&parts.headers),
            key_hash: shared.hash(key),
            covered: key.covered().to_vec(),
            elsewhere: elsewhere.map(Box::new),
            error: PhantomData,
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response<DedupBody<B>> {
        let response = refusal.render(self.protocol).map(DedupBody::refusal);
        marked(response, Flight::Refused)
    }

    fn take_lease(&mut self) -> Option<Box<dyn Lease>> {
        self.elsewhere.as_mut()?.lease.take()
    }

    /// Keeps the response to itself.
    fn keep(
        &mut self,
        parts: response::Parts,
        body: B,
        leader: Leader<HttpKey, Landed<B>>,
    ) -> Response<DedupBody<B>> {
        self.shared.remember_private(self.key_hash);
        self.take_lease().into_iter().for_each(Lease::decline);
        leader.complete(Landed::Private);
        self.shared.flights.tell(Event::Private);
        let response = Response::from_parts(parts, DedupBody::own(body));
        marked(response, Flight::Alone)
    }

    /// Gives the response to everybody, as it streams.
    fn share(
        &mut self,
        parts: response::Parts,
        body: B,
        leader: Leader<HttpKey, Landed<B>>,
    ) -> Response<DedupBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let head = Arc::new(Head::of(&parts));
        let announced = announced_length(&parts.headers, body.size_hint().exact());
        let settings = &self.shared.settings;
        let (tape, reader) = Tape::new(body, settings.window, settings.laggards());
        self.share_elsewhere(&head, announced, &tape, &leader);
        let landing = leader.land(
            Landed::Response(Arc::clone(&head), reader.clone()),
            Landed::Streaming(head, tape.clone()),
        );
        // The key is free once the start of the body is gone, the body has ended, or nobody reads it.
        tape.on_closed(move || drop(landing));
        let response = Response::from_parts(parts, DedupBody::shared(reader));
        marked(response, Flight::Led)
    }

    /// Gives the response to other processes, when it is whole.
    fn share_elsewhere(
        &mut self,
        head: &Head,
        announced: Option<u64>,
        tape: &Tape<B>,
        leader: &Leader<HttpKey, Landed<B>>,
    ) where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(mut lease) = self.take_lease() else {
            return;
        };
        let settings = &self.shared.settings;
        let limit = settings.elsewhere.as_ref().map_or(0, |e| e.max_bytes);
        let recording = Recording::new(head.status, head.headers.clone(), limit);
        if self.has_no_body(head.status) {
            // Whatever length it tells is not its own, and no server reads what would not be sent.
            return publish(lease, recording.end());
        }
        if announced.is_some_and(|bytes| bytes > limit as u64) {
            // Known from the head: nobody has to wait until so much has been read.
            return lease.decline();
        }
        lease.publish_within(settings.patience());
        // The body may be under way for longer than it can be joined, and the lease with it.
        let awaited = leader.awaited();
        tape.record(recording.announced(announced), move |outcome| {
            publish(lease, outcome);
            drop(awaited);
        });
    }

    /// Whether a response with this status has none (RFC 9110, section 6.4.1).
    fn has_no_body(&self, status: StatusCode) -> bool {
        let is_head = self.elsewhere.as_ref().is_some_and(|e| e.is_head);
        is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

/// Tells other processes how a body has ended.
fn publish(lease: Box<dyn Lease>, outcome: Outcome) {
    match outcome {
        Outcome::Complete(recorded) => lease.publish(recorded.encode()),
        Outcome::Overflow => lease.decline(),
        // Someone else may have more luck.
        Outcome::Aborted => drop(lease),
    }
}

impl<B, E> Shell for Answer<B, E>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Key = HttpKey;
    type Value = Landed<B>;
    type Result = Result<Response<B>, E>;
    type Output = Result<Response<DedupBody<B>>, E>;

    fn tell(&self, event: Event<'_>) {
        self.shared.flights.tell(event);
    }

    fn coordination(&self) -> Option<Others<'_>> {
        let settings = &self.shared.settings;
        Some(Others {
            coordinator: &settings.elsewhere.as_ref()?.coordinator,
            key: &self.elsewhere.as_ref()?.name,
            max_age: settings.flights.oldest(),
        })
    }

    /// There is a name where others are asked, and so a place for their lease.
    fn hold(&mut self, lease: Box<dyn Lease>) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.lease = Some(lease);
        }
    }

    fn land(mut self, result: Self::Result, leader: Leader<HttpKey, Landed<B>>) -> Self::Output {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                self.take_lease().into_iter().for_each(Lease::decline);
                leader.complete(Landed::Failed);
                self.shared.flights.tell(Event::Failed);
                return Err(error);
            }
        };
        let (parts, body) = response.into_parts();
        Ok(match self.shared.share(&parts, &self.covered) {
            Share::Private => self.keep(parts, body, leader),
            Share::Shared => self.share(parts, body, leader),
        })
    }

    fn land_received(
        &mut self,
        value: Bytes,
        leader: &mut Option<Leader<HttpKey, Landed<B>>>,
    ) -> Option<Self::Output> {
        let recorded = Recorded::decode(value).ok()?;
        let response = received(&recorded);
        leader.take()?.complete(Landed::Received(recorded));
        Some(Ok(response))
    }

    fn alone(self, result: Self::Result) -> Self::Output {
        result.map(alone)
    }

    fn receive(&mut self, landed: Landed<B>) -> Received<Self> {
        let is_failure = matches!(landed, Landed::Failed);
        if is_failure && self.shared.settings.on_failure == OnLeaderFailure::BadGateway {
            return Received::Done(Ok(self.refuse(&leader_failed())));
        }
        match landed.response() {
            Some(response) => Received::Done(Ok(response)),
            None => Received::Alone,
        }
    }

    fn full(&mut self) -> Option<Self::Output> {
        match self.shared.settings.on_full {
            OnFull::Bypass => None,
            OnFull::Reject => Some(Ok(self.refuse(&too_many()))),
        }
    }
}

impl<B> Landed<B> {
    /// For one more newcomer, if it is not too late: the start of the body may have gone since the flight was looked up.
    pub(super) fn of_newcomer(&self) -> Option<Self> {
        match self {
            Self::Streaming(head, tape) => Some(Self::Response(Arc::clone(head), tape.join()?)),
            landed => Some(landed.clone()),
        }
    }

    /// The response for one more follower, if there is one.
    fn response(self) -> Option<Response<DedupBody<B>>> {
        let (head, reader) = match self {
            // Newcomers have a reader instead of the tape.
            Self::Failed | Self::Private | Self::Streaming(..) => return None,
            Self::Received(recorded) => return Some(received(&recorded)),
            Self::Response(head, reader) => (head, reader),
        };
        Some(marked(
            head.response(DedupBody::joined(reader)),
            Flight::Joined,
        ))
    }
}

impl<B> Clone for Landed<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed => Self::Failed,
            Self::Private => Self::Private,
            Self::Received(recorded) => Self::Received(recorded.clone()),
            Self::Response(head, reader) => Self::Response(Arc::clone(head), reader.clone()),
            Self::Streaming(head, tape) => Self::Streaming(Arc::clone(head), tape.clone()),
        }
    }
}

impl Head {
    fn of(parts: &response::Parts) -> Self {
        Self {
            status: parts.status,
            version: parts.version,
            headers: headers_for_followers(&parts.headers),
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

/// A response that nobody else gets, or could have got.
pub(super) fn alone<B>(response: Response<B>) -> Response<DedupBody<B>> {
    marked(response.map(DedupBody::own), Flight::Alone)
}

fn received<B>(recorded: &Recorded) -> Response<DedupBody<B>> {
    marked(recorded.response().map(DedupBody::received), Flight::Joined)
}

fn marked<B>(mut response: Response<B>, flight: Flight) -> Response<B> {
    response.extensions_mut().insert(flight);
    response
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
