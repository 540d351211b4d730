//! Answers where the layers have an error: inside of the trace, so that it tells of them as the client hears of them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_wire::{Protocol, Refusal, grpc::Code};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower::{BoxError, Layer, Service};

use crate::gateway::proxy::BrokenOff;

/// Makes services that have an answer to everything, in the language that this finds of a request.
#[derive(Clone)]
pub(crate) struct SettledLayer<P>(pub(crate) P);

impl<S, P: Clone> Layer<S> for SettledLayer<P> {
    type Service = Settled<S, P>;

    fn layer(&self, inner: S) -> Settled<S, P> {
        Settled {
            inner,
            protocol: self.0.clone(),
            unusable: None,
        }
    }
}

/// A service that has an answer to everything.
pub(crate) struct Settled<S, P> {
    inner: S,
    protocol: P,
    /// Why `inner` is not ready, and never will be.
    unusable: Option<BoxError>,
}

/// Of which each finds out for itself whether it is usable.
impl<S: Clone, P: Clone> Clone for Settled<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            protocol: self.protocol.clone(),
            unusable: None,
        }
    }
}

impl<S, P, R, B> Service<Request<R>> for Settled<S, P>
where
    S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
    P: Fn(&Request<R>) -> Protocol,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = Infallible;
    type Future = Settling<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.unusable = ready!(self.inner.poll_ready(cx)).err().map(Into::into);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Settling<S::Future> {
        let protocol = (self.protocol)(&request);
        match self.unusable.take() {
            Some(error) => Settling::Unusable { error, protocol },
            None => Settling::Asked {
                asked: self.inner.call(request),
                protocol,
            },
        }
    }
}

pin_project! {
    /// The answer of a [`Settled`].
    #[project = Project]
    pub(crate) enum Settling<F> {
        Asked { #[pin] asked: F, protocol: Protocol },
        Unusable { error: BoxError, protocol: Protocol },
    }
}

impl<F, B, E> Future for Settling<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Either<B, Full<Bytes>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let refused = match self.project() {
            Project::Unusable { error, protocol } => refusal(error).render(*protocol),
            Project::Asked { asked, protocol } => match ready!(asked.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.map(Either::Left))),
                Err(error) => refusal(&error.into()).render(*protocol),
            },
        };
        Poll::Ready(Ok(refused.map(Either::Right)))
    }
}

fn refusal(error: &BoxError) -> Refusal {
    if error.is::<BrokenOff>() {
        return Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "urn:gateway:problem:upload",
            "The body of the request did not come",
            Code::Cancelled,
        );
    }
    let refusal = Refusal::new(
        StatusCode::BAD_GATEWAY,
        "urn:gateway:problem:failed",
        "The request could not be passed on",
        Code::Unavailable,
    );
    refusal.detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use futures_util::FutureExt;
    use http::header::CONTENT_TYPE;
    use http_body_util::Empty;
    use tower::ServiceExt;

    use super::*;

    /// One that never is ready, and one that has no answer.
    #[derive(Clone)]
    enum Broken {
        Closed,
        Silent(&'static str),
    }

    impl Service<Request<()>> for Broken {
        type Response = Response<Empty<Bytes>>;
        type Error = BoxError;
        type Future = Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(match self {
                Self::Closed => Err("closed".into()),
                Self::Silent(_) => Ok(()),
            })
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            match self {
                Self::Closed => panic!("it was called though it was not ready"),
                Self::Silent("") => ready(Err(BrokenOff.into())),
                Self::Silent(why) => ready(Err((*why).into())),
            }
        }
    }

    fn status_and_type(broken: Broken, content_type: &str) -> (u16, String) {
        let request = Request::builder().header(CONTENT_TYPE, content_type);
        let request = request.body(()).unwrap();
        let layer = SettledLayer(|request: &Request<()>| Protocol::of(request.headers()));
        let response = layer
            .layer(broken)
            .oneshot(request)
            .now_or_never()
            .unwrap()
            .unwrap();
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap();
        (response.status().as_u16(), kind.to_owned())
    }

    #[test]
    fn an_error_is_answered_in_the_language_of_the_request() {
        let problem = |status| (status, "application/problem+json".to_owned());
        assert_eq!(status_and_type(Broken::Closed, "text/plain"), problem(502));
        assert_eq!(
            status_and_type(Broken::Silent("why"), "text/plain"),
            problem(502)
        );
        assert_eq!(
            status_and_type(Broken::Silent(""), "text/plain"),
            problem(408)
        );
        let grpc = (200, "application/grpc".to_owned());
        assert_eq!(
            status_and_type(Broken::Silent("why"), "application/grpc"),
            grpc
        );
    }
}
