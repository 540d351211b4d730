//! Those who take their time: by what the others do meanwhile.

use std::io;

use crate::client::Client;
use crate::link::Link;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let kind = client.dice.u32(..5);
    client.doing = format!("slow {kind}");
    let _ = match kind {
        0 => read(client).await,
        1 => write(client).await,
        2 => listen(client, "/events").await,
        3 => listen(client, "/demo/stream").await,
        _ => idle(client).await,
    };
    match kind {
        0 => "slow readers",
        1 => "slow writers",
        2 | 3 => "listeners to a stream",
        _ => "connections that say nothing",
    }
}

/// A body of some mebibytes, with a window of some kibibytes.
async fn read(client: &mut Client) -> io::Result<()> {
    let place = client.gateway();
    let mut link = Link::open_narrow(client.from, place).await?;
    let n = client.dice.u32(..1000);
    let get = format!("GET /bodies/bad/{n} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    link.send(get).await?;
    for _ in 0..client.dice.u32(1..8) {
        link.read_some().await?;
        client.turns.pass(client.dice.u64(5..40)).await;
    }
    if client.dice.bool() {
        link.reset();
    }
    Ok(())
}

/// An order, a piece at a time; some get to the end.
async fn write(client: &mut Client) -> io::Result<()> {
    let (place, (key, order)) = (client.place(), client.order());
    let length = order.len();
    let post = format!(
        "POST /orders HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: \"{key}\"\r\nContent-Length: {length}\r\n\r\n{order}"
    );
    let pieces = client.dice.usize(2..8);
    let mut link = Link::open(client.from, place).await?;
    for piece in post.as_bytes().chunks(post.len().div_ceil(pieces)) {
        link.send(piece).await?;
        client.turns.pass(client.dice.u64(1..20)).await;
        if client.dice.u32(..10) == 0 {
            return Ok(());
        }
    }
    link.read(1 << 16).await?;
    Ok(())
}

async fn listen(client: &mut Client, path: &str) -> io::Result<()> {
    let place = client.place();
    let mut link = Link::open(client.from, place).await?;
    let get = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\n\r\n");
    link.send(get).await?;
    link.read_some().await?;
    // And reads no more of it.
    client.turns.pass(client.dice.u64(20..200)).await;
    Ok(())
}

async fn idle(client: &mut Client) -> io::Result<()> {
    let place = client.place();
    let link = Link::open(client.from, place).await?;
    client.turns.pass(client.dice.u64(20..200)).await;
    drop(link);
    Ok(())
}
