//! The first service: places orders, once each, and tells of them as they are placed.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use buttress_idempotency::Idempotency;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use crate::deadline;
use crate::messages::{NewOrder, News, Order, Reserve, Reserved, Watch};
use crate::rpc::{Remote, server_streaming, unary};

pub(crate) struct Orders {
    stock: Remote,
    placed: Mutex<u64>,
    news: broadcast::Sender<News>,
    /// Ends the streams that would otherwise never end.
    stopping: CancellationToken,
}

pub(crate) fn methods(orders: &Arc<Orders>) -> Router {
    let (placing, watching) = (orders.clone(), orders.clone());
    Router::new()
        .route(
            "/shop.Orders/Place",
            unary(move |request| {
                let orders = placing.clone();
                async move { orders.place(request).await }
            }),
        )
        .route(
            "/shop.Orders/Watch",
            server_streaming(move |_: Request<Watch>| {
                let news = watching.watch();
                async move { Ok(Response::new(news)) }
            }),
        )
}

impl Orders {
    pub(crate) fn new(stock: Remote, stopping: CancellationToken) -> Self {
        Self {
            stock,
            placed: Mutex::default(),
            news: broadcast::Sender::new(256),
            stopping,
        }
    }

    /// Asks the stock service within what is left of the caller's time, and under a key that is derived from the caller's.
    async fn place(&self, request: Request<NewOrder>) -> Result<Response<Order>, Status> {
        let claim = request.extensions().get::<Idempotency>().cloned();
        let new = request.get_ref();
        if !(1..=100).contains(&new.quantity) {
            return Err(Status::invalid_argument("an order is for 1 to 100"));
        }
        let reserve = Reserve {
            item: new.item.clone(),
            quantity: new.quantity,
        };
        let mut reserve = deadline::passed_on(request.extensions(), reserve);
        if let Some(key) = claim.map(|claim| claim.downstream_key("reserve")) {
            let key =
                AsciiMetadataValue::try_from(key).map_err(|e| Status::internal(e.to_string()))?;
            reserve.metadata_mut().insert("idempotency-key", key);
        }
        let reserved = self.stock.call("/shop.Stock/Reserve", reserve).await?;
        Ok(Response::new(
            self.book(request.into_inner(), reserved.get_ref()),
        ))
    }

    fn book(&self, new: NewOrder, reserved: &Reserved) -> Order {
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        *placed += 1;
        let order = Order {
            id: *placed,
            item: new.item,
            quantity: new.quantity,
            reservation: reserved.number,
        };
        drop(placed);
        let what = format!("order {}: {} × {}", order.id, order.quantity, order.item);
        // Nobody may be watching.
        let _ = self.news.send(News { what });
        order
    }

    /// Each order when it is placed. A watcher that is 256 behind misses the oldest.
    fn watch(&self) -> BoxStream<'static, Result<News, Status>> {
        let hello = News {
            what: "watching".to_owned(),
        };
        let news = stream::unfold(self.news.subscribe(), next);
        let stopping = self.stopping.clone().cancelled_owned();
        let all = stream::iter([hello]).chain(news).take_until(stopping);
        all.map(Ok).boxed()
    }
}

async fn next(mut news: broadcast::Receiver<News>) -> Option<(News, broadcast::Receiver<News>)> {
    loop {
        match news.recv().await {
            Ok(piece) => return Some((piece, news)),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}
