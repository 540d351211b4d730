//! The response on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::Protocol;
use http::Response;
use http::header::ACCEPT;
use pin_project_lite::pin_project;

use crate::body::NegotiateBody;
use crate::negotiated::Selected;
use crate::shared::Shared;
use crate::vary;

pin_project! {
    /// A request under way.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future. Nothing else is held, and no one waits.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<I, F> {
        #[pin]
        state: State<I, F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<I, F> {
        Chosen { #[pin] inner: I, shared: Arc<Shared<F>>, chosen: usize },
        Refused { shared: Arc<Shared<F>>, protocol: Protocol },
    }
}

impl<I, F> ResponseFuture<I, F> {
    pub(crate) fn chosen(inner: I, shared: Arc<Shared<F>>, chosen: usize) -> Self {
        Self {
            state: State::Chosen {
                inner,
                shared,
                chosen,
            },
        }
    }

    pub(crate) fn refused(shared: &Arc<Shared<F>>, protocol: Protocol) -> Self {
        Self {
            state: State::Refused {
                shared: Arc::clone(shared),
                protocol,
            },
        }
    }
}

impl<I, F, B, E> Future for ResponseFuture<I, F>
where
    I: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<NegotiateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (inner, shared, chosen) = match self.project().state.project() {
            StateProjection::Chosen {
                inner,
                shared,
                chosen,
            } => (inner, shared, *chosen),
            StateProjection::Refused { shared, protocol } => {
                let refusal = shared.refuse(*protocol);
                return Poll::Ready(Ok(refusal.map(NegotiateBody::own)));
            }
        };
        let mut response = ready!(inner.poll(cx))?;
        // Also on a 304 and on errors: another Accept might have been answered otherwise (RFC 9110, 12.5.5).
        vary::merge(response.headers_mut(), &ACCEPT);
        let variant = shared.variant(chosen);
        response.extensions_mut().insert(Selected {
            content_type: variant.content_type.clone(),
            format: variant.name,
        });
        Poll::Ready(Ok(response.map(NegotiateBody::inner)))
    }
}

impl<I, F> fmt::Debug for ResponseFuture<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
