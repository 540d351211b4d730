//! Work that has not begun, and a call of a service that is made ready first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

/// Work that has not begun.
pub trait Start {
    /// The work.
    type Future: Future;

    /// Begins it.
    fn start(self) -> Self::Future;
}

impl<F: FnOnce() -> Fut, Fut: Future> Start for F {
    type Future = Fut;

    fn start(self) -> Fut {
        self()
    }
}

/// A service that is not ready yet, and the request for it. It holds no permit, however long it waits.
#[derive(Debug)]
pub struct Ready<S, Req>(pub(crate) S, pub(crate) Req);

impl<S: Service<Req>, Req> Start for Ready<S, Req> {
    type Future = Call<S, Req>;

    fn start(self) -> Call<S, Req> {
        let Self(service, request) = self;
        Call::new(service, request)
    }
}

// As `tower::util::Oneshot` does, which would bring a dependency on all of `tower`.
pin_project! {
    /// Makes a service ready, and calls it.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the service that was being made ready, or the call.
    pub struct Call<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req>
    where
        S: Service<Req>,
    {
        Called { #[pin] future: S::Future },
        Readying { service: S, request: Option<Req> },
    }
}

impl<S: Service<Req>, Req> Call<S, Req> {
    /// Nothing of the service is called before this is polled.
    pub(crate) fn new(service: S, request: Req) -> Self {
        Self {
            state: State::Readying {
                service,
                request: Some(request),
            },
        }
    }
}

impl<S: Service<Req>, Req> Future for Call<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                // ## Readying => Called
                StateProjection::Readying { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("a service is called once");
                    let future = service.call(request);
                    state.set(State::Called { future });
                }
                // ## Called => (result)
                StateProjection::Called { future } => return future.poll(cx),
            }
        }
    }
}
