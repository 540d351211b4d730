//! The layer and the service with a breaker per key.

use std::fmt;
use std::hash::Hash;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use super::Breakers;
use crate::adapter::{Adapter, Exchange, Judge};
use crate::fallback::{Fallback, NoFallback};
use crate::layer::CircuitLayer;
use crate::manner::{Answer, Manner};
use crate::timeout::{Limit, NoTimeout};
use crate::verdict::ErrIsFailure;

/// A [`CircuitLayer`] with a breaker per key. Made by [`CircuitLayer::keyed`].
pub type KeyedCircuitLayer<K, G, A = Judge, F = NoFallback, T = NoTimeout> =
    CircuitLayer<A, Keyed<K, G>, F, T>;

/// A breaker for each key of a request.
pub struct Keyed<K, G> {
    breakers: Breakers<K>,
    key: G,
}

impl CircuitLayer {
    /// A layer with a breaker per key, which `key` reads from a request. Every error is a failure, everything else a success.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, Breakers, CircuitLayer, Error, consecutive};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio_test::block_on(async {
    /// let model = Breaker::builder("tenants").trip(consecutive(1)).build()?;
    /// let layer = CircuitLayer::keyed(Breakers::new(model), |&(tenant, _): &(u32, bool)| tenant);
    /// let service = layer.layer(service_fn(async |(_, ok)| if ok { Ok(()) } else { Err("down") }));
    /// assert_eq!(service.clone().oneshot((1, false)).await, Err(Error::Inner("down")));
    /// assert!(matches!(service.clone().oneshot((1, true)).await, Err(Error::Rejected(_))));
    /// assert_eq!(service.oneshot((2, true)).await, Ok(()));
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn keyed<K, G>(breakers: Breakers<K>, key: G) -> KeyedCircuitLayer<K, G> {
        CircuitLayer {
            manner: Manner::new(Judge(ErrIsFailure)),
            source: Keyed { breakers, key },
        }
    }
}

impl<K, G, A, F, T> KeyedCircuitLayer<K, G, A, F, T> {
    /// The breakers of the services.
    pub fn breakers(&self) -> &Breakers<K> {
        &self.source.breakers
    }
}

impl<S, K, G: Clone, A: Clone, F: Clone, T: Clone> Layer<S> for KeyedCircuitLayer<K, G, A, F, T> {
    type Service = KeyedCircuit<S, K, G, A, F, T>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuit::new(inner, self.source.clone(), self.manner.clone())
    }
}

/// A service behind a breaker per key. Made by [`CircuitLayer::keyed`].
///
/// # Readiness
///
/// That of the inner service, since it is the request that tells whose breaker is asked. An inner service that became ready for a call that was
/// then rejected stays ready for the next. If it fails to become ready, no breaker hears of it: that failure is nobody's in
/// particular.
pub struct KeyedCircuit<S, K, G, A = Judge, F = NoFallback, T = NoTimeout> {
    inner: S,
    source: Keyed<K, G>,
    manner: Manner<A, F, T>,
    inner_is_ready: bool,
}

impl<S, K, G, A, F, T> KeyedCircuit<S, K, G, A, F, T> {
    fn new(inner: S, source: Keyed<K, G>, manner: Manner<A, F, T>) -> Self {
        Self {
            inner,
            source,
            manner,
            inner_is_ready: false,
        }
    }

    /// Its breakers.
    pub fn breakers(&self) -> &Breakers<K> {
        &self.source.breakers
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, K, G, A, F, T, Req> Service<Req> for KeyedCircuit<S, K, G, A, F, T>
where
    S: Service<Req>,
    K: Hash + Eq + Clone,
    G: Fn(&Req) -> K,
    A: Adapter<Req>,
    A::Call: Exchange<S::Response, S::Error>,
    F: Fallback<Req, S::Response, S::Error>,
    T: Limit,
{
    type Response = <A::Call as Exchange<S::Response, S::Error>>::Response;
    type Error = <A::Call as Exchange<S::Response, S::Error>>::Error;
    type Future = Answer<S, Req, A, F, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !self.inner_is_ready {
            ready!(self.inner.poll_ready(cx)).map_err(A::Call::unready)?;
            self.inner_is_ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let breaker = self.source.breakers.get(&(self.source.key)(&request));
        let permit = if self.inner_is_ready {
            breaker.try_acquire()
        } else {
            Err(breaker.reject_unready(None))
        };
        match permit {
            Ok(permit) => {
                self.inner_is_ready = false;
                self.manner.pass(&mut self.inner, request, permit)
            }
            Err(rejected) => self.manner.reject::<S, _>(&breaker, request, rejected),
        }
    }
}

/// A clone has to be made ready itself.
impl<S: Clone, K, G: Clone, A: Clone, F: Clone, T: Clone> Clone for KeyedCircuit<S, K, G, A, F, T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.source.clone(), self.manner.clone())
    }
}

impl<K, G: Clone> Clone for Keyed<K, G> {
    fn clone(&self) -> Self {
        Self {
            breakers: self.breakers.clone(),
            key: self.key.clone(),
        }
    }
}

impl<K, G> fmt::Debug for Keyed<K, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("breakers", &self.breakers)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, K, G, A, F, T> fmt::Debug for KeyedCircuit<S, K, G, A, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuit")
            .field("inner", &self.inner)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
