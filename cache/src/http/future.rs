//! A request on its way: answered from the store, or forwarded.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_dedup::http::Flight;
use buttress_wire::fields::{announced_length, end_to_end, is_event_stream};
use buttress_wire::{Outcome, Recorder, Recording};
use http::header::{self, HeaderMap};
use http::uri::Uri;
use http::{Method, Request, Response, request, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::body::CacheBody;
use super::key::{either_scheme, selecting, write_variant};
use super::layer::Shared;
use super::status::{CacheOutcome, Forwarded, tell};
use super::storability::{Arrival, Asked, Verdict, storable};
use super::store::Place;
use super::{CacheInvalidate, CacheTags};
use crate::Stamp;

pin_project! {
    /// The response of an [`HttpCache`](super::HttpCache).
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner call, and nothing is stored. An unsafe call that was begun may have had its effect: its target is
    /// invalidated then, as after an error.
    pub struct ResponseFuture<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        Answer { response: Option<Response<CacheBody<B>>> },
        // ## Ready => Call
        Ready { inner: S, forward: Option<(Request<ReqB>, Miss)> },
        Call { #[pin] future: S::Future, miss: Begun },
    }
}

impl<S, ReqB, B> ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    pub(super) fn answer(response: Response<CacheBody<B>>) -> Self {
        Self {
            state: State::Answer {
                response: Some(response),
            },
        }
    }

    pub(super) fn forward(inner: S, request: Request<ReqB>, miss: Miss) -> Self {
        Self {
            state: State::Ready {
                inner,
                forward: Some((request, miss)),
            },
        }
    }
}

impl<S, ReqB, B> Future for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<CacheBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const DONE: &str = "a future is not polled after it was ready";
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Answer { response } => {
                    return Poll::Ready(Ok(response.take().expect(DONE)));
                }
                StateProjection::Ready { inner, forward } => {
                    ready!(inner.poll_ready(cx))?;
                    let (request, mut miss) = forward.take().expect("a service is called once");
                    miss.begin();
                    let future = inner.call(request);
                    state.set(State::Call {
                        future,
                        miss: Begun(Some(miss)),
                    });
                }
                StateProjection::Call { future, miss } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(miss.0.take().expect(DONE).respond(response)));
                }
            }
        }
    }
}

/// A miss whose inner call has begun. If its response is never seen, an unsafe one takes its target out of the store: what has been done is
/// not known, and it costs a miss.
struct Begun(Option<Miss>);

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(miss) = self.0.take()
            && miss.unsafe_target.is_some()
        {
            miss.remove_target();
        }
    }
}

/// What is kept of a request while the inner service works on it.
pub(super) struct Miss {
    shared: Arc<Shared>,
    asked: Asked,
    why: Forwarded,
    primary: Vec<u8>,
    /// The request fields, for the variant's key; only for a request whose response may be stored.
    request: HeaderMap,
    /// For an unsafe request: what it may change besides its target.
    unsafe_target: Option<UnsafeTarget>,
    stamp: Stamp,
    begun: Instant,
}

struct UnsafeTarget {
    parts: request::Parts,
}

impl Miss {
    pub(super) fn new(
        shared: &Arc<Shared>,
        parts: &request::Parts,
        primary: Vec<u8>,
        why: Forwarded,
    ) -> Self {
        let asked = Asked::of(&parts.method, &parts.headers);
        let may_store = asked.method == Method::GET && why != Forwarded::Bypass;
        let request = if may_store {
            parts.headers.clone()
        } else {
            HeaderMap::new()
        };
        let unsafe_target = (!parts.method.is_safe()).then(|| UnsafeTarget::of(parts));
        let stamp = shared.cache.stamp();
        let begun = Instant::now();
        Self {
            shared: Arc::clone(shared),
            asked,
            why,
            primary,
            request,
            unsafe_target,
            stamp,
            begun,
        }
    }

    /// The inner service is called now: the response is as old as that, and whatever is invalidated from here on counts.
    fn begin(&mut self) {
        self.stamp = self.shared.cache.stamp();
        self.begun = Instant::now();
    }

    fn respond<B>(self, response: Response<B>) -> Response<CacheBody<B>>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut head, body) = response.into_parts();
        self.invalidate(&head);
        let outcome = CacheOutcome::Forwarded(self.why);
        let shared = Arc::clone(&self.shared);
        let place = self.place(&head);
        let recording = place.as_ref().map(|place| {
            let mut headers = end_to_end(&head.headers);
            place
                .omitted
                .iter()
                .for_each(|name| drop(headers.remove(name)));
            Recording::new(head.status, headers, shared.max_object)
                .announced(announced_length(&head.headers, body.size_hint().exact()))
        });
        tell(
            &mut head.headers,
            &shared.name,
            shared.x_cache,
            outcome,
            place.is_some(),
        );
        if shared.extension {
            head.extensions.insert(outcome);
        }
        let body = match place.zip(recording) {
            None => CacheBody::pass(body),
            Some((place, recording)) => {
                let on_end = Box::new(move |outcome| {
                    if let Outcome::Complete(recorded) = outcome {
                        place.store(recorded);
                    }
                });
                CacheBody::store(Recorder::new(body, recording, on_end))
            }
        };
        Response::from_parts(head, body)
    }

    /// Where the response is to be stored, if it may be.
    fn place(self, head: &response::Parts) -> Option<Place> {
        // A response that was joined inside of us was begun for somebody else, perhaps before what has been invalidated since, and has
        // lost its tags: whoever led stores it.
        let joined = head.extensions.get() == Some(&Flight::Joined);
        if self.why == Forwarded::Bypass || joined || is_event_stream(&head.headers) {
            return None;
        }
        let received = Instant::now();
        let delay = received.saturating_duration_since(self.begun);
        let arrival = Arrival {
            time: self.shared.date(),
            delay,
            ttl: None,
        };
        let verdict = storable(&self.asked, head, &self.shared.rules, arrival)?;
        let variant = selecting(&head.headers).map(|selecting| {
            let mut key = Vec::new();
            write_variant(&mut key, &self.primary, &selecting, &self.request);
            (selecting, key)
        });
        Some(self.at(head, variant, received, verdict))
    }

    fn at(
        self,
        head: &response::Parts,
        variant: Option<(Arc<[header::HeaderName]>, Vec<u8>)>,
        received: Instant,
        verdict: Verdict,
    ) -> Place {
        let mut tags = head
            .extensions
            .get::<CacheTags>()
            .cloned()
            .unwrap_or_default()
            .0;
        tags.extend(self.shared.tags.iter().flat_map(|of| of(head)));
        Place {
            cache: self.shared.cache.clone(),
            primary: self.primary,
            variant,
            tags,
            stamp: self.stamp,
            received,
            policy: verdict.policy,
            omitted: verdict.omitted,
            keep: self.shared.keep,
            name: Arc::clone(&self.shared.name),
            x_cache: self.shared.x_cache,
        }
    }

    /// What a response takes out of the store: the tags that its handler names, and, after an unsafe method that did not fail, the
    /// target and what `Location` and `Content-Location` name on the same origin (RFC 9111, section 4.4).
    fn invalidate(&self, head: &response::Parts) {
        if head.status.is_server_error() {
            return;
        }
        if let Some(CacheInvalidate(tags)) = head.extensions.get() {
            self.shared.cache.invalidate(tags);
        }
        let Some(target) = &self.unsafe_target else {
            return;
        };
        if head.status.is_client_error() {
            return;
        }
        self.remove_target();
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            if let Some(parts) = value.and_then(|value| target.resolve(value)) {
                self.remove(&parts);
            }
        }
    }

    fn remove_target(&self) {
        if let Some(target) = &self.unsafe_target {
            self.remove(&target.parts);
        }
    }

    fn remove(&self, parts: &request::Parts) {
        for key in either_scheme(&self.shared.partition(parts), parts) {
            self.shared.cache.remove(key);
        }
    }
}

impl UnsafeTarget {
    fn of(parts: &request::Parts) -> Self {
        let mut kept = Request::new(()).into_parts().0;
        kept.uri = parts.uri.clone();
        kept.headers = parts.headers.clone();
        kept.extensions = parts.extensions.clone();
        Self { parts: kept }
    }

    /// The request for `reference`, when it is on the same origin: an absolute path, or a URI with the same authority.
    fn resolve(&self, reference: &str) -> Option<request::Parts> {
        let reference: Uri = reference.parse().ok()?;
        let mut named = self.parts.clone();
        match reference.authority() {
            Some(authority) if !self.is_own(authority.as_str()) => return None,
            None if !reference.path().starts_with('/') => return None,
            _ => {}
        }
        let mut uri = std::mem::take(&mut named.uri).into_parts();
        uri.path_and_query = reference.path_and_query().cloned();
        named.uri = Uri::from_parts(uri).ok()?;
        Some(named)
    }

    fn is_own(&self, authority: &str) -> bool {
        let host = self.parts.headers.get(header::HOST);
        let own = match self.parts.uri.authority() {
            Some(own) => own.as_str().as_bytes(),
            None => host.map_or(&b""[..], |host| host.as_bytes()),
        };
        own.eq_ignore_ascii_case(authority.as_bytes())
    }
}

impl<S, ReqB, B> fmt::Debug for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
