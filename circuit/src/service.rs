//! The service.

use std::task::{Context, Poll, ready};

use tower_service::Service;

use crate::adapter::{Adapter, Exchange, Judge};
use crate::breaker::Breaker;
use crate::error::Refusal;
use crate::future::ResponseFuture;
use crate::machine::Word;
use crate::permit::{Panicked, Permit};

/// A service behind a breaker. Made by [`CircuitLayer`](crate::CircuitLayer).
///
/// # Readiness
///
/// That of the inner service, unless the breaker would reject a call: then it is ready at once, and the inner service is not asked.
/// Whether a call passes is decided in `call`; a ready service holds no probe's slot. A service that was made ready while the breaker
/// was open rejects the next call in any case, since its inner service is not ready, and tells the waiting time as it was
/// then. An inner service that became ready for a call that was then
/// rejected stays ready for the next: put limits that hand out permits when they are ready *inside* if rejected calls shall not
/// count, and drop services that you do not use.
///
/// An inner service that fails to become ready has failed: the breaker counts it.
#[derive(Debug)]
pub struct Circuit<S, A = Judge> {
    inner: S,
    adapter: A,
    breaker: Breaker,
    readiness: Readiness,
}

/// What was found out since the last call of the inner service, or since the last rejection that was foreseen.
#[derive(Debug)]
enum Readiness {
    Unknown,
    /// The inner service has said that it is ready.
    Inner,
    /// The breaker would reject a call. The inner service was not asked, and so must not be called.
    Foreseen(Word, Refusal),
}

impl<S, A> Circuit<S, A> {
    pub(crate) fn new(inner: S, breaker: Breaker, adapter: A) -> Self {
        Self {
            inner,
            adapter,
            breaker,
            readiness: Readiness::Unknown,
        }
    }

    #[inline]
    fn pass<Req, X>(
        &mut self,
        request: Req,
        exchange: X,
        permit: Permit,
    ) -> ResponseFuture<S::Future, X>
    where
        S: Service<Req>,
    {
        self.readiness = Readiness::Unknown;
        let mut permit = Some(permit);
        let panicked = Panicked::unless_returned(&mut permit);
        let inner = self.inner.call(request);
        panicked.returned();
        ResponseFuture::called(inner, permit, exchange)
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
impl<S: Clone, A: Clone> Clone for Circuit<S, A> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.breaker.clone(),
            self.adapter.clone(),
        )
    }
}

impl<S, A, Req> Service<Req> for Circuit<S, A>
where
    S: Service<Req>,
    A: Adapter<Req>,
    A::Call: Exchange<S::Response, S::Error>,
{
    type Response = <A::Call as Exchange<S::Response, S::Error>>::Response;
    type Error = <A::Call as Exchange<S::Response, S::Error>>::Error;
    type Future = ResponseFuture<S::Future, A::Call>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Readiness::Inner = self.readiness {
            return Poll::Ready(Ok(()));
        }
        if let Some((word, refusal)) = self.breaker.foresee() {
            self.readiness = Readiness::Foreseen(word, refusal);
            return Poll::Ready(Ok(()));
        }
        self.readiness = Readiness::Unknown;
        let ready = ready!(self.inner.poll_ready(cx));
        Poll::Ready(match ready {
            Ok(()) => {
                self.readiness = Readiness::Inner;
                Ok(())
            }
            Err(error) => {
                if let Ok(permit) = self.breaker.try_acquire() {
                    permit.failure();
                }
                Err(A::Call::unready(error))
            }
        })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let exchange = self.adapter.begin(&request);
        if let Readiness::Inner = self.readiness {
            return match self.breaker.try_acquire() {
                Ok(permit) => self.pass(request, exchange, permit),
                Err(rejected) => ResponseFuture::rejected(rejected, exchange),
            };
        }
        let foreseen = match std::mem::replace(&mut self.readiness, Readiness::Unknown) {
            Readiness::Foreseen(word, refusal) => Some((word, refusal)),
            Readiness::Inner | Readiness::Unknown => None,
        };
        ResponseFuture::rejected(self.breaker.reject_unready(foreseen), exchange)
    }
}
