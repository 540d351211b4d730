//! Many who ask for the same at once, of whom some leave: the first, or others.

use std::io;

use futures_util::future::join_all;

use crate::client::Client;
use crate::link::Link;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let kind = match client.dice.bool() {
        true => "herds for one page",
        false => "herds with one key",
    };
    let _ = herd(client, kind).await;
    kind
}

async fn herd(client: &mut Client, kind: &str) -> io::Result<()> {
    let place = client.place();
    let request = if kind == "herds for one page" {
        // Nobody has asked for it before, or hardly anybody.
        let path = match client.dice.bool() {
            true => format!("/search?q=herd{}", client.dice.u32(..100_000)),
            false => client.any_path(),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n")
    } else {
        let (key, order) = client.order();
        let length = order.len();
        format!(
            "POST /orders HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: \"{key}\"\r\nContent-Length: {length}\r\n\r\n{order}"
        )
    };
    client.doing = format!("a herd: {place} {request}");
    let size = client.dice.usize(3..16);
    let mut links = Vec::new();
    for _ in 0..size {
        let mut link = Link::open(client.from, place).await?;
        link.send(&request).await?;
        links.push(link);
    }
    let leaving = client.dice.usize(..size);
    for link in links.drain(..leaving) {
        link.reset();
    }
    // The others hear it to its end, whoever led them.
    join_all(links.iter_mut().map(|link| link.read(1 << 20))).await;
    Ok(())
}
