//! Those who leave, at each stage of a request.

use std::io;

use crate::client::Client;
use crate::link::Link;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let stage = client.dice.u32(..12);
    // Who leaves may find that the other side has left first.
    let _ = leave(client, stage).await;
    match stage {
        0 => "left without a word",
        1 => "left in the request line",
        2 => "left in the head",
        3..6 => "left in the body",
        6..8 => "left before the answer",
        8..10 => "left in the answer",
        10 => "left a pipeline of requests",
        _ => "left after 100-continue",
    }
}

async fn leave(client: &mut Client, stage: u32) -> io::Result<()> {
    let (place, path) = (client.place(), client.any_path());
    let (key, order) = client.order();
    client.doing = format!("leaving at stage {stage}: {place}{path}");
    let mut link = Link::open(client.from, place).await?;
    let get = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\n\r\n");
    let post = |fields: &str| {
        format!(
            "POST /orders HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\nIdempotency-Key: \"{key}\"\r\n{fields}\r\n\r\n"
        )
    };
    let length = format!("Content-Length: {}", order.len());
    match stage {
        0 => {}
        1 => link.send(&get[..client.dice.usize(1..8)]).await?,
        2 => {
            link.send(&get[..get.len() - client.dice.usize(1..4)])
                .await?
        }
        3 => link.send(post(&length)).await?,
        4 => link.send(post(&length) + &order[..order.len() / 2]).await?,
        5 => {
            link.send(post("Transfer-Encoding: chunked") + "5\r\n{\"pro\r\nff")
                .await?
        }
        6 => link.send(get).await?,
        7 => link.send(post(&length) + &order).await?,
        8 => {
            link.send(get).await?;
            link.read(1).await?;
        }
        9 => {
            // Most of these bodies are some mebibytes, of which a few are read.
            let path = format!("/bodies/bad/{}", client.dice.u32(..100));
            let get = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
            link.send(get).await?;
            link.read(client.dice.usize(1..100_000)).await?;
        }
        10 => link.send(get.repeat(client.dice.usize(2..40))).await?,
        _ => {
            link.send(post(&format!("{length}\r\nExpect: 100-continue")))
                .await?;
            link.read(12).await?;
        }
    }
    // What is under way has begun, more or less.
    if client.dice.bool() {
        client.turns.pass(client.dice.u64(1..4)).await;
    }
    if client.dice.bool() {
        link.reset();
    }
    Ok(())
}
