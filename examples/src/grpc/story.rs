//! What a client sees, step by step.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use examples::say;
use futures_util::future::join;
use tonic::{Request, Response, Status};

use crate::deadline::Deadline;
use crate::messages::{NewOrder, News, Order, Watch};
use crate::records::Records;
use crate::rpc::Remote;
use crate::serve::Services;
use crate::stack;
use crate::stock::Conditions;

struct Story {
    services: Services,
    orders: Remote,
    records: Records,
}

pub(crate) async fn tell(listen: SocketAddr) -> io::Result<()> {
    let records = Records::kept();
    let services = Services::start(listen, &records).await?;
    // It hears of the stock's failures from a service that is well, and so is patient.
    let breaker = stack::breaker("orders", 10);
    let orders = stack::remote(breaker, services.orders_address, &records);
    let story = Story {
        services,
        orders,
        records,
    };
    story.one_trace().await;
    story.one_effect().await;
    story.deadline().await;
    story.breaker().await;
    story.stream().await;
    story.services.stop().await
}

impl Story {
    async fn one_trace(&self) {
        say(format_args!(
            "One trace. A client places an order; the orders service asks the stock service."
        ));
        answer(&self.place("k1", "lamp", None).await);
        let records = self.records.take(4).await;
        say(format_args!("  in trace {}:", records[0].trace));
        for record in &records {
            say(format_args!("    {}", record.line));
        }
    }

    async fn one_effect(&self) {
        say(format_args!(
            "\nOne effect. The same call again, with the same key:"
        ));
        answer(&self.place("k1", "lamp", None).await);
        say(format_args!("  Another order under that key:"));
        answer(&self.place("k1", "chair", None).await);
        say(format_args!("  Twice at once, while the stock is slow:"));
        self.stock(|stock| stock.held = true);
        let again = async {
            self.services.stock.waiting(1).await;
            answer(&self.place("k2", "lamp", None).await);
            self.stock(|stock| stock.held = false);
        };
        let (first, ()) = join(self.place("k2", "lamp", None), again).await;
        answer(&first);
        // Two of each call that came to no reservation, four of the one that did: no later one is taken for what follows.
        self.records.take(3 * 2 + 4).await;
    }

    async fn deadline(&self) {
        say(format_args!(
            "\nDeadlines. The stock takes too long for a client that has a second:"
        ));
        self.stock(|stock| stock.held = true);
        let limit = Some(Duration::from_secs(1));
        answer(&self.place("k3", "lamp", limit).await);
        for record in self.records.take(4).await {
            say(format_args!("    {}", record.line));
        }
        self.stock(|stock| stock.held = false);
        self.services.settled().await;
        say(format_args!("  Nothing was done, so its key is free:"));
        answer(&self.place("k3", "lamp", None).await);
    }

    async fn breaker(&self) {
        say(format_args!(
            "\nA breaker. The stock fails in its trailers, after a head that looks well:"
        ));
        self.stock(|stock| (stock.failing, stock.in_trailers) = (true, true));
        for n in 0..3 {
            answer(&self.place(&format!("b{n}"), "lamp", None).await);
        }
        let calls = self.services.stock.calls();
        let refused = self.place("b3", "lamp", None).await;
        answer(&refused);
        let asked = self.services.stock.calls() - calls;
        say(format_args!(
            "  It was asked {asked} times for that. Healed, and a moment later:"
        ));
        self.stock(|_| {});
        tokio::time::sleep(pushback(&refused)).await;
        answer(&self.place("b3", "lamp", None).await);
    }

    async fn stream(&self) {
        say(format_args!(
            "\nA stream, untouched: each message comes when it is made."
        ));
        let request = Request::new(Watch {});
        let watched = self.orders.stream::<_, News>("/shop.Orders/Watch", request);
        let mut news = match watched.await {
            Ok(news) => news.into_inner(),
            Err(status) => return complaint(&status),
        };
        for item in ["shelf", "stool"] {
            if let Ok(Some(piece)) = news.message().await {
                say(format_args!(
                    "  it says {:?}; now a {item} is ordered",
                    piece.what
                ));
            }
            answer(&self.place(item, item, None).await);
        }
        if let Ok(Some(piece)) = news.message().await {
            say(format_args!("  it says {:?}", piece.what));
        }
    }

    fn stock(&self, change: impl FnOnce(&mut Conditions)) {
        let mut conditions = Conditions::default();
        change(&mut conditions);
        self.services.stock.set(conditions);
    }

    async fn place(
        &self,
        key: &str,
        item: &str,
        limit: Option<Duration>,
    ) -> Result<Response<Order>, Status> {
        let mut request = Request::new(NewOrder {
            item: item.to_owned(),
            quantity: 1,
        });
        if let Some(limit) = limit {
            request.extensions_mut().insert(Deadline::after(limit));
        }
        let key = key
            .parse()
            .map_err(|_| Status::invalid_argument("a key is ASCII"))?;
        request.metadata_mut().insert("idempotency-key", key);
        self.orders.call("/shop.Orders/Place", request).await
    }
}

fn answer(answer: &Result<Response<Order>, Status>) {
    match answer {
        Ok(order) => {
            let replayed = order.metadata().contains_key("idempotency-replayed");
            let note = if replayed { ", replayed" } else { "" };
            let order = order.get_ref();
            say(format_args!(
                "  → order {} ({}), reservation {}{note}",
                order.id, order.item, order.reservation
            ));
        }
        Err(status) => complaint(status),
    }
}

fn complaint(status: &Status) {
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    let pushback = pushback.and_then(|value| value.to_str().ok());
    let note = pushback.map_or_else(String::new, |ms| format!(", again in {ms} ms"));
    say(format_args!(
        "  → {:?}: {}{note}",
        status.code(),
        status.message()
    ));
}

/// For how long a refusal says not to come back.
fn pushback(answer: &Result<Response<Order>, Status>) -> Duration {
    let status = answer.as_ref().err();
    let pushback = status.and_then(|status| status.metadata().get("grpc-retry-pushback-ms"));
    let millis = pushback.and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_millis(millis.unwrap_or_default())
}
