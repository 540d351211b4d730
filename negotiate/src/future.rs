//! The response on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::fields::announced_length;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::body::NegotiateBody;
use crate::negotiated::{OriginalAccept, Selected};
use crate::offers::Offers;
use crate::shared::Shared;
use crate::{problem, vary};

pin_project! {
    /// A request under way.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future. Nothing else is held, and no one waits.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<I, F> {
        #[pin]
        state: State<I>,
        shared: Arc<Shared<F>>,
        finish: Finish,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<I> {
        Chosen { #[pin] inner: I, chosen: u32 },
        // `None`: it was given.
        Refused { refusal: Option<Refused> },
    }
}

/// A response instead of the inner service's. Rare, and large: in a box it costs the others nothing.
pub(crate) type Refused = Box<Response<Full<Bytes>>>;

/// What becomes of every response on its way out.
#[derive(Debug)]
pub(crate) struct Finish {
    /// The body is left out.
    pub(crate) is_head: bool,
    /// What was asked for, by a client that may rather have its problems in XML. It is looked into where there is a problem.
    pub(crate) may_be_xml: Option<OriginalAccept>,
}

impl<I, F> ResponseFuture<I, F> {
    pub(crate) fn chosen(inner: I, shared: Arc<Shared<F>>, chosen: usize, finish: Finish) -> Self {
        // A tuple of formats has nowhere near so many media types.
        let chosen = chosen as u32;
        Self {
            state: State::Chosen { inner, chosen },
            shared,
            finish,
        }
    }

    pub(crate) fn refused(refusal: Refused, shared: Arc<Shared<F>>, finish: Finish) -> Self {
        let refusal = Some(refusal);
        Self {
            state: State::Refused { refusal },
            shared,
            finish,
        }
    }
}

impl<I, F, B, E> Future for ResponseFuture<I, F>
where
    I: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<NegotiateBody<B>>, E>;

    /// # Panics
    ///
    /// It is polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (head, body) = match this.state.project() {
            StateProjection::Chosen { inner, chosen } => {
                let (mut head, body) = ready!(inner.poll(cx))?.into_parts();
                let variant = this.shared.variant(*chosen as usize);
                head.extensions.insert(Selected {
                    content_type: variant.content_type.clone(),
                    format: variant.name,
                });
                (head, NegotiateBody::inner(body))
            }
            StateProjection::Refused { refusal } => {
                let refusal = refusal.take().expect("a future is polled to its end once");
                let (head, body) = refusal.into_parts();
                (head, NegotiateBody::own(body))
            }
        };
        let response = this.finish.response(head, body, &this.shared.problems);
        Poll::Ready(Ok(response))
    }
}

impl Finish {
    fn response<B>(
        &self,
        mut head: Parts,
        mut body: NegotiateBody<B>,
        problems: &Offers<bool>,
    ) -> Response<NegotiateBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        // Also on a 304 and on errors: another Accept might have been answered otherwise (RFC 9110, 12.5.5).
        vary::merge(&mut head.headers, &ACCEPT);
        if let Some(accept) = &self.may_be_xml
            && let Some(xml) = problem::as_xml(&mut head, problems, accept)
        {
            body = NegotiateBody::own(xml);
        }
        if self.is_head {
            tell_length(&mut head, &body);
            body = NegotiateBody::own(Full::default());
        }
        Response::from_parts(head, body)
    }
}

/// An answer to HEAD says what GET would, its length included where that is known (RFC 9110, section 9.3.2).
fn tell_length(head: &mut Parts, body: &impl Body) {
    let length = announced_length(&head.headers, body.size_hint().exact());
    // Where a server sends none with GET either (RFC 9110, section 8.6).
    let has_none = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    // A service that leaves the body out itself has an empty one, and GET's length is not known.
    if let Some(length) = length.filter(|length| *length > 0 && !has_none) {
        head.headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
}

impl<I, F> fmt::Debug for ResponseFuture<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
