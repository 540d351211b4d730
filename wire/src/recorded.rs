//! A whole response, kept, and the body that sends it again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// A whole response: status, headers, body and trailers. Cloning it costs a few reference counts, whatever its size.
///
/// Version and extensions are not part of it: they belong to one exchange.
///
/// ```
/// use buttress_wire::Recorded;
/// use bytes::Bytes;
/// use http::{HeaderMap, StatusCode};
///
/// let recorded = Recorded::new(StatusCode::CREATED, HeaderMap::new(), Bytes::from("{}"), None);
/// assert_eq!(recorded.response().status(), 201);
/// assert_eq!(Recorded::decode(recorded.encode()).unwrap(), recorded);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    head: Arc<Head>,
    body: Bytes,
}

#[derive(Debug, Eq, PartialEq)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    trailers: Option<Arc<HeaderMap>>,
}

impl Recorded {
    /// A response of these parts.
    #[must_use]
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Self {
        let trailers = trailers.map(Arc::new);
        Self {
            head: Arc::new(Head {
                status,
                headers,
                trailers,
            }),
            body,
        }
    }

    /// The same head over another body. The head is shared, and not copied.
    pub(crate) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// The same with these trailers.
    pub(crate) fn with_trailers(self, trailers: Option<HeaderMap>) -> Self {
        let head = Arc::try_unwrap(self.head);
        let (status, headers) = match head {
            Ok(head) => (head.status, head.headers),
            Err(shared) => (shared.status, shared.headers.clone()),
        };
        Self::new(status, headers, self.body, trailers)
    }

    /// The response, to be sent once more.
    #[must_use]
    pub fn response(&self) -> Response<ReplayBody> {
        let mut response = Response::new(self.replay_body());
        *response.status_mut() = self.head.status;
        *response.headers_mut() = self.head.headers.clone();
        response
    }

    /// The body alone, with its trailers.
    #[must_use]
    pub fn replay_body(&self) -> ReplayBody {
        ReplayBody {
            data: self.body.clone(),
            trailers: self.head.trailers.clone(),
        }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its trailers.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.head.trailers.as_deref()
    }

    /// How many bytes it keeps in memory, near enough for a bound.
    #[must_use]
    pub fn weight(&self) -> usize {
        let fields = |map: &HeaderMap| -> usize {
            map.iter()
                .map(|(n, v)| n.as_str().len() + v.len() + FIELD_OVERHEAD)
                .sum()
        };
        size_of::<Head>()
            + self.body.len()
            + fields(self.headers())
            + self.trailers().map_or(0, fields)
    }
}

/// What `HeaderMap` keeps beside the bytes of a field: its bucket and its index.
const FIELD_OVERHEAD: usize = 112;

/// The body of a [`Recorded`]: one data frame unless it is empty, then the trailers if there are any. Dropping it is always
/// fine.
#[derive(Clone, Debug)]
pub struct ReplayBody {
    data: Bytes,
    trailers: Option<Arc<HeaderMap>>,
}

impl ReplayBody {
    /// A body of these bytes and trailers.
    #[must_use]
    pub fn new(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            data,
            trailers: trailers.map(Arc::new),
        }
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = if self.data.is_empty() {
            let trailers = self.trailers.take();
            trailers.map(|trailers| Frame::trailers(Arc::unwrap_or_clone(trailers)))
        } else {
            Some(Frame::data(std::mem::take(&mut self.data)))
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.data.len() as u64;
        if self.trailers.is_none() {
            return SizeHint::with_exact(length);
        }
        // A server takes an exact hint for `Content-Length`, and sends no trailers then.
        let mut hint = SizeHint::new();
        hint.set_lower(length);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_replay_is_the_recorded_response() {
        let headers =
            HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let recorded = Recorded::new(
            StatusCode::OK,
            headers.clone(),
            Bytes::from("hi"),
            Some(trailers.clone()),
        );
        for _ in 0..2 {
            let response = recorded.response();
            assert_eq!(response.headers(), &headers);
            let hint = response.body().size_hint();
            assert_eq!((hint.lower(), hint.exact()), (2, None));
            let body = tokio_test::block_on(response.into_body().collect()).unwrap();
            assert_eq!(body.trailers(), Some(&trailers));
            assert_eq!(body.to_bytes(), "hi");
        }
    }

    #[test]
    fn an_empty_body_is_at_its_end_before_it_is_polled() {
        let recorded = Recorded::new(StatusCode::OK, HeaderMap::new(), Bytes::new(), None);
        assert!(recorded.replay_body().is_end_stream());
        assert_eq!(recorded.replay_body().size_hint().exact(), Some(0));
    }
}
