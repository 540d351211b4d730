//! A service that answers when the test says so.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use testkit::probe::ProbeError;
use tokio::sync::oneshot;
use tower::Service;

/// Answers calls in the order in which they came. A clone is the same backend.
pub(crate) struct Backend<Res> {
    waiting: Arc<Mutex<Vec<oneshot::Sender<Result<Res, ProbeError>>>>>,
    calls: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl<Res> Backend<Res> {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Calls that were made, not answered, and not given up.
    pub(crate) fn running(&self) -> usize {
        let waiting = self.waiting.lock().unwrap();
        waiting.iter().filter(|call| !call.is_closed()).count()
    }

    /// Answers the oldest call.
    pub(crate) fn answer(&self, answer: Result<Res, ProbeError>) {
        let _ = self.waiting.lock().unwrap().remove(0).send(answer);
    }

    /// Each call from now on fails when it is first polled.
    pub(crate) fn fail_at_once(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }

    /// Forgets the oldest call, whose caller is gone.
    pub(crate) fn skip(&self) {
        let gone = self.waiting.lock().unwrap().remove(0);
        assert!(gone.is_closed(), "it still waits");
    }
}

impl<Res: Send + 'static, Req> Service<Req> for Backend<Res> {
    type Response = Res;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Res, ProbeError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let (send, receive) = oneshot::channel();
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            let _ = send.send(Err(ProbeError));
        } else {
            self.waiting.lock().unwrap().push(send);
        }
        Box::pin(async move { receive.await.unwrap() })
    }
}

impl<Res> Clone for Backend<Res> {
    fn clone(&self) -> Self {
        Self {
            waiting: Arc::clone(&self.waiting),
            calls: Arc::clone(&self.calls),
            fails: Arc::clone(&self.fails),
        }
    }
}

impl<Res> Default for Backend<Res> {
    fn default() -> Self {
        Self {
            waiting: Arc::default(),
            calls: Arc::default(),
            fails: Arc::default(),
        }
    }
}
