//! Polls without a runtime: what is measured never waits.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::Response;
use http_body::Body;
use tower_service::Service;

/// Makes the service ready and calls it, as a server does.
///
/// # Panics
///
/// When it has to wait.
#[inline]
pub fn call<S: Service<Request>, Request>(
    service: &mut S,
    request: Request,
) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    match service.poll_ready(&mut cx) {
        Poll::Ready(ready) => ready?,
        Poll::Pending => panic!("a measured service was not ready"),
    }
    // Pinned where it was made, as in the state machine of a server: not moved once more.
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a measured future had to wait"),
    }
}

/// Reads a body as a server does: until it says that there is nothing more. Returns the bytes that were in it.
///
/// # Panics
///
/// When the body has to wait, or fails.
pub fn body_to_end<B: Body>(response: Response<B>) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut body = pin!(response.into_body());
    let mut bytes = 0;
    while !body.is_end_stream() {
        match Pin::as_mut(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                bytes += frame.data_ref().map_or(0, bytes::Buf::remaining)
            }
            Poll::Ready(Some(Err(_))) => panic!("a measured body failed"),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("a measured body had to wait"),
        }
    }
    bytes
}
