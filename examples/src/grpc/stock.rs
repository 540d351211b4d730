//! The second service: it reserves what was ordered, and can be broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use futures_util::stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::messages::{Reserve, Reserved};
use crate::rpc::server_streaming;

#[derive(Debug, Default)]
pub(crate) struct Stock {
    conditions: watch::Sender<Conditions>,
    calls: AtomicU64,
    waiting: watch::Sender<u64>,
    reservations: AtomicU64,
}

/// How the service is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// Calls end with INTERNAL.
    pub(crate) failing: bool,
    /// They say so in the trailers, after a head that looks well.
    pub(crate) in_trailers: bool,
    /// Calls wait while it is true, so that it can be seen what happens meanwhile.
    pub(crate) held: bool,
}

/// It has one answer. Served as a stream, it can also fail after its head.
pub(crate) fn methods(stock: &Arc<Stock>) -> Router {
    let stock = stock.clone();
    let reserve = server_streaming(move |_: Request<Reserve>| {
        let stock = stock.clone();
        async move { stock.reserve().await }
    });
    Router::new().route("/shop.Stock/Reserve", reserve)
}

type Answer = stream::Iter<std::array::IntoIter<Result<Reserved, Status>, 1>>;

impl Stock {
    pub(crate) fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Waits until so many calls wait.
    pub(crate) async fn waiting(&self, number: u64) {
        // The sender lives as long as we do.
        let _ = self.waiting.subscribe().wait_for(|n| *n == number).await;
    }

    async fn reserve(&self) -> Result<Response<Answer>, Status> {
        self.calls.fetch_add(1, Relaxed);
        self.while_held().await;
        let conditions = *self.conditions.borrow();
        let answer = if conditions.failing {
            Err(Status::internal("broken on purpose"))
        } else {
            Ok(Reserved {
                number: self.reservations.fetch_add(1, Relaxed) + 1,
            })
        };
        match answer {
            Err(status) if !conditions.in_trailers => Err(status),
            answer => Ok(Response::new(stream::iter([answer]))),
        }
    }

    async fn while_held(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let mut conditions = self.conditions.subscribe();
        let _ = conditions.wait_for(|now| !now.held).await;
    }
}

/// One who waits, until it is dropped: at a deadline it is.
struct Waiting<'a>(&'a watch::Sender<u64>);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a watch::Sender<u64>) -> Self {
        waiting.send_modify(|n| *n += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}
