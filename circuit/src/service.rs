//! The service.

use std::task::{Context, Poll, ready};

use tower_service::Service;

use crate::breaker::Breaker;
use crate::future::ResponseFuture;
use crate::observe::{Judge, Observe, Watch};
use crate::permit::Panicked;

/// A service behind a breaker. Made by [`CircuitLayer`](crate::CircuitLayer).
///
/// # Readiness
///
/// That of the inner service, unless the breaker would reject a call: then it is ready at once, and the inner service is not asked. The
/// decision falls in `call`; a ready service holds no probe's slot. An inner service that became ready for a call that was then
/// rejected stays ready for the next: put limits that hand out permits when they are ready *inside* if rejected calls shall not
/// count, and drop services that you do not use.
///
/// An inner service that fails to become ready has failed: the breaker counts it.
#[derive(Debug)]
pub struct Circuit<S, O = Judge> {
    inner: S,
    observe: O,
    breaker: Breaker,
    /// The inner service has said that it is ready, and was not called since.
    inner_ready: bool,
}

impl<S, O> Circuit<S, O> {
    pub(crate) fn new(inner: S, breaker: Breaker, observe: O) -> Self {
        Self {
            inner,
            observe,
            breaker,
            inner_ready: false,
        }
    }

    /// Its breaker.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

/// A clone has to be made ready itself.
impl<S: Clone, O: Clone> Clone for Circuit<S, O> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.breaker.clone(),
            self.observe.clone(),
        )
    }
}

impl<S, O, Req> Service<Req> for Circuit<S, O>
where
    S: Service<Req>,
    O: Observe<Req>,
    O::Call: Watch<S::Response, S::Error>,
{
    type Response = <O::Call as Watch<S::Response, S::Error>>::Response;
    type Error = <O::Call as Watch<S::Response, S::Error>>::Error;
    type Future = ResponseFuture<S::Future, O::Call>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.inner_ready || self.breaker.would_reject() {
            return Poll::Ready(Ok(()));
        }
        let ready = ready!(self.inner.poll_ready(cx));
        self.inner_ready = ready.is_ok();
        Poll::Ready(ready.map_err(|error| {
            if let Ok(permit) = self.breaker.try_acquire() {
                permit.failure();
            }
            O::Call::unready(error)
        }))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let watch = self.observe.begin(&request);
        if !self.inner_ready {
            return ResponseFuture::rejected(self.breaker.reject_unready(), watch);
        }
        match self.breaker.try_acquire() {
            Ok(permit) => {
                self.inner_ready = false;
                let mut permit = Some(permit);
                let panicked = Panicked::unless_returned(&mut permit);
                let inner = self.inner.call(request);
                panicked.returned();
                ResponseFuture::called(inner, permit, watch)
            }
            Err(rejected) => ResponseFuture::rejected(rejected, watch),
        }
    }
}
