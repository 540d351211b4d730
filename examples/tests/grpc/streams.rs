use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_dedup::DedupLayer;
use buttress_negotiate::{Csv, Json, NegotiateLayer};
use buttress_trace_ctx::TraceLayer;
use examples::within_reason;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::ServiceBuilder;

use crate::calls::{Test, anywhere};
use crate::deadline::{self, Deadline};
use crate::messages::{News, Watch};
use crate::records::Records;
use crate::rpc::server_streaming;
use crate::stack;

const WATCH: &str = "/shop.Orders/Watch";

#[tokio::test]
async fn each_message_comes_before_the_next_is_made() {
    let test = Test::start().await;
    let mut news = test.watch(Request::new(Watch {})).await;
    assert_eq!(next(&mut news).await.unwrap().unwrap(), "watching");
    for (n, item) in ["lamp", "chair"].into_iter().enumerate() {
        test.place(item, item).await.unwrap();
        let heard = next(&mut news).await.unwrap().unwrap();
        assert_eq!(heard, format!("order {}: 1 × {item}", n + 1));
    }
}

#[tokio::test]
async fn a_stream_with_a_deadline_ends_at_it_in_trailers() {
    let test = Test::start().await;
    let mut request = Request::new(Watch {});
    let deadline = Deadline::after(Duration::from_secs(2));
    request.extensions_mut().insert(deadline);
    let mut news = test.watch(request).await;
    let ended = loop {
        if let Err(status) = next(&mut news).await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_ends_well_when_the_service_is_stopped() {
    let test = Test::start().await;
    let mut news = test.watch(Request::new(Watch {})).await;
    assert!(next(&mut news).await.unwrap().is_some());
    let stop = tokio::spawn(test.services.stop());
    assert_eq!(next(&mut news).await.unwrap(), None);
    drop((news, test.orders));
    within_reason(stop).await.unwrap().unwrap();
}

/// All six on the way, and a key, under which the stream is recorded while it flows.
#[tokio::test]
async fn a_stream_passes_all_layers_as_it_is_made() {
    let (make, made) = mpsc::unbounded_channel();
    let address = serve(all_layers(made)).await;
    let remote = stack::remote(stack::breaker("all", 1), address, &Records::kept());
    let mut request = Request::new(Watch {});
    request
        .metadata_mut()
        .insert("idempotency-key", "k".parse().unwrap());
    make.send(Ok("first")).unwrap();
    let answer = within_reason(remote.stream::<_, News>(WATCH, request)).await;
    let mut news = answer.unwrap().into_inner();
    for (heard, said) in [("first", "second"), ("second", "third")] {
        assert_eq!(next(&mut news).await.unwrap().unwrap(), heard);
        make.send(Ok(said)).unwrap();
    }
    make.send(Err(Status::data_loss("torn"))).unwrap();
    assert_eq!(next(&mut news).await.unwrap().unwrap(), "third");
    assert_eq!(next(&mut news).await.unwrap_err().code(), Code::DataLoss);
}

type Made = mpsc::UnboundedReceiver<Result<&'static str, Status>>;

fn all_layers(made: Made) -> Router {
    let made = Arc::new(Mutex::new(Some(made)));
    let method = move |_: Request<Watch>| {
        let made = made.lock().unwrap().take().unwrap();
        async { Ok(Response::new(stream::unfold(made, message))) }
    };
    Router::new().route(WATCH, server_streaming(method)).layer(
        ServiceBuilder::new()
            .layer(TraceLayer::server())
            .layer(from_fn(deadline::honour))
            .layer(NegotiateLayer::new((Json, Csv::new())))
            .layer(HttpCacheLayer::new(CachedResponse::cache().build()))
            .layer(stack::once())
            .layer(DedupLayer::http()),
    )
}

async fn message(mut made: Made) -> Option<(Result<News, Status>, Made)> {
    let message = made.recv().await?;
    let news = message.map(|what| News {
        what: what.to_owned(),
    });
    Some((news, made))
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

impl Test {
    async fn watch(&self, request: Request<Watch>) -> Streaming<News> {
        let answer = within_reason(self.orders.stream(WATCH, request)).await;
        answer.unwrap().into_inner()
    }
}

async fn next(news: &mut Streaming<News>) -> Result<Option<String>, Status> {
    let message = within_reason(news.message()).await?;
    Ok(message.map(|news| news.what))
}
