//! The body of a request on its way to an upstream, and whose fault it is when nothing comes back: no head, or no more of the response's body.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buttress_wire::fields::strip_hop_by_hop;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::BoxError;

use crate::gateway::proxy::Body;

/// What is known of an upload by whoever waits for the answer.
#[derive(Clone, Debug)]
pub(crate) struct Upload(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    /// When the upstream was last given a piece, or could not be given one.
    at: Instant,
    /// The client has not sent what is asked for.
    waits: bool,
    /// It never will.
    failed: bool,
}

/// A body that tells how it goes on.
struct Watched {
    body: Body,
    upload: Upload,
}

/// The answer was not there in time.
#[derive(Debug, PartialEq)]
pub(crate) struct TooLong;

/// Waits for an answer for as long as the upstream may take: from now, or from the last piece of the body that it was given. What a client does not send is
/// not waited for at its cost; how long that may take is said where clients are served.
pub(crate) async fn within<T>(
    patience: Duration,
    upload: Option<&Upload>,
    answer: impl Future<Output = T>,
) -> Result<T, TooLong> {
    let Some(upload) = upload else {
        return timeout(patience, answer).await.map_err(|_| TooLong);
    };
    let (mut answer, mut clock) = (pin!(answer), pin!(sleep(patience)));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            () = &mut clock => match upload.until(patience) {
                Some(until) => clock.as_mut().reset(until),
                None => return Err(TooLong),
            },
        }
    }
}

/// The body of a response, whose next piece may take as long as its head might.
pub(crate) struct InStep<B> {
    body: B,
    patience: Duration,
    upload: Option<Upload>,
    /// While one is waited for.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<B> InStep<B> {
    pub(crate) fn new(body: B, patience: Duration, upload: Option<Upload>) -> Self {
        Self {
            body,
            patience,
            upload,
            clock: None,
        }
    }
}

impl<B> http_body::Body for InStep<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.clock = None;
            return Poll::Ready(frame.map(|frame| frame.map(end_to_end).map_err(Into::into)));
        }
        let begin = || Box::pin(sleep(this.patience));
        let clock = this.clock.get_or_insert_with(begin);
        loop {
            ready!(clock.as_mut().poll(cx));
            let upload = this.upload.as_ref();
            match upload.and_then(|upload| upload.until(this.patience)) {
                Some(until) => clock.as_mut().reset(until),
                None => {
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Trailers without what was said to us only: over HTTP/2 they would break the stream (RFC 9113, 8.2.2).
fn end_to_end(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            strip_hop_by_hop(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Upload {
    /// The same body, watched; none where there is nothing to send.
    pub(crate) fn watch(body: Body) -> (Body, Option<Self>) {
        if http_body::Body::is_end_stream(&body) {
            return (body, None);
        }
        let upload = Self(Arc::new(Mutex::new(Progress {
            at: Instant::now(),
            waits: false,
            failed: false,
        })));
        let watched = Watched {
            body,
            upload: upload.clone(),
        };
        (Body::new(watched), Some(upload))
    }

    /// Whether it was the client that broke it off.
    pub(crate) fn has_failed(&self) -> bool {
        self.progress().failed
    }

    /// Until when the upstream has time; `None` if it is over.
    fn until(&self, patience: Duration) -> Option<Instant> {
        let (progress, now) = (self.progress(), Instant::now());
        let from = if progress.waits { now } else { progress.at };
        Some(from + patience).filter(|until| *until > now)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let mut progress = self.upload.progress();
        progress.waits = polled.is_pending();
        progress.at = Instant::now();
        let frame = ready!(polled);
        progress.failed = matches!(frame, Some(Err(_)));
        drop(progress);
        Poll::Ready(frame.map(|frame| frame.map(end_to_end)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
    use http_body_util::BodyExt;
    use testkit::body::{Hand, by_hand};
    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);

    /// An upload by hand, read by an upstream that never answers.
    fn upload() -> (Hand, Upload, oneshot::Receiver<()>) {
        let (body, client) = by_hand();
        let (mut body, upload) = Upload::watch(Body::new(body));
        let (read, all) = oneshot::channel();
        tokio::spawn(async move {
            while let Some(Ok(_)) = body.frame().await {}
            let _ = read.send(());
        });
        (client, upload.unwrap(), all)
    }

    async fn never(upload: &Upload) -> (Duration, Result<(), TooLong>) {
        let begun = Instant::now();
        let answer = within(PATIENCE, Some(upload), std::future::pending()).await;
        (begun.elapsed(), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_client_does_not_send_is_not_the_upstreams_time() {
        let (client, upload, all) = upload();
        let slow = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(5 * PATIENCE).await;
                client.data("piece");
            }
            client.end();
        });
        let (waited, answer) = never(&upload).await;
        assert_eq!(answer, Err(TooLong));
        assert_eq!(waited, 26 * PATIENCE, "from the last piece");
        slow.await.unwrap();
        all.await.unwrap();
        assert!(!upload.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_does_not_read_has_its_time_and_no_more() {
        let (body, _client) = by_hand();
        let (_unread, upload) = Upload::watch(Body::new(body));
        let (waited, answer) = never(&upload.unwrap()).await;
        assert_eq!((waited, answer), (PATIENCE, Err(TooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_breaks_an_upload_off_is_known() {
        let (client, upload, all) = upload();
        client.fail();
        all.await.unwrap();
        assert!(upload.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_goes_on_with_the_upload_waits_for_it() {
        let (client, upload, all) = upload();
        let (body, upstream) = by_hand();
        let mut body = InStep::new(body, PATIENCE, Some(upload));
        let slow = async {
            for _ in 0..3 {
                sleep(3 * PATIENCE).await;
                client.data("piece");
                upstream.data("echo");
            }
            client.end();
            all.await.unwrap();
        };
        let echoes = async {
            for _ in 0..3 {
                body.frame().await.unwrap().unwrap();
            }
        };
        tokio::join!(slow, echoes);
        // Now it is the upstream alone that is waited for.
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    /// RFC 9110, 6.5.1 and 7.6.1.
    #[tokio::test]
    async fn what_is_said_of_one_connection_is_in_no_trailer() {
        let trailers = HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("x-mine")),
            ("keep-alive".parse().unwrap(), HeaderValue::from_static("1")),
            ("x-mine".parse().unwrap(), HeaderValue::from_static("1")),
            ("x-sum".parse().unwrap(), HeaderValue::from_static("1")),
        ]);
        let (body, upstream) = by_hand();
        upstream.trailers(trailers.clone());
        let mut download = InStep::new(body, PATIENCE, None);
        let (body, client) = by_hand();
        client.trailers(trailers);
        let (mut upload, _) = Upload::watch(Body::new(body));
        let seen = [
            download.frame().await.unwrap().unwrap(),
            upload.frame().await.unwrap().unwrap(),
        ];
        for frame in seen {
            let trailers = frame.into_trailers().unwrap();
            assert_eq!(
                trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
                ["x-sum"]
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_body_is_not_watched() {
        let (_, upload) = Upload::watch(Body::empty());
        assert!(upload.is_none());
        let answer = within(PATIENCE, None, std::future::pending::<()>()).await;
        assert_eq!(answer, Err(TooLong));
    }
}
