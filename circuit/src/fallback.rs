//! Who answers instead.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

/// Who answers when the service does not. Made by [`CircuitLayer::fallback`](crate::CircuitLayer::fallback) and
/// [`fallback_if`](crate::CircuitLayer::fallback_if); by default nobody: [`NoFallback`].
pub trait Fallback<Req, Res, E> {
    /// Its answer.
    type Future: Future<Output = Result<Res, E>>;
    /// What is kept of a request that was let through, in case its call fails.
    type Spare: Spare<Res, E, Future = Self::Future>;

    /// A request goes to the service.
    fn keep(&self, request: &Req) -> Self::Spare;

    /// A request was rejected. `None`, and so a refusal, if nobody answers.
    fn instead(&self, request: Req) -> Option<Self::Future>;
}

/// What a [`Fallback`] has in hand while a call is under way.
pub trait Spare<Res, E> {
    /// The fallback's answer.
    type Future;

    /// Called with how the call ended; `None` lets that outcome be the answer.
    fn after(self, outcome: Outcome<'_, Res, E>) -> Option<Self::Future>;
}

/// How a call that was made ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome<'a, Res, E> {
    /// With an answer.
    Response(&'a Res),
    /// With an error.
    Error(&'a E),
    /// It took longer than the layer's timeout.
    TimedOut,
}

impl<'a, Res, E> From<&'a Result<Res, E>> for Outcome<'a, Res, E> {
    fn from(result: &'a Result<Res, E>) -> Self {
        match result {
            Ok(response) => Self::Response(response),
            Err(error) => Self::Error(error),
        }
    }
}

/// Nobody answers instead: a rejected request is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFallback;

impl<Req, Res, E> Fallback<Req, Res, E> for NoFallback {
    type Future = Never<Res, E>;
    type Spare = Nothing<Never<Res, E>>;

    fn keep(&self, _request: &Req) -> Self::Spare {
        Nothing(PhantomData)
    }

    fn instead(&self, _request: Req) -> Option<Self::Future> {
        None
    }
}

/// The answer of nobody. There is none.
pub struct Never<Res, E>(Infallible, PhantomData<fn() -> (Res, E)>);

impl<Res, E> Future for Never<Res, E> {
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {}
    }
}

impl<Res, E> fmt::Debug for Never<Res, E> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Nothing is kept: the outcome is the answer, whatever it is.
#[derive(Debug)]
pub struct Nothing<F>(PhantomData<fn() -> F>);

impl<F, Res, E> Spare<Res, E> for Nothing<F> {
    type Future = F;

    fn after(self, _outcome: Outcome<'_, Res, E>) -> Option<F> {
        None
    }
}

/// Rejected requests go to this service.
#[derive(Clone, Copy, Debug, Default)]
pub struct FallbackTo<S>(pub(crate) S);

impl<S, Req> Fallback<Req, S::Response, S::Error> for FallbackTo<S>
where
    S: Service<Req> + Clone,
{
    type Future = Detour<S, Req, S::Future>;
    type Spare = Nothing<Self::Future>;

    fn keep(&self, _request: &Req) -> Self::Spare {
        Nothing(PhantomData)
    }

    fn instead(&self, request: Req) -> Option<Self::Future> {
        Some(Detour::new(self.0.clone(), request))
    }
}

/// Rejected requests go to this service, and so do those whose call ended in a way that the predicate names.
#[derive(Clone, Copy, Debug, Default)]
pub struct FallbackIf<S, P> {
    pub(crate) service: S,
    pub(crate) predicate: P,
}

impl<S, P, Req> Fallback<Req, S::Response, S::Error> for FallbackIf<S, P>
where
    S: Service<Req> + Clone,
    P: Fn(Outcome<'_, S::Response, S::Error>) -> bool + Clone,
    Req: Clone,
{
    type Future = Detour<S, Req, S::Future>;
    type Spare = Kept<S, P, Req>;

    fn keep(&self, request: &Req) -> Self::Spare {
        Kept {
            service: self.service.clone(),
            predicate: self.predicate.clone(),
            request: request.clone(),
        }
    }

    fn instead(&self, request: Req) -> Option<Self::Future> {
        Some(Detour::new(self.service.clone(), request))
    }
}

/// The request once more, and who would answer it.
#[derive(Debug)]
pub struct Kept<S, P, Req> {
    service: S,
    predicate: P,
    request: Req,
}

impl<S, P, Req> Spare<S::Response, S::Error> for Kept<S, P, Req>
where
    S: Service<Req>,
    P: Fn(Outcome<'_, S::Response, S::Error>) -> bool,
{
    type Future = Detour<S, Req, S::Future>;

    fn after(self, outcome: Outcome<'_, S::Response, S::Error>) -> Option<Self::Future> {
        (self.predicate)(outcome).then(|| Detour::new(self.service, self.request))
    }
}

// As `tower::util::Oneshot` does, which would bring a dependency on all of `tower`.
pin_project! {
    /// A fallback's answer: makes its service ready, then calls it.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the fallback service and its future. The breaker has no part in it.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Detour<S, Req, F> {
        #[pin]
        step: DetourStep<S, Req, F>,
    }
}

pin_project! {
    #[project = DetourProj]
    enum DetourStep<S, Req, F> {
        Unready { service: S, request: Option<Req> },
        Called { #[pin] future: F },
    }
}

impl<S, Req, F> Detour<S, Req, F> {
    fn new(service: S, request: Req) -> Self {
        Self {
            step: DetourStep::Unready {
                service,
                request: Some(request),
            },
        }
    }
}

impl<S, Req> Future for Detour<S, Req, S::Future>
where
    S: Service<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let DetourProj::Unready { service, request } = this.step.as_mut().project() {
            ready!(service.poll_ready(cx))?;
            let request = request.take().expect("a request is sent once");
            let future = service.call(request);
            this.step.set(DetourStep::Called { future });
        }
        match this.step.project() {
            DetourProj::Called { future } => future.poll(cx),
            DetourProj::Unready { .. } => unreachable!("called above"),
        }
    }
}

impl<S, Req, F> fmt::Debug for Detour<S, Req, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detour").finish_non_exhaustive()
    }
}
