//! The response on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::fields::announced_length;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::body::NegotiateBody;
use crate::negotiated::Selected;
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
        state: State<I, F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<I, F> {
        Chosen { #[pin] inner: I, shared: Arc<Shared<F>>, chosen: u32, finish: Finish },
        // `None`: it was given.
        Refused { refusal: Option<Refused>, finish: Finish },
    }
}

/// A response instead of the inner service's. Rare, and large: in a box it costs the others nothing.
pub(crate) type Refused = Box<Response<Full<Bytes>>>;

/// What becomes of every response on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    /// The body is left out.
    pub(crate) is_head: bool,
    /// A problem becomes XML.
    pub(crate) xml_problems: bool,
}

impl<I, F> ResponseFuture<I, F> {
    pub(crate) fn chosen(inner: I, shared: Arc<Shared<F>>, chosen: usize, finish: Finish) -> Self {
        // A tuple of formats has nowhere near so many media types.
        let chosen = chosen as u32;
        Self {
            state: State::Chosen {
                inner,
                shared,
                chosen,
                finish,
            },
        }
    }

    pub(crate) fn refused(refusal: Refused, finish: Finish) -> Self {
        Self {
            state: State::Refused {
                refusal: Some(refusal),
                finish,
            },
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
        let response = match self.project().state.project() {
            StateProjection::Chosen {
                inner,
                shared,
                chosen,
                finish,
            } => {
                let mut response = ready!(inner.poll(cx))?;
                let variant = shared.variant(*chosen as usize);
                response.extensions_mut().insert(Selected {
                    content_type: variant.content_type.clone(),
                    format: variant.name,
                });
                finish.response(response.map(NegotiateBody::inner))
            }
            StateProjection::Refused { refusal, finish } => {
                let refusal = refusal.take().expect("a future is polled to its end once");
                finish.response(refusal.map(NegotiateBody::own))
            }
        };
        Poll::Ready(Ok(response))
    }
}

impl Finish {
    fn response<B>(self, mut response: Response<NegotiateBody<B>>) -> Response<NegotiateBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        // Also on a 304 and on errors: another Accept might have been answered otherwise (RFC 9110, 12.5.5).
        vary::merge(response.headers_mut(), &ACCEPT);
        if self.xml_problems {
            response = with_xml_problem(response);
        }
        if self.is_head {
            response = without_body(response);
        }
        response
    }
}

fn with_xml_problem<B>(response: Response<NegotiateBody<B>>) -> Response<NegotiateBody<B>> {
    let (mut head, body) = response.into_parts();
    let xml = problem::as_xml(&mut head);
    Response::from_parts(head, xml.map_or(body, NegotiateBody::own))
}

/// An answer to HEAD says what GET would, its length included where that is known (RFC 9110, section 9.3.2), and has no body.
fn without_body<B>(response: Response<NegotiateBody<B>>) -> Response<NegotiateBody<B>>
where
    B: Body<Data = Bytes>,
{
    let (mut head, body) = response.into_parts();
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
    Response::from_parts(head, NegotiateBody::own(Full::default()))
}

impl<I, F> fmt::Debug for ResponseFuture<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
