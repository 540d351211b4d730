//! A request on its way: answered from the store, waiting for somebody else's answer, or forwarded.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buttress_dedup::{Role, Waited};
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::CacheBody;
use super::decide::look_again;
use super::errand::{Errand, Look};
use super::flight::{Landed, Wait};
use super::whole::Whole;

pin_project! {
    /// The response of an [`HttpCache`](super::HttpCache).
    ///
    /// ```text
    ///            promoted
    ///  Follow ────────────► Forward ──► (response)
    ///    │ └── of no use ──────┘
    ///    └──── a response ────────────► (response)
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner call, and nothing is stored; if others wait for the same response, one of them calls the inner service then. An
    /// unsafe call that was begun may have had its effect: its target is invalidated then, as after an error.
    pub struct ResponseFuture<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
    {
        Answer { response: Option<Response<CacheBody<B>>> },
        Follow { wait: Wait, own: Option<Box<Own<S, ReqB>>> },
        Forward { #[pin] forward: Forward<S, ReqB> },
        Hit { whole: Option<Whole> },
    }
}

/// What a request needs to be forwarded. In a box, since the future of a hit would be as large.
pub(super) struct Own<S, ReqB> {
    /// Until the inner service is called.
    pub(super) call: Option<(S, Request<ReqB>)>,
    pub(super) errand: Errand,
}

impl<S, ReqB, B> ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    pub(super) fn answer(response: Response<CacheBody<B>>) -> Self {
        Self {
            state: State::answer(response),
        }
    }

    pub(super) fn forward(own: Box<Own<S, ReqB>>) -> Self {
        Self {
            state: State::forward(own),
        }
    }

    #[inline(always)]
    pub(super) fn hit(whole: Whole) -> Self {
        Self {
            state: State::Hit { whole: Some(whole) },
        }
    }

    pub(super) fn refreshed(forward: Forward<S, ReqB>) -> Self {
        Self {
            state: State::Forward { forward },
        }
    }

    /// Waits for the same, or does it for those who will wait.
    pub(super) fn join(own: Box<Own<S, ReqB>>) -> Self {
        Self {
            state: State::join(own),
        }
    }
}

impl<S, ReqB, B> State<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    fn answer(response: Response<CacheBody<B>>) -> Self {
        Self::Answer {
            response: Some(response),
        }
    }

    fn forward(own: Box<Own<S, ReqB>>) -> Self {
        Self::Forward {
            forward: Forward::new(own),
        }
    }

    fn join(mut own: Box<Own<S, ReqB>>) -> Self {
        let Some(flight) = own.errand.flight.clone() else {
            return Self::forward(own);
        };
        match own.errand.shared.flights.join(flight.key) {
            Role::Follower(wait) => Self::Follow {
                wait,
                own: Some(own),
            },
            Role::Full => Self::forward(own),
            Role::Landed(landed) => Self::receive(landed, own),
            Role::Leader(leader) => {
                own.errand.leader = Some(leader);
                if own.errand.shared.filed.count() == own.errand.filed {
                    return Self::forward(own);
                }
                Self::lead(own)
            }
        }
    }

    /// Somebody may have stored it between our look and our lead.
    fn lead(own: Box<Own<S, ReqB>>) -> Self {
        match look_again(&own.errand) {
            Some(response) => Self::answer(response),
            None => Self::forward(own),
        }
    }

    fn followed(waited: Waited<std::sync::Arc<[u8]>, Landed>, mut own: Box<Own<S, ReqB>>) -> Self {
        match waited {
            Waited::Promoted(leader) => {
                own.errand.leader = Some(leader);
                Self::lead(own)
            }
            Waited::TimedOut => Self::forward(own),
            Waited::Value(landed) => Self::receive(landed, own),
        }
    }

    fn receive(landed: Landed, own: Box<Own<S, ReqB>>) -> Self {
        let errand = &own.errand;
        let found = match landed {
            Landed::Failed(status) => errand.stale_instead(status),
            Landed::Private => None,
            Landed::Stored => look_again(errand),
            Landed::Response(head, reader) => {
                if !errand.may_have(&head) {
                    return Self::elsewhere(own);
                }
                Some(errand.follow(&head, CacheBody::shared(reader)))
            }
            // Its start may have gone between two looks; then it may be whole by now.
            Landed::Streaming(head, tape) => match tape.join() {
                Some(reader) if errand.may_have(&head) => {
                    Some(errand.follow(&head, CacheBody::shared(reader)))
                }
                Some(_) => {
                    errand.close_if_old(&head);
                    return Self::elsewhere(own);
                }
                None => look_again(errand),
            },
        };
        match found {
            Some(response) => Self::answer(response),
            None => Self::forward(own),
        }
    }

    /// The response was another variant, or too old. Now that it is known what the target varies by, those who want the same wait for
    /// each other, and for nobody else.
    fn elsewhere(mut own: Box<Own<S, ReqB>>) -> Self {
        let filed = own.errand.shared.filed.count();
        if let Some(response) = look_again(&own.errand) {
            return Self::answer(response);
        }
        if own.errand.has_followed {
            return Self::forward(own);
        }
        own.errand.has_followed = true;
        own.errand.filed = filed;
        own.errand.look_for_flight();
        Self::join(own)
    }
}

impl<S, ReqB, B> Future for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<CacheBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                // ## Answer => (response)
                StateProjection::Answer { response } => {
                    return Poll::Ready(Ok(response.take().expect(DONE)));
                }
                // ## Hit => (response)
                StateProjection::Hit { whole } => {
                    let whole = whole.take().expect(DONE);
                    return Poll::Ready(Ok(whole.into_response()));
                }
                // ## Follow => (Answer | Follow | Forward)
                StateProjection::Follow { wait, own } => {
                    let waited = ready!(Pin::new(wait).poll(cx));
                    let own = own
                        .take()
                        .expect("a follower keeps its own until it is done");
                    state.set(State::followed(waited, own));
                }
                // ## Forward => (response)
                StateProjection::Forward { forward } => return forward.poll(cx),
            }
        }
    }
}

const DONE: &str = "a future is not polled after it was ready";

pin_project! {
    /// A request that is forwarded.
    pub(super) struct Forward<S, ReqB>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: ForwardState<S, ReqB>,
    }
}

pin_project! {
    #[project = ForwardProjection]
    enum ForwardState<S, ReqB>
    where
        S: Service<Request<ReqB>>,
    {
        Look { look: Look, own: Option<Box<Own<S, ReqB>>> },
        Ready { own: Option<Box<Own<S, ReqB>>> },
        // In this order: nobody else begins before the call is gone.
        Call { #[pin] future: S::Future, begun: Begun<S, ReqB> },
    }
}

impl<S, ReqB> Forward<S, ReqB>
where
    S: Service<Request<ReqB>>,
{
    pub(super) fn new(own: Box<Own<S, ReqB>>) -> Self {
        let look = own.errand.look_below();
        let own = Some(own);
        let state = match look {
            Some(look) => ForwardState::Look { look, own },
            None => ForwardState::Ready { own },
        };
        Self { state }
    }
}

impl<S, ReqB, B> Forward<S, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<CacheBody<B>>, S::Error>> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                // ## Look => (Ready | (response))
                ForwardProjection::Look { look, own } => {
                    let brought = ready!(look.as_mut().poll(cx));
                    let mut own = own.take().expect(DONE);
                    if let Some(response) = own.errand.found_below(brought) {
                        return Poll::Ready(Ok(response));
                    }
                    state.set(ForwardState::Ready { own: Some(own) });
                }
                // ## Ready => (Call | (response))
                ForwardProjection::Ready { own } => {
                    let waiting = own.as_mut().and_then(|own| own.call.as_mut());
                    let ready = ready!(waiting.expect(DONE).0.poll_ready(cx));
                    let mut own = own.take().expect(DONE);
                    if let Err(error) = ready {
                        return Poll::Ready(own.errand.failed().ok_or(error));
                    }
                    let (mut inner, mut request) = own.call.take().expect(DONE);
                    own.errand.begin(&mut request);
                    let future = inner.call(request);
                    let begun = Begun(Some(own));
                    state.set(ForwardState::Call { future, begun });
                }
                // ## Call => (response)
                ForwardProjection::Call { future, begun } => {
                    let result = ready!(future.poll(cx));
                    let errand = &mut begun.0.take().expect(DONE).errand;
                    return Poll::Ready(match result {
                        Ok(response) => Ok(errand.respond(response)),
                        Err(error) => errand.failed().ok_or(error),
                    });
                }
            }
        }
    }
}

/// A request whose inner call has begun. If its response is never seen, an unsafe one takes its target out of the store: what has been done is
/// not known, and it costs a miss.
struct Begun<S, ReqB>(Option<Box<Own<S, ReqB>>>);

impl<S, ReqB> Drop for Begun<S, ReqB> {
    fn drop(&mut self) {
        if let Some(own) = self.0.take() {
            own.errand.remove_target();
        }
    }
}

impl<S, ReqB, B> fmt::Debug for ResponseFuture<S, ReqB, B>
where
    S: Service<Request<ReqB>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
