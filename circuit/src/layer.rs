//! The layer.

use tower_layer::Layer;

use crate::adapter::Judge;
use crate::breaker::Breaker;
use crate::service::Circuit;
use crate::verdict::ErrIsFailure;

/// Puts a breaker around services.
///
/// All services that one layer, or its clones, made share its breaker: also where a router applies it once per route. Say
/// [`per_service`](Self::per_service) if each is to have its own.
///
/// ```
/// use buttress_circuit::{Breaker, CircuitLayer, Error, Verdict, consecutive};
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let breaker = Breaker::builder("numbers").trip(consecutive(1)).build()?;
/// let layer = CircuitLayer::new(breaker).classify(|result: &Result<i32, String>| match result {
///     Ok(_) => Verdict::Success,
///     Err(error) if error == "not my fault" => Verdict::Ignore,
///     Err(_) => Verdict::Failure,
/// });
/// let service = layer.layer(tower::service_fn(async |n: i32| match n {
///     0 => Err("not my fault".to_owned()),
///     1 => Err("broken".to_owned()),
///     n => Ok(n),
/// }));
/// assert_eq!(service.clone().oneshot(0).await, Err(Error::Inner("not my fault".into())));
/// assert_eq!(service.clone().oneshot(2).await, Ok(2));
/// assert_eq!(service.clone().oneshot(1).await, Err(Error::Inner("broken".into())));
/// assert!(matches!(service.oneshot(2).await, Err(Error::Rejected(_))));
/// # Ok::<(), buttress_circuit::ConfigError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CircuitLayer<A = Judge<ErrIsFailure>> {
    breaker: Breaker,
    adapter: A,
    per_service: bool,
}

impl CircuitLayer {
    /// A layer with this breaker, which may also be used elsewhere. Every error is a failure, everything else a success.
    pub fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            adapter: Judge(ErrIsFailure),
            per_service: false,
        }
    }
}

impl<A> CircuitLayer<A> {
    /// Decides by `classify` what a result says about the service: a closure from `&Result<T, E>` to a [`Verdict`](crate::Verdict).
    pub fn classify<C>(self, classify: C) -> CircuitLayer<Judge<C>> {
        self.adapter(Judge(classify))
    }

    /// Meets requests and answers by an [`Adapter`](crate::Adapter) of yours.
    pub fn adapter<P>(self, adapter: P) -> CircuitLayer<P> {
        CircuitLayer {
            breaker: self.breaker,
            adapter,
            per_service: self.per_service,
        }
    }

    /// Gives each service that this layer wraps a breaker of its own, with the same name, settings and observer. Clones of such a service
    /// share it.
    pub fn per_service(self) -> Self {
        Self {
            per_service: true,
            ..self
        }
    }

    /// The breaker of the services, or with [`per_service`](Self::per_service) the model of theirs.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    #[cfg(feature = "http")]
    pub(crate) fn map_adapter<P>(self, map: impl FnOnce(A) -> P) -> CircuitLayer<P> {
        CircuitLayer {
            breaker: self.breaker,
            adapter: map(self.adapter),
            per_service: self.per_service,
        }
    }
}

impl<S, A: Clone> Layer<S> for CircuitLayer<A> {
    type Service = Circuit<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let breaker = if self.per_service {
            self.breaker.fresh()
        } else {
            self.breaker.clone()
        };
        Circuit::new(inner, breaker, self.adapter.clone())
    }
}
