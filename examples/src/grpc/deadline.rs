//! Deadlines: `grpc-timeout` on the wire, a point in time in here. Whoever is called for a caller gets what is left of his time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;
use tower::Service;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call is over, whatever it has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Honours what a caller asks for: what is not done by then is dropped, and answered with DEADLINE_EXCEEDED.
pub(crate) async fn honour(mut request: Request, next: Next) -> Response {
    let Some(limit) = request.headers().get(GRPC_TIMEOUT).and_then(parse) else {
        return next.run(request).await;
    };
    let deadline = Deadline::after(limit);
    request.extensions_mut().insert(deadline);
    match timeout_at(deadline.0, next.run(request)).await {
        Ok(response) => response.map(|body| Body::new(Until::new(deadline, body))),
        Err(_) => exceeded(),
    }
}

/// A connection that tells the deadline of each call to who is called, and does not wait for longer.
#[derive(Clone, Debug)]
pub(crate) struct Keep<S>(pub(crate) S);

impl<S, B> Service<http::Request<B>> for Keep<S>
where
    S: Service<http::Request<B>, Response = Response, Future: Send + 'static>,
    S::Error: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let Some(deadline) = request.extensions().get::<Deadline>().copied() else {
            return Box::pin(self.0.call(request));
        };
        let headers = request.headers_mut();
        headers.insert(GRPC_TIMEOUT, write(deadline.left()));
        let answer = timeout_at(deadline.0, self.0.call(request));
        Box::pin(async move {
            let Ok(answer) = answer.await else {
                return Ok(exceeded());
            };
            Ok(answer?.map(|body| Body::new(Until::new(deadline, body))))
        })
    }
}

/// A body that ends at the deadline, in trailers that say so.
struct Until {
    /// `None` when it has come to its end.
    body: Option<Body>,
    over: Pin<Box<Sleep>>,
}

impl Until {
    fn new(deadline: Deadline, body: Body) -> Self {
        Self {
            body: Some(body),
            over: Box::pin(sleep_until(deadline.0)),
        }
    }
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.over.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(exceeded().headers().clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end early: no exact size is promised.
        SizeHint::default()
    }
}

fn exceeded() -> Response {
    Status::deadline_exceeded("the deadline passed first").into_http()
}

/// gRPC over HTTP/2, "Timeout": up to eight digits and a unit.
fn parse(value: &HeaderValue) -> Option<Duration> {
    let (number, unit) = value.as_bytes().split_last().map(|(unit, n)| (n, unit))?;
    if !(1..=8).contains(&number.len()) || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn write(left: Duration) -> HeaderValue {
    let (micros, millis) = (left.as_micros(), left.as_millis());
    let text = if micros < 100_000_000 {
        format!("{micros}u")
    } else {
        format!("{}m", millis.min(99_999_999))
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

/// The deadline of the call with these parts, in a call that is made for it.
pub(crate) fn passed_on<M>(from: &tonic::Extensions, message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    if let Some(deadline) = from.get::<Deadline>() {
        request.extensions_mut().insert(*deadline);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("1s", None),
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(parse(&value), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_never_more() {
        for left in [
            Duration::ZERO,
            Duration::from_nanos(1500),
            Duration::from_millis(99_999),
            Duration::from_secs(100),
            Duration::from_secs(1 << 40),
        ] {
            let read = parse(&write(left)).unwrap();
            assert!(read <= left, "{left:?} {read:?}");
        }
        assert_eq!(write(Duration::from_millis(250)), "250000u");
    }
}
