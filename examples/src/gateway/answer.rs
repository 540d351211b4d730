//! What becomes of one request: an answer of our own, a tunnel, or what the layers give.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buttress_wire::{Refusal, grpc::Code};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};

use crate::connections::InTime;
use crate::gateway::erased::Answering;
use crate::gateway::head::Fields;
use crate::gateway::interim::{Asker, Until};
use crate::gateway::proxy::{Asked, Body, boxed};
use crate::gateway::stack::Gateway;
use crate::gateway::{admin, head, tunnel};

/// The response to one request.
pub(crate) enum Answer {
    /// In a box of its own: no request is to be as large as what is rare.
    Rare(Rare),
    Layers(Layers),
}

type Rare = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What the layers give, which have boxes enough.
pub(crate) struct Layers {
    answering: Answering<Infallible>,
    /// Behind `answering`, which goes first.
    until: Option<Until>,
    version: Version,
}

impl Answer {
    pub(crate) fn new(gateway: &Arc<Gateway>, asker: Asker, request: Request<Incoming>) -> Self {
        if admin::is_wanted(&request) {
            let gateway = Arc::clone(gateway);
            return Self::rare(async move { admin::answer(&gateway, request.map(in_time)).await });
        }
        let (until, version) = (asker.until(), request.version());
        let fields = Fields::of(request.headers());
        let mut request = request.map(|body| Asked {
            body: in_time(body),
            asker,
            protocol: fields.protocol,
        });
        if let Err(ours) = admit(&mut request, fields) {
            return Self::rare(async { *ours });
        }
        if fields.any_of_connection
            && let Some(wanted) = tunnel::Wanted::of(&request)
        {
            let gateway = Arc::clone(gateway);
            return Self::rare(async move {
                let _until = until;
                tunnel::open(&gateway, wanted, fields, request).await
            });
        }
        head::settle(&mut request, fields);
        Self::Layers(Layers {
            answering: gateway.answer(request),
            until: Some(until),
            version,
        })
    }

    fn rare(answer: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self::Rare(Box::pin(answer))
    }
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.get_mut() {
            Self::Rare(answer) => ready!(answer.as_mut().poll(cx)),
            Self::Layers(layers) => {
                let Ok(mut response) = ready!(layers.answering.as_mut().poll(cx));
                *response.version_mut() = layers.version;
                layers.until = None;
                response
            }
        };
        Poll::Ready(Ok(response))
    }
}

/// Most requests have no body, and nothing to wait for.
fn in_time(body: Incoming) -> Body {
    if body.is_end_stream() {
        Body::empty()
    } else {
        Body::new(InTime::new(body))
    }
}

/// Answers what goes no further.
fn admit<B>(request: &mut Request<B>, fields: Fields) -> Result<(), Box<Response<Body>>> {
    let refuse = |refusal: Refusal| Err(Box::new(boxed(refusal.render(fields.protocol))));
    // A tunnel to wherever a client likes is what a forward proxy gives. This one stands before its upstreams, and supports it for none (RFC 9110, 9.3.6).
    if request.method() == Method::CONNECT {
        return refuse(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "urn:gateway:problem:connect",
            "The gateway opens no tunnels to elsewhere",
            Code::Unimplemented,
        ));
    }
    if !fields.name_one_host(request.version()) {
        return refuse(Refusal::new(
            StatusCode::BAD_REQUEST,
            "urn:gateway:problem:host",
            "It has to be said once for which host a request is",
            Code::InvalidArgument,
        ));
    }
    head::count_forward(request, fields.protocol)
}
