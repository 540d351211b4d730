//! Connections that are to become something else.

use std::io;

use crate::client::Client;
use crate::link::Link;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let _ = tunnel(client).await;
    "tunnels"
}

async fn tunnel(client: &mut Client) -> io::Result<()> {
    let place = client.gateway();
    let fault = client.fault().name();
    let (kind, n) = match client.dice.u32(..4) {
        0 => ("bad", client.dice.u32(..100)),
        _ => ("tunnel", client.dice.u32(..16)),
    };
    client.doing = format!("a tunnel: {place} {fault} {kind} {n}");
    let mut link = Link::open(client.from, place).await?;
    let upgrade = format!(
        "GET /{fault}/{kind}/{n} HTTP/1.1\r\nHost: {place}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    );
    link.send(upgrade).await?;
    link.read_some().await?;
    if kind == "bad" {
        return Ok(());
    }
    for _ in 0..client.dice.u32(..12) {
        link.send("something else").await?;
        if client.dice.bool() {
            link.read_some().await?;
        }
    }
    if client.dice.bool() {
        link.reset();
    }
    Ok(())
}
