//! The service that waits instead of rejecting.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use crate::adapter::{Adapter, Exchange, Judge};
use crate::breaker::Breaker;
use crate::fallback::NoFallback;
use crate::layer::{CircuitLayer, Single};
use crate::manner::{Answer, Manner};
use crate::permit::Permit;
use crate::timeout::{Limit, NoTimeout};

/// One breaker, whose services are not ready while it would reject a call.
#[derive(Clone, Debug)]
pub struct Waiting(Single);

impl<A, T> CircuitLayer<A, Single, NoFallback, T> {
    /// Waits instead of rejecting: a service is not ready while its breaker would reject a call, so that a load balancer takes another
    /// one. For services whose callers can wait or turn elsewhere; there is no fallback, since hardly anything is rejected. See
    /// [`WaitingCircuit`].
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, Clock, consecutive};
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = Breaker::builder("shard 1").trip(consecutive(1)).clock(Clock::tokio()).build()?;
    /// let layer = CircuitLayer::new(breaker.clone()).wait();
    /// let mut service = layer.layer(service_fn(async |n: u32| Ok::<_, std::io::Error>(n)));
    /// breaker.try_acquire()?.failure();
    /// // Some five seconds later it is the probe.
    /// assert_eq!(service.ready().await?.call(1).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> CircuitLayer<A, Waiting, NoFallback, T> {
        CircuitLayer {
            manner: self.manner,
            source: Waiting(self.source),
        }
    }
}

impl<A, F, T> CircuitLayer<A, Waiting, F, T> {
    /// The breaker of the services, or with [`per_service`](CircuitLayer::per_service) the model of theirs.
    pub fn breaker(&self) -> &Breaker {
        &self.source.0.breaker
    }
}

impl<S, A: Clone, T: Clone> Layer<S> for CircuitLayer<A, Waiting, NoFallback, T> {
    type Service = WaitingCircuit<S, A, T>;

    fn layer(&self, inner: S) -> Self::Service {
        WaitingCircuit::new(inner, self.source.0.for_service(), self.manner.clone())
    }
}

/// A service behind a breaker for which it waits. Made by [`CircuitLayer::wait`].
///
/// # Readiness
///
/// First the breaker has to admit a call, then the inner service has to be ready; an open breaker does not ask it. From the breaker's consent on the
/// service holds a permit, while half-open the slot of a probe. A clone has none, and asks for itself.
///
/// Whoever waits is woken by every change of the state, by a slot that is given back, and at the end of the open time by one timer. The
/// breaker should go by a clock that runs as tokio's does: see [`Breaker::acquire`].
///
/// If the breaker opens after the service has become ready, the call is rejected as ever.
///
/// # Cancellation
///
/// Dropping a service that is ready, or half ready, gives its permit back untold, and if that was a probe's slot, wakes one who waits for it. So
/// do not keep a ready service that you do not call: a probe's slot that is held for longer than [`Probes::max_wait`](crate::Probes::max_wait) is a
/// probe that has not answered, and the breaker opens again.
pub struct WaitingCircuit<S, A = Judge, T = NoTimeout> {
    inner: S,
    manner: Manner<A, NoFallback, T>,
    breaker: Breaker,
    admission: Admission,
    inner_is_ready: bool,
}

enum Admission {
    Unasked,
    /// Boxed, since a service may move between two polls. Made only if the first look was in vain.
    Asked(Pin<Box<dyn Future<Output = Permit> + Send + Sync>>),
    Granted(Held),
}

/// A permit for a call that may never be made.
struct Held(Option<Permit>);

impl Held {
    fn is_current(&self) -> bool {
        self.0.as_ref().is_some_and(Permit::is_current)
    }
}

impl Drop for Held {
    /// Nothing was called, so nobody was cancelled.
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.ignore();
        }
    }
}

impl<S, A, T> WaitingCircuit<S, A, T> {
    fn new(inner: S, breaker: Breaker, manner: Manner<A, NoFallback, T>) -> Self {
        Self {
            inner,
            manner,
            breaker,
            admission: Admission::Unasked,
            inner_is_ready: false,
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

    /// Ready once a permit of the present state is held.
    fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.admission = match &mut self.admission {
                Admission::Granted(held) if held.is_current() => return Poll::Ready(()),
                Admission::Asked(acquire) => {
                    let permit = ready!(acquire.as_mut().poll(cx));
                    Admission::Granted(Held(Some(permit)))
                }
                Admission::Unasked | Admission::Granted(_) => self.ask(),
            };
        }
    }

    fn ask(&self) -> Admission {
        let breaker = self.breaker.clone();
        match breaker.admit() {
            Ok(ticket) => Admission::Granted(Held(Some(Permit::new(breaker, ticket)))),
            Err(_) => Admission::Asked(Box::pin(async move { breaker.acquire().await })),
        }
    }

    fn take_permit(&mut self) -> Option<Permit> {
        match std::mem::replace(&mut self.admission, Admission::Unasked) {
            Admission::Granted(mut held) => held.0.take(),
            Admission::Unasked | Admission::Asked(_) => None,
        }
    }
}

/// A clone has to be made ready itself.
impl<S: Clone, A: Clone, T: Clone> Clone for WaitingCircuit<S, A, T> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.breaker.clone(),
            self.manner.clone(),
        )
    }
}

impl<S, A, T, Req> Service<Req> for WaitingCircuit<S, A, T>
where
    S: Service<Req>,
    A: Adapter<Req>,
    A::Call: Exchange<S::Response, S::Error>,
    T: Limit,
{
    type Response = <A::Call as Exchange<S::Response, S::Error>>::Response;
    type Error = <A::Call as Exchange<S::Response, S::Error>>::Error;
    type Future = Answer<S, Req, A, NoFallback, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_admitted(cx));
        if self.inner_is_ready {
            return Poll::Ready(Ok(()));
        }
        let ready = ready!(self.inner.poll_ready(cx));
        Poll::Ready(match ready {
            Ok(()) => {
                self.inner_is_ready = true;
                Ok(())
            }
            Err(error) => {
                if let Some(permit) = self.take_permit() {
                    permit.failure();
                }
                Err(A::Call::unready(error))
            }
        })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let permit = match self.take_permit() {
            Some(permit) if self.inner_is_ready => permit.renewed(),
            _ => Err(self.breaker.reject_unready(None)),
        };
        match permit {
            Ok(permit) => {
                self.inner_is_ready = false;
                self.manner.pass(&mut self.inner, request, permit)
            }
            Err(rejected) => self.manner.reject::<S, _>(&self.breaker, request, rejected),
        }
    }
}

impl<S: fmt::Debug, A, T> fmt::Debug for WaitingCircuit<S, A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingCircuit")
            .field("inner", &self.inner)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
