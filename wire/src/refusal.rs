//! How a layer says no.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::grpc::{Code, GRPC_MESSAGE, GRPC_STATUS, encode_message, is_grpc_type};
use crate::problem::{PROBLEM_JSON, Problem};
use crate::retry_after::{GRPC_RETRY_PUSHBACK, RetryAfter};

/// The language that a refusal is written in: that of the request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// A gRPC call: a refusal is a trailers-only response with a gRPC status.
    Grpc,
    /// Any other HTTP request: a refusal is a problem document.
    #[default]
    Http,
}

impl Protocol {
    /// The language of a request with these headers.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        Self::of_type(request.get(CONTENT_TYPE))
    }

    /// The language of a request with this `Content-Type`, if it has any.
    #[must_use]
    pub fn of_type(content_type: Option<&HeaderValue>) -> Self {
        if content_type.is_some_and(is_grpc_type) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// A request that is refused: one reason, told as a problem document (RFC 9457) or as a gRPC status.
///
/// ```
/// use buttress_wire::{Refusal, grpc::Code};
/// use http::{HeaderMap, StatusCode};
/// use std::time::Duration;
///
/// let response = Refusal::new(
///     StatusCode::SERVICE_UNAVAILABLE,
///     "urn:example:open",
///     "The circuit is open",
///     Code::Unavailable,
/// )
/// .retry_after(Duration::from_secs(3))
/// .response(&HeaderMap::new());
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["retry-after"], "3");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a refusal refuses nothing until it is rendered"]
pub struct Refusal {
    problem: Problem,
    code: Code,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Refuses for the reason `kind`, a stable URI, with `status` over HTTP and `code` over gRPC.
    pub fn new(
        status: StatusCode,
        kind: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
        code: Code,
    ) -> Self {
        Self {
            problem: Problem::new(status, kind, title),
            code,
            retry_after: None,
        }
    }

    /// Says what happened this time.
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            problem: self.problem.detail(detail),
            ..self
        }
    }

    /// Adds an extension member to the problem document. gRPC has no place for it.
    pub fn with(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            problem: self.problem.with(name, value),
            ..self
        }
    }

    /// Says when to come back: `Retry-After`, or gRPC's pushback.
    pub fn retry_after(self, delay: Duration) -> Self {
        Self {
            retry_after: Some(delay),
            ..self
        }
    }

    /// The problem document.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The response in the language of a request with the headers `request`.
    #[must_use]
    pub fn response(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        self.render(Protocol::of(request))
    }

    /// The response in `protocol`, with the [`Problem`] in its extensions. It says `no-store`: a refusal is about one moment.
    #[must_use]
    pub fn render(&self, protocol: Protocol) -> Response<Full<Bytes>> {
        let mut response = match protocol {
            Protocol::Grpc => self.trailers_only(),
            Protocol::Http => self.problem_response(),
        };
        response.extensions_mut().insert(self.problem.clone());
        response
    }

    fn problem_response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.problem.to_json()));
        *response.status_mut() = self.problem.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            headers.insert(RETRY_AFTER, RetryAfter::seconds(delay));
        }
        response
    }

    /// The status stands in the headers, and there is no body ("Trailers-Only" in the gRPC protocol).
    fn trailers_only(&self) -> Response<Full<Bytes>> {
        let message = self.problem.detail_text().unwrap_or(self.problem.title());
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, self.code.to_header());
        headers.insert(GRPC_MESSAGE, encode_message(message));
        if let Some(delay) = self.retry_after {
            headers.insert(GRPC_RETRY_PUSHBACK, RetryAfter::pushback(delay));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn busy() -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "urn:a:busy", "Busy", Code::Aborted)
            .detail("the first is still running")
            .retry_after(Duration::from_millis(1200))
    }

    #[test]
    fn http_gets_a_problem() {
        let response = busy().response(&HeaderMap::new());
        assert_eq!(response.status(), 409);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(response.headers()["retry-after"], "2");
        let body = tokio_test::block_on(response.into_body().collect())
            .unwrap()
            .to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:a:busy");
    }

    #[test]
    fn grpc_gets_a_status_and_no_body() {
        let request = HeaderMap::from_iter([(
            CONTENT_TYPE,
            HeaderValue::from_static("application/grpc+proto"),
        )]);
        let response = busy().response(&request);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "10");
        assert_eq!(
            response.headers()["grpc-message"],
            "the first is still running"
        );
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1200");
        assert!(http_body::Body::is_end_stream(response.body()));
    }
}
