//! An origin that misbehaves: it cuts, lies, pauses, and says what nobody says.

use tokio::io::AsyncWriteExt;

use crate::gateway::{Gateway, within_reason};
use crate::ok;
use crate::origin::Origin;

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    (origin, gateway)
}

/// Whether nothing is left of what was answered, and the next who asks gets it whole.
async fn is_forgotten(gateway: &Gateway, origin: &mut Origin, line: &str) {
    let (seen, _) = gateway.through(origin, line, "", &ok("", "whole")).await;
    assert!(seen.ends_with("whole"), "{seen}");
}

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";

#[tokio::test]
async fn what_is_cut_is_cut_for_all_and_kept_for_nobody() {
    let (mut origin, gateway) = start().await;
    for (n, cut) in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nhalf",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET /{n}");
        let answer = format!("{FRESH}{cut}");
        let (seen, _) = gateway.through(&mut origin, &line, "", &answer).await;
        assert!(!seen.ends_with("0\r\n\r\n"), "it looks whole: {seen}");
        is_forgotten(&gateway, &mut origin, &line).await;
    }
}

#[tokio::test]
async fn what_is_longer_than_it_says_is_as_long_as_it_says() {
    let (mut origin, gateway) = start().await;
    let answer = format!("{FRESH}Content-Length: 4\r\n\r\nbodyHTTP/1.1 200 Smuggled\r\n\r\n");
    let (seen, _) = gateway.through(&mut origin, "GET /", "", &answer).await;
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
    let hit = gateway.ask("GET /", "").await;
    assert!(
        hit.contains("gateway; hit") && hit.ends_with("\r\n\r\nbody"),
        "{hit}"
    );
    is_forgotten(&gateway, &mut origin, "GET /next").await;
}

#[tokio::test]
async fn lengths_that_contradict_are_no_response() {
    let (mut origin, gateway) = start().await;
    let answer = format!("{FRESH}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!");
    let (seen, _) = gateway.through(&mut origin, "GET /", "", &answer).await;
    assert!(seen.starts_with("HTTP/1.1 502"), "{seen}");
    is_forgotten(&gateway, &mut origin, "GET /").await;
}

#[tokio::test]
async fn what_pauses_for_too_long_is_cut_and_not_kept() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--timeout", "3000"]).await;
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write(&format!("{FRESH}Content-Length: 10\r\n\r\nhalf"))
        .await;
    let seen = client.read().await;
    assert!(seen.ends_with("half"), "{seen}");
    let left = gateway
        .ask("GET /", "Cache-Control: only-if-cached\r\n")
        .await;
    assert!(left.starts_with("HTTP/1.1 504"), "{left}");
}

#[tokio::test]
async fn a_body_comes_as_it_is_sent_and_is_kept_at_its_end() {
    let (mut origin, gateway) = start().await;
    let (mut client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write(&format!("{FRESH}Content-Length: 8\r\n\r\nhalf"))
        .await;
    client.until("\r\n\r\nhalf").await;
    // Who comes now reads from the start, with the one who was first.
    let mut second = gateway.get("/").await;
    second.until("\r\n\r\nhalf").await;
    request.answer("half").await;
    assert_eq!(client.read().await, "half");
    assert_eq!(second.read().await, "half");
    let hit = gateway.ask("GET /", "").await;
    assert!(
        hit.contains("gateway; hit") && hit.ends_with("halfhalf"),
        "{hit}"
    );
}

/// Eight mebibytes are kept at most, and not while it is sent either.
#[tokio::test]
async fn what_is_too_large_comes_as_it_is_sent_and_is_not_kept() {
    let (mut origin, gateway) = start().await;
    let piece = "x".repeat(1 << 20);
    for known in [true, false] {
        let (mut client, mut request) = tokio::join!(gateway.get("/"), origin.request());
        let length = match known {
            true => format!("Content-Length: {}\r\n", 9 << 20),
            false => "Connection: close\r\n".to_owned(),
        };
        request.write(&format!("{FRESH}{length}\r\n")).await;
        client.until("\r\n\r\n").await;
        let send = async {
            for _ in 0..9 {
                request.write(&piece).await;
            }
            within_reason(request.stream.shutdown()).await.unwrap();
        };
        let (seen, ()) = tokio::join!(client.read(), send);
        assert!(seen.len() >= 9 << 20, "{}", seen.len());
        is_forgotten(&gateway, &mut origin, "GET /").await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_nobody_along_and_leaves_nothing_half() {
    let (mut origin, gateway) = start().await;
    let (mut client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write(&format!("{FRESH}Content-Length: 8\r\n\r\nhalf"))
        .await;
    client.until("\r\n\r\nhalf").await;
    let mut second = gateway.get("/").await;
    second.until("\r\n\r\nhalf").await;
    drop(client);
    request.answer("half").await;
    assert_eq!(second.read().await, "half");
    assert!(gateway.ask("GET /", "").await.ends_with("halfhalf"));
}

#[tokio::test]
async fn any_status_is_kept_that_says_for_how_long() {
    let (mut origin, gateway) = start().await;
    for status in ["999 Odd", "299 Fine", "404 No", "500 Oops"] {
        let number = &status[..3];
        let line = format!("GET /{number}");
        let answer = ok("Cache-Control: max-age=60\r\n", "x").replace("200 OK", status);
        gateway.through(&mut origin, &line, "", &answer).await;
        let hit = gateway.ask(&line, "").await;
        assert!(hit.starts_with(&format!("HTTP/1.1 {number}")), "{hit}");
        assert!(hit.contains("gateway; hit"), "{hit}");
    }
}

#[tokio::test]
async fn odd_fields_arrive_byte_for_byte_and_folded_ones_on_one_line() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\nX-Odd: \u{e4}\t;,\"\\\r\nX-Odd:\r\nx-oDD: b  c\r\nX-Fold: a\r\n  b\r\n";
    let answer = ok(fields, "body");
    let (miss, _) = gateway.through(&mut origin, "GET /", "", &answer).await;
    let hit = gateway.ask("GET /", "").await;
    assert!(hit.contains("gateway; hit"), "{hit}");
    for seen in [miss, hit] {
        let odd: Vec<_> = seen
            .split("\r\n")
            .filter(|line| line.to_lowercase().starts_with("x-odd:"))
            .map(|line| line[6..].trim_start().to_owned())
            .collect();
        assert_eq!(odd, ["\u{e4}\t;,\"\\", "", "b  c"], "{seen}");
        let folded = seen
            .split("\r\n")
            .find(|line| line.to_lowercase().starts_with("x-fold:"));
        let folded = folded.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
        assert_eq!(folded, Some(vec!["a", "b"]), "{seen}");
    }
}

#[tokio::test]
async fn interim_responses_pass_and_are_not_kept() {
    let (mut origin, gateway) = start().await;
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nCache-Control: max-age=60\r\n\r\n")
        .await;
    request
        .answer(&ok("Cache-Control: max-age=60\r\n", "done"))
        .await;
    assert!(client.read().await.starts_with("HTTP/1.1 103"));
    let hit = gateway.ask("GET /", "").await;
    assert!(
        hit.starts_with("HTTP/1.1 200") && !hit.contains("a.css"),
        "{hit}"
    );
}

#[tokio::test]
async fn trailers_come_with_a_miss_and_with_a_hit() {
    let (mut origin, gateway) = start().await;
    let answer = format!(
        "{FRESH}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n"
    );
    let te = "TE: trailers\r\n";
    let (miss, _) = gateway.through(&mut origin, "GET /", te, &answer).await;
    let hit = gateway.ask("GET /", te).await;
    assert!(hit.contains("gateway; hit"), "{hit}");
    for seen in [miss, hit] {
        let lower = seen.to_lowercase();
        assert!(lower.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn an_origin_that_talks_before_it_is_asked_and_leaves_is_no_harm() {
    let (mut origin, gateway) = start().await;
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request.write("HTTP/1.1 200").await;
    within_reason(request.stream.shutdown()).await.unwrap();
    drop(request);
    assert!(client.read().await.starts_with("HTTP/1.1 502"));
    is_forgotten(&gateway, &mut origin, "GET /").await;
}
