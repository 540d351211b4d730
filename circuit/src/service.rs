//! The service.

use std::task::{Context, Poll, ready};

use tower_service::Service;

use crate::adapter::{Adapter, Exchange, Judge};
use crate::breaker::Breaker;
use crate::error::Refusal;
use crate::fallback::{Fallback, NoFallback};
use crate::machine::Word;
use crate::manner::{Answer, Manner};
use crate::permit::Permit;
use crate::timeout::{Limit, NoTimeout};

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
///
/// A fallback's readiness has no part in it: it is made ready inside the future of the request that it gets.
#[derive(Debug)]
pub struct Circuit<S, A = Judge, F = NoFallback, T = NoTimeout> {
    inner: S,
    manner: Manner<A, F, T>,
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

impl<S, A, F, T> Circuit<S, A, F, T> {
    pub(crate) fn new(inner: S, breaker: Breaker, manner: Manner<A, F, T>) -> Self {
        Self {
            inner,
            manner,
            breaker,
            readiness: Readiness::Unknown,
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
impl<S: Clone, A: Clone, F: Clone, T: Clone> Clone for Circuit<S, A, F, T> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.breaker.clone(),
            self.manner.clone(),
        )
    }
}

impl<S, A, F, T, Req> Service<Req> for Circuit<S, A, F, T>
where
    S: Service<Req>,
    A: Adapter<Req>,
    A::Call: Exchange<S::Response, S::Error>,
    F: Fallback<Req, S::Response, S::Error>,
    T: Limit,
{
    type Response = <A::Call as Exchange<S::Response, S::Error>>::Response;
    type Error = <A::Call as Exchange<S::Response, S::Error>>::Error;
    type Future = Answer<S, Req, A, F, T>;

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
        let foreseen = match self.readiness {
            Readiness::Inner => match self.breaker.admit() {
                Ok(ticket) => {
                    self.readiness = Readiness::Unknown;
                    let permit = Permit::new(self.breaker.clone(), ticket);
                    return self.manner.pass(&mut self.inner, request, permit);
                }
                // The inner service stays ready.
                Err(refusal) => {
                    let rejected = self.breaker.rejected(refusal);
                    return self.manner.reject::<S, _>(&self.breaker, request, rejected);
                }
            },
            Readiness::Foreseen(word, refusal) => Some((word, refusal)),
            Readiness::Unknown => None,
        };
        self.readiness = Readiness::Unknown;
        let rejected = self.breaker.reject_unready(foreseen);
        self.manner.reject::<S, _>(&self.breaker, request, rejected)
    }
}
