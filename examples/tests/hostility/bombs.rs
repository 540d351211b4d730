//! Requests that are too long, too many, too deep, or none.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use crate::client::Client;
use crate::link::Link;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let kind = client.dice.u32(..20);
    let (place, path) = (client.place(), client.any_path());
    client.doing = format!("bomb {kind}: {place}{path}");
    let bytes = bomb(client, kind, &path, &place.to_string());
    // They may hang up before they have read it.
    let ends_by_itself = !(12..17).contains(&kind);
    let _ = throw(client, place, &bytes, ends_by_itself).await;
    match kind {
        0..4 => "bombs in heads",
        4..8 => "bombs in fields that we read",
        8..12 => "bombs in bodies",
        12..17 => "requests that are none",
        _ => "methods that nobody knows",
    }
}

/// The connection ends when it is answered, or else when we say that no more will come.
async fn throw(
    client: &Client,
    place: SocketAddr,
    bytes: &[u8],
    ends_by_itself: bool,
) -> io::Result<()> {
    let mut link = Link::open(client.from, place).await?;
    link.send(bytes).await?;
    if !ends_by_itself {
        link.finish().await?;
    }
    link.read(1 << 16).await?;
    Ok(())
}

fn bomb(client: &mut Client, kind: u32, path: &str, host: &str) -> Vec<u8> {
    let many = client.dice.usize(100..2000);
    let (key, order) = client.order();
    let get = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n")
    };
    let post = |fields: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /orders HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        )
    };
    let fields = |name: &str, value: &str| {
        (0..many).fold(String::new(), |mut all, n| {
            let _ = write!(all, "{name}-{n}: {value}\r\n");
            all
        })
    };
    let field = |name: &str, value: &str| format!("{name}: {value}\r\n");
    let bomb = match kind {
        0 => get(path, &fields("x-many", "1")),
        1 => get(path, &field("x-long", &"l".repeat(many * 1000))),
        2 => get(&format!("{path}?{}", "q".repeat(many * 30)), ""),
        3 => get(path, &fields("cookie", &"c".repeat(300))),
        4 => get(path, &field("accept", &"text/a;q=0.1,".repeat(many))),
        5 => get(
            path,
            &field("range", &format!("bytes={}", "0-0,".repeat(many))),
        ),
        6 => get(
            path,
            &(field("traceparent", &"0".repeat(many))
                + &field("tracestate", &"a=b,".repeat(many))
                + &field("baggage", &"a=b,".repeat(many))),
        ),
        7 => get(
            path,
            &(field(
                "authorization",
                &format!("Bearer {}", "a.b".repeat(many * 10)),
            ) + &field("if-none-match", &"\"e\",".repeat(many))
                + &field("x-tenant", &"t".repeat(many))),
        ),
        8 => post(&field("idempotency-key", &"k".repeat(many * 20)), &order),
        9 => post(
            &field("idempotency-key", &format!("\"{key}-large\"")),
            &format!(
                "{{\"product\":\"{}\",\"quantity\":1}}",
                "p".repeat(many * 2000)
            ),
        ),
        10 => post("", &"[".repeat(many * 100)),
        11 => post(
            &field("idempotency-key", "\"\u{7f}\""),
            "\u{0}\u{1}not json",
        ),
        12 => format!("GET {path}\r\n\r\n"),
        13 => format!("\u{0}\u{1}\u{2}{}", "x".repeat(many)),
        14 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
        ),
        15 => format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", "\u{1}".repeat(many)),
        16 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nxx"
        ),
        17 => format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        18 => format!("PURGE {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        _ => format!(
            "{} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
            "M".repeat(1 + many / 10)
        ),
    };
    bomb.into_bytes()
}
