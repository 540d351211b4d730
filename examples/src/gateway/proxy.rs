//! Innermost: one request, to the upstream of its route.

use std::borrow::Cow;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_circuit::Verdict;
use buttress_idempotency::NoEffect;
use buttress_wire::{Protocol, Refusal, grpc::Code};
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::ext::on_informational;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::BoxError;

use crate::gateway::head;
use crate::gateway::interim::Asker;
use crate::gateway::routes::Upstream;
use crate::gateway::tunnel::Wanted;
use crate::gateway::upload::{InStep, TooLong, Upload, within};
use crate::with_causes;

pub(crate) use axum::body::Body;
pub(crate) type Pool = Client<HttpConnector, Body>;

/// A request's body, and who asks, who is among the extensions once it is [passed on](head::pass_on). What is answered before needs no table for one.
pub(crate) struct Asked {
    pub(crate) body: Body,
    pub(crate) asker: Asker,
    /// The language that the client understands.
    pub(crate) protocol: Protocol,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Connections to all upstreams, kept for as long as a server of usual settings keeps them, and a little less: it must not hang up just when we ask again.
///
/// A request is sent a second time only if its connection was gone before a byte of it was written.
pub(crate) fn pool() -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(3)));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(4))
        .pool_max_idle_per_host(256)
        .http1_preserve_header_case(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_max_headers(256)
        .build(connector)
}

/// The client has not sent what it announced, in time or at all.
#[derive(Debug)]
pub(crate) struct BrokenOff;

/// Sends the request on, to an upstream that must not stop for longer than `timeout` where it has all that there is of the body, and gives back the response as it comes, without what was said to us only; or a refusal, if there is none in time.
pub(crate) async fn send(
    pool: Pool,
    upstream: Arc<Upstream>,
    timeout: Duration,
    mut request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let headers = request.headers().clone();
    *request.uri_mut() = upstream.uri(request.uri());
    *request.version_mut() = http::Version::HTTP_11;
    let wanted = request.extensions_mut().remove::<Wanted>();
    if let Some(Wanted(protocol)) = wanted.clone() {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let asker = request.extensions_mut().remove::<Asker>();
    if let Some(asker) = asker {
        on_informational(&mut request, move |response| {
            // The client's own server says that one.
            if response.status() != StatusCode::CONTINUE {
                asker.send(response.status(), response.headers());
            }
        });
    }
    let (parts, body) = request.into_parts();
    let (body, upload) = Upload::watch(body);
    let asked = pool.request(Request::from_parts(parts, body));
    Ok(match within(timeout, upload.as_ref(), asked).await {
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            match wanted {
                // Its fields are those of the connection that it becomes.
                Some(_) => boxed(response),
                None => refuse(&headers, StatusCode::BAD_GATEWAY, UNASKED),
            }
        }
        Ok(Ok(mut response)) => {
            head::settle_response(&mut response);
            response.map(|body| Body::new(InStep::new(body, timeout, upload)))
        }
        Ok(Err(_)) if upload.is_some_and(|upload| upload.has_failed()) => {
            return Err(BrokenOff.into());
        }
        Ok(Err(error)) => {
            let refused = refuse(&headers, StatusCode::BAD_GATEWAY, with_causes(&error));
            match error.is_connect() {
                true => without_effect(refused),
                false => refused,
            }
        }
        Err(TooLong) => refuse(&headers, StatusCode::GATEWAY_TIMEOUT, TOO_LONG),
    })
}

const TOO_LONG: &str = "it took too long";
const UNASKED: &str = "it turned the connection into something else";

/// The answer to a request that no upstream has seen: its `Idempotency-Key` is free again.
pub(crate) fn without_effect(mut response: Response<Body>) -> Response<Body> {
    response.extensions_mut().insert(NoEffect);
    response
}

/// The upstream has no answer.
fn refuse(
    request: &HeaderMap,
    status: StatusCode,
    why: impl Into<Cow<'static, str>>,
) -> Response<Body> {
    let refusal = Refusal::new(
        status,
        "urn:gateway:problem:upstream",
        "The upstream did not answer",
        Code::Unavailable,
    );
    boxed(refusal.detail(why).response(request))
}

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body of the request did not come")
    }
}

impl Error for BrokenOff {}

/// The upstream has nothing to do with it: whatever its breaker is about to find out, it has not.
pub(crate) fn verdict(error: &BoxError) -> Verdict {
    if error.is::<BrokenOff>() {
        Verdict::Ignore
    } else {
        Verdict::Failure
    }
}

pub(crate) fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(Body::new)
}
