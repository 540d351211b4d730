//! The layer.

use tower_layer::Layer;

use crate::adapter::Judge;
use crate::breaker::Breaker;
use crate::fallback::{FallbackIf, FallbackTo, NoFallback};
use crate::manner::Manner;
use crate::service::Circuit;
use crate::timeout::NoTimeout;
#[cfg(feature = "tokio")]
use crate::timeout::Timeout;
use crate::verdict::{ErrIsFailure, ErrorsBy};

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
///
/// The type says what was chosen: `A` meets requests and answers, `B` has the breaker, `F` answers instead, `T` limits the time. What
/// was not chosen has no size and costs nothing.
#[derive(Clone, Debug)]
#[must_use]
pub struct CircuitLayer<A = Judge, B = Single, F = NoFallback, T = NoTimeout> {
    pub(crate) manner: Manner<A, F, T>,
    pub(crate) source: B,
}

/// One breaker for all requests, and all services unless each is to have its own.
#[derive(Clone, Debug)]
pub struct Single {
    pub(crate) breaker: Breaker,
    per_service: bool,
}

impl Single {
    pub(crate) fn for_service(&self) -> Breaker {
        if self.per_service {
            self.breaker.fresh()
        } else {
            self.breaker.clone()
        }
    }
}

impl CircuitLayer {
    /// A layer with this breaker, which may also be used elsewhere. Every error is a failure, everything else a success.
    pub fn new(breaker: Breaker) -> Self {
        Self {
            manner: Manner::new(Judge(ErrIsFailure)),
            source: Single {
                breaker,
                per_service: false,
            },
        }
    }
}

impl<A, F, T> CircuitLayer<A, Single, F, T> {
    /// Gives each service that this layer wraps a breaker of its own, with the same name, settings and observer. Clones of such a service
    /// share it.
    pub fn per_service(mut self) -> Self {
        self.source.per_service = true;
        self
    }

    /// The breaker of the services, or with [`per_service`](Self::per_service) the model of theirs.
    pub fn breaker(&self) -> &Breaker {
        &self.source.breaker
    }
}

/// Of services that are not taken for HTTP: those have `classify_http` and `classify_http_errors`.
impl<C, B, F, T> CircuitLayer<Judge<C>, B, F, T> {
    /// Decides by `classify` what a result says about the service: a closure from `&Result<T, E>` to a [`Verdict`](crate::Verdict).
    pub fn classify<D>(self, classify: D) -> CircuitLayer<Judge<D>, B, F, T> {
        self.adapter(Judge(classify))
    }

    /// Decides by `errors`, a closure from the service's error to a [`Verdict`](crate::Verdict), what an error says about it. Every answer is a
    /// success.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, Verdict};
    /// use std::io;
    ///
    /// let layer = CircuitLayer::new(Breaker::builder("disk").build()?).classify_errors(
    ///     |error: &io::Error| match error.kind() {
    ///         io::ErrorKind::NotFound => Verdict::Success,
    ///         io::ErrorKind::InvalidInput => Verdict::Ignore,
    ///         _ => Verdict::Failure,
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// ```
    pub fn classify_errors<G>(self, errors: G) -> CircuitLayer<Judge<ErrorsBy<G>>, B, F, T> {
        self.classify(ErrorsBy(errors))
    }
}

impl<A, B, F, T> CircuitLayer<A, B, F, T> {
    /// Meets requests and answers by an [`Adapter`](crate::Adapter) of yours.
    pub fn adapter<P>(self, adapter: P) -> CircuitLayer<P, B, F, T> {
        self.map_adapter(|_| adapter)
    }

    /// Sends requests that are rejected to `service`, which has the same answers and errors. A call that was made and failed is not
    /// repeated. What the fallback answers says nothing to the breaker.
    ///
    /// A clone of `service` is made ready inside the future of each such request, so that it holds nobody else up.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, Error, consecutive};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio_test::block_on(async {
    /// let breaker = Breaker::builder("prices").trip(consecutive(1)).build()?;
    /// let service = CircuitLayer::new(breaker)
    ///     .fallback(service_fn(async |item: &'static str| Ok(format!("{item}: yesterday's price"))))
    ///     .layer(service_fn(async |_: &'static str| Err::<String, _>("down")));
    /// assert_eq!(service.clone().oneshot("tea").await, Err(Error::Inner("down")));
    /// assert_eq!(service.oneshot("tea").await.unwrap(), "tea: yesterday's price");
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn fallback<S>(self, service: S) -> CircuitLayer<A, B, FallbackTo<S>, T> {
        self.map_fallback(FallbackTo(service))
    }

    /// As [`fallback`](Self::fallback), and also for calls that ended in a way for which `predicate`, a closure from an
    /// [`Outcome`](crate::Outcome) to `bool`, is true. The breaker counts such a call as ever. A clone of every request is kept
    /// until its answer comes: requests have to be `Clone`, which those with a body that streams, axum's for one, are not.
    ///
    /// The service has then seen the request, and may have acted on it.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, Outcome};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio_test::block_on(async {
    /// let yesterday = service_fn(async |_: &'static str| Ok::<_, &str>("yesterday's price"));
    /// let failed = |outcome: Outcome<'_, &str, &str>| !matches!(outcome, Outcome::Response(_));
    /// let service = CircuitLayer::new(Breaker::builder("prices").build()?)
    ///     .fallback_if(yesterday, failed)
    ///     .layer(service_fn(async |_: &'static str| Err::<&str, _>("down")));
    /// assert_eq!(service.oneshot("tea").await.unwrap(), "yesterday's price");
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn fallback_if<S, P>(
        self,
        service: S,
        predicate: P,
    ) -> CircuitLayer<A, B, FallbackIf<S, P>, T> {
        self.map_fallback(FallbackIf { service, predicate })
    }

    /// Lets a call take so long, until the head of its answer comes: then it is dropped, which is a failure. The caller gets
    /// [`Error::TimedOut`](crate::Error::TimedOut), or over HTTP a 504 problem (in gRPC `DEADLINE_EXCEEDED`). A body may take as long
    /// as it likes; a fallback too.
    ///
    /// The time is tokio's and runs from `call` on; a call that is answered at once asks nothing of the runtime.
    ///
    /// # Panics
    ///
    /// The service's `call` does, outside of a tokio runtime with time enabled.
    #[cfg(feature = "tokio")]
    pub fn timeout(self, limit: std::time::Duration) -> CircuitLayer<A, B, F, Timeout> {
        let Manner {
            adapter, fallback, ..
        } = self.manner;
        CircuitLayer {
            manner: Manner {
                adapter,
                fallback,
                timeout: Timeout(limit),
            },
            source: self.source,
        }
    }

    pub(crate) fn map_adapter<P>(self, map: impl FnOnce(A) -> P) -> CircuitLayer<P, B, F, T> {
        let Manner {
            adapter,
            fallback,
            timeout,
        } = self.manner;
        CircuitLayer {
            manner: Manner {
                adapter: map(adapter),
                fallback,
                timeout,
            },
            source: self.source,
        }
    }

    fn map_fallback<G>(self, fallback: G) -> CircuitLayer<A, B, G, T> {
        let Manner {
            adapter, timeout, ..
        } = self.manner;
        CircuitLayer {
            manner: Manner {
                adapter,
                fallback,
                timeout,
            },
            source: self.source,
        }
    }
}

impl<S, A: Clone, F: Clone, T: Clone> Layer<S> for CircuitLayer<A, Single, F, T> {
    type Service = Circuit<S, A, F, T>;

    fn layer(&self, inner: S) -> Self::Service {
        Circuit::new(inner, self.source.for_service(), self.manner.clone())
    }
}
