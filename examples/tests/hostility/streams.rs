//! HTTP/2: many requests on one connection, that are dropped as they come.

use bytes::Bytes;
use futures_util::future::{Either, join_all, select};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpSocket;

use crate::client::Client;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let _ = cancel(client).await;
    "connections of HTTP/2 with streams that are reset"
}

async fn cancel(client: &mut Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let place = client.place();
    client.doing = format!("HTTP/2: {place}");
    let socket = TcpSocket::new_v4()?;
    socket.bind((client.from, 0).into())?;
    let stream = socket.connect(place).await?;
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..client.dice.usize(2..30) {
        let request = match client.dice.u32(..4) {
            0 => {
                let (key, order) = client.order();
                let request = Request::post(format!("http://{place}/orders"))
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("\"{key}\""));
                request.body(Full::from(order))?
            }
            _ => {
                let path = client.any_path();
                Request::get(format!("http://{place}{path}")).body(Full::default())?
            }
        };
        let answer = sender.send_request(request);
        answers.push(async {
            let answer = answer.await.ok()?;
            answer.into_body().collect().await.ok()
        });
    }
    // Some are not even sent any more.
    let kept = client.dice.usize(..answers.len());
    let read = Box::pin(join_all(answers.drain(kept..)));
    drop(answers);
    let turns = client.turns.clone();
    let bored = Box::pin(turns.pass(client.dice.u64(1..10)));
    if let Either::Left(_) = select(read, bored).await {
        drop(sender);
    }
    connection.abort();
    Ok(())
}
