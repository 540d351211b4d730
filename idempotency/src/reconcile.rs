//! Asking the downstream system how work ended that nobody knows about.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

/// What a [reconcile hook](crate::IdempotencyLayer::reconcile) has found out.
#[derive(Debug)]
pub enum Reconciled {
    /// The effect is there. This is the response to it, of which [`Trailers`](crate::Trailers) may be in the extensions; it is recorded, and replayed from now on.
    Done(Response<Bytes>),
    /// There was no effect, and there will be none: the request is executed.
    NotDone,
    /// It could not be told. The request is refused, and the next one asks again.
    Unknown,
}

/// Finds out how work ended. Any closure of this shape is one.
pub trait Reconcile: Send + Sync + 'static {
    /// Gets the request as the handler would, with an [`Idempotency`](crate::Idempotency) in its extensions.
    fn reconcile(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Reconciled> + Send + '_>>;
}

impl<F, Fut> Reconcile for F
where
    F: Fn(Request<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Reconciled> + Send + 'static,
{
    fn reconcile(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Reconciled> + Send + '_>> {
        Box::pin(self(request))
    }
}
