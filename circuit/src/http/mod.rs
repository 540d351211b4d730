//! Breakers around HTTP services: [`CircuitLayer::http`].
//!
//! A rejection is a response, and the service's error type stays what it is. What an answer says is decided by its status, in gRPC by
//! the call's status in headers or trailers, and if you ask for it by its body: [`Classified::AtEnd`] keeps the call's
//! permit until the body has ended.

mod body;
mod classify;
mod refuse;

pub use body::CircuitBody;
pub use buttress_wire::Protocol;
pub use classify::{Classified, ClassifyEnd, ClassifyHttp, End, HttpErrorsBy, ServerErrors};
pub use refuse::{Problems, Refuse};

use ::http::{Method, Request, Response, StatusCode};
use buttress_wire::fields::announced_length;
use bytes::Bytes;
use http_body::Body;

use crate::adapter::{Adapter, Exchange};
use crate::breaker::Breaker;
use crate::error::{Rejected, TimedOut};
use crate::layer::CircuitLayer;
use crate::permit::Permit;
use crate::verdict::Verdict;

/// What [`CircuitLayer::http`] makes of HTTP: `C` classifies answers, `R` writes refusals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http<C = ServerErrors, R = Problems> {
    classify: C,
    refuse: R,
}

impl CircuitLayer<Http> {
    /// A layer for HTTP services, which answers rejected requests itself and leaves the service's error type alone: with a 503
    /// problem document (RFC 9457) and `Retry-After`, or on a gRPC call with `UNAVAILABLE` and `grpc-retry-pushback-ms`. The
    /// [`Rejected`] is in the response's extensions.
    ///
    /// By default [`ServerErrors`] are failures, and so is every error of the service.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, consecutive};
    /// use http::{Request, Response, StatusCode};
    /// use http_body_util::Full;
    /// use tower::{Layer, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// let breaker = Breaker::builder("shop").trip(consecutive(1)).build()?;
    /// let service = CircuitLayer::http(breaker).layer(tower::service_fn(async |_: Request<()>| {
    ///     let mut response = Response::new(Full::<bytes::Bytes>::default());
    ///     *response.status_mut() = StatusCode::BAD_GATEWAY;
    ///     Ok::<_, std::convert::Infallible>(response)
    /// }));
    /// let first = service.clone().oneshot(Request::new(())).await?;
    /// assert_eq!(first.status(), 502);
    /// let second = service.oneshot(Request::new(())).await?;
    /// assert_eq!(second.status(), 503);
    /// assert!(second.headers().contains_key("retry-after"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn http(breaker: Breaker) -> Self {
        CircuitLayer::new(breaker).adapter(Http::default())
    }
}

#[cfg(feature = "keyed")]
impl CircuitLayer<Http> {
    /// The same with a breaker per key, which `key` reads from a request.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, Breakers, CircuitLayer};
    /// use http::Request;
    ///
    /// let model = Breaker::builder("upstream").build()?;
    /// // A clone of the authority costs a reference count, and its case does not matter.
    /// let by_host = |request: &Request<()>| request.uri().authority().cloned();
    /// let breakers = Breakers::<Option<http::uri::Authority>>::new(model);
    /// let layer = CircuitLayer::keyed_http(breakers, by_host);
    /// # let _ = layer;
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// ```
    pub fn keyed_http<K, G>(
        breakers: crate::keyed::Breakers<K>,
        key: G,
    ) -> crate::keyed::KeyedCircuitLayer<K, G, Http> {
        CircuitLayer::keyed(breakers, key).adapter(Http::default())
    }
}

impl<C, R, B, F, T> CircuitLayer<Http<C, R>, B, F, T> {
    /// Decides by `classify` what an answer says about the service: [`ServerErrors`], a [`ClassifyHttp`] of yours, or a closure.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, CircuitLayer, Verdict};
    /// use http::{HeaderMap, StatusCode};
    ///
    /// let layer = CircuitLayer::http(Breaker::builder("up").build()?).classify_http(
    ///     |status: StatusCode, _: &HeaderMap| match status {
    ///         StatusCode::NOT_IMPLEMENTED => Verdict::Success,
    ///         status if status.is_server_error() => Verdict::Failure,
    ///         _ => Verdict::Success,
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// ```
    pub fn classify_http<D>(self, classify: D) -> CircuitLayer<Http<D, R>, B, F, T> {
        self.map_adapter(|Http { refuse, .. }| Http { classify, refuse })
    }

    /// Decides by `errors`, a closure from the service's error to a [`Verdict`](crate::Verdict), what it says that there was no answer.
    /// Answers are classified as before.
    pub fn classify_http_errors<G>(
        self,
        errors: G,
    ) -> CircuitLayer<Http<HttpErrorsBy<C, G>, R>, B, F, T> {
        self.map_adapter(|Http { classify, refuse }| Http {
            classify: HttpErrorsBy {
                answers: classify,
                errors,
            },
            refuse,
        })
    }

    /// Writes refusals by `refuse`: a closure from `(&Rejected, Protocol)` to a response.
    pub fn refuse_with<Q>(self, refuse: Q) -> CircuitLayer<Http<C, Q>, B, F, T> {
        self.map_adapter(|Http { classify, .. }| Http { classify, refuse })
    }
}

impl<C: Clone, R: Clone, B> Adapter<Request<B>> for Http<C, R> {
    type Call = HttpCall<C, R>;

    fn begin(&self, request: &Request<B>) -> Self::Call {
        HttpCall {
            http: self.clone(),
            protocol: Protocol::of(request.headers()),
            is_head: request.method() == Method::HEAD,
            is_connect: request.method() == Method::CONNECT,
        }
    }
}

/// An HTTP call under way.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall<C, R> {
    http: Http<C, R>,
    protocol: Protocol,
    is_head: bool,
    is_connect: bool,
}

impl<C, R> HttpCall<C, R> {
    /// After how many bytes the body of an answer is over: a server need not ask what comes then. Of gRPC the trailers say it.
    fn announced<B: Body>(&self, response: &Response<B>) -> Option<u64> {
        match self.protocol {
            Protocol::Grpc => None,
            Protocol::Http if self.has_no_content(response.status()) => Some(0),
            Protocol::Http => {
                announced_length(response.headers(), response.body().size_hint().exact())
            }
        }
    }

    /// Whether nobody reads the body of such an answer, whatever length it tells (RFC 9110, 6.4.1).
    fn has_no_content(&self, status: StatusCode) -> bool {
        self.is_head
            || self.is_connect && status.is_success()
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

impl<C, R, B, E> Exchange<Response<B>, E> for HttpCall<C, R>
where
    C: ClassifyHttp<E>,
    R: Refuse,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<CircuitBody<B, C::End>>;
    type Error = E;

    fn end(self, result: Result<Response<B>, E>, permit: Permit) -> Result<Self::Response, E> {
        let classify = &self.http.classify;
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                permit.record(classify.error(&error));
                return Err(error);
            }
        };
        match classify.head(response.status(), response.headers()) {
            Classified::Now(verdict) => {
                permit.record(verdict);
                Ok(response.map(CircuitBody::told))
            }
            Classified::AtEnd(end) => {
                let announced = self.announced(&response);
                Ok(response.map(|body| CircuitBody::watched(body, permit, end, announced)))
            }
        }
    }

    /// Nobody will read the body, and so the head decides.
    fn discard(self, result: Result<Response<B>, E>, permit: Permit) {
        let verdict = match &result {
            Err(error) => self.http.classify.error(error),
            Ok(response) => {
                match (self.http.classify).head(response.status(), response.headers()) {
                    Classified::Now(verdict) => verdict,
                    Classified::AtEnd(_) => Verdict::Success,
                }
            }
        };
        permit.record(verdict);
    }

    fn refuse(self, rejected: Rejected) -> Result<Self::Response, E> {
        let mut response = self.http.refuse.refuse(&rejected, self.protocol);
        response.extensions_mut().insert(rejected);
        Ok(response.map(CircuitBody::refusal))
    }

    fn time_out(self, timed_out: TimedOut) -> Result<Self::Response, E> {
        let mut response = self.http.refuse.time_out(&timed_out, self.protocol);
        response.extensions_mut().insert(timed_out);
        Ok(response.map(CircuitBody::refusal))
    }

    fn instead(
        result: Result<Response<B>, E>,
        rejected: Option<Rejected>,
    ) -> Result<Self::Response, E> {
        let mut response = result?;
        if let Some(rejected) = rejected {
            response.extensions_mut().insert(rejected);
        }
        Ok(response.map(CircuitBody::told))
    }

    fn unready(error: E) -> E {
        error
    }
}
