//! Variants, validators and parts: what the tables of the cache say, once more from outside.

use crate::gateway::{Gateway, request};
use crate::ok;
use crate::origin::Origin;

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let args = ["--timeout", "60000", "--stale-while-revalidate", "0"];
    let gateway = Gateway::start_with(&origin, &args).await;
    (origin, gateway)
}

fn is_hit(response: &str) -> bool {
    response.contains("gateway; hit")
}

const NOT_MODIFIED: &str = "HTTP/1.1 304 Not Modified\r\n";

/// RFC 8246.
#[tokio::test]
async fn what_is_immutable_is_not_reloaded_while_it_is_fresh() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60, immutable\r\nAge: 10\r\n";
    gateway
        .through(&mut origin, "GET /", "", &ok(fields, "old"))
        .await;
    assert!(is_hit(
        &gateway.ask("GET /", "Cache-Control: max-age=0\r\n").await
    ));
    let anew = "Cache-Control: no-cache\r\n";
    let (seen, _) = gateway
        .through(&mut origin, "GET /", anew, &ok("", "new"))
        .await;
    assert!(seen.ends_with("new"), "{seen}");
}

/// RFC 9111, 4.1.
#[tokio::test]
async fn what_a_response_varies_by_is_all_that_it_says_on_all_lines() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: ,\r\nVary: X-A\r\nVary: x-b, X-A\r\n";
    let variants = [
        "",
        "X-A:\r\n",
        "X-A: 1\r\n",
        "X-A: 1\r\nX-B: 1\r\n",
        "X-B: 1\r\n",
    ];
    for (more, body) in variants.into_iter().zip(["0", "1", "2", "3", "4"]) {
        gateway
            .through(&mut origin, "GET /", more, &ok(fields, body))
            .await;
    }
    for (more, body) in variants.into_iter().zip(["0", "1", "2", "3", "4"]) {
        let hit = gateway.ask("GET /", more).await;
        assert!(is_hit(&hit) && hit.ends_with(body), "{more:?}: {hit}");
    }
    let any = "Cache-Control: max-age=60\r\nVary: X-A\r\nVary: *\r\n";
    for body in ["1", "2"] {
        let answer = ok(any, body);
        let (seen, _) = gateway.through(&mut origin, "GET /any", "", &answer).await;
        assert!(seen.ends_with(body), "{seen}");
    }
}

/// RFC 9111, 4: who wants one variant does not wait for another.
#[tokio::test]
async fn nobody_waits_for_another_variant() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: X-A\r\n";
    gateway
        .through(&mut origin, "GET /", "X-A: 0\r\n", &ok(fields, "0"))
        .await;
    let ask = |n: usize| gateway.send(&request("GET /", &format!("X-A: {n}\r\n")));
    let (one, mut first) = tokio::join!(ask(1), origin.request());
    let (two, mut second) = tokio::join!(ask(2), origin.request());
    second.answer(&ok(fields, "2")).await;
    assert!(two.read().await.ends_with('2'));
    first.answer(&ok(fields, "1")).await;
    assert!(one.read().await.ends_with('1'));
}

/// RFC 9111, 4.3.1 and 4.3.4; RFC 9110, 8.8.
#[tokio::test]
async fn what_is_stale_is_asked_about_by_what_it_has() {
    let (mut origin, gateway) = start().await;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let date = format!("last-modified: {DATE}\r\n");
    for (n, (fields, asked_by, confirms)) in [
        (
            "etag: W/\"1\"\r\n",
            "if-none-match: w/\"1\"\r\n".to_owned(),
            "ETag: W/\"1\"\r\n",
        ),
        (
            "etag: \"1\"\r\n",
            "if-none-match: \"1\"\r\n".to_owned(),
            "ETag: W/\"1\"\r\n",
        ),
        (
            &*date,
            format!("if-modified-since: {}\r\n", DATE.to_lowercase()),
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET /{n}");
        let answer = ok(&format!("Cache-Control: max-age=0\r\n{fields}"), "body");
        gateway.through(&mut origin, &line, "", &answer).await;
        let news = format!("{NOT_MODIFIED}{confirms}Cache-Control: max-age=60\r\n\r\n");
        let (seen, asked) = gateway.through(&mut origin, &line, "", &news).await;
        assert!(asked.contains(&asked_by), "{asked}");
        assert!(
            seen.starts_with("HTTP/1.1 200") && seen.ends_with("body"),
            "{seen}"
        );
        assert!(is_hit(&gateway.ask(&line, "").await), "{fields}");
    }
}

/// RFC 9110, 14 and 15.3.7.2.
#[tokio::test]
async fn several_parts_are_one_multipart_body_in_the_order_of_the_request() {
    let (mut origin, gateway) = start().await;
    let body: String = (0..1000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let answer = ok("Cache-Control: max-age=60\r\nContent-Type: a/b\r\n", &body);
    gateway.through(&mut origin, "GET /", "", &answer).await;
    let seen = gateway
        .ask("GET /", "Range: bytes=500-503,0-1,2-3\r\n")
        .await;
    assert!(seen.starts_with("HTTP/1.1 206") && is_hit(&seen), "{seen}");
    let (head, parts) = seen.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_lowercase()
            .contains("content-type: multipart/byteranges; boundary=")
    );
    assert!(!head.to_lowercase().contains("content-range"), "{head}");
    let place = |part: &str| {
        parts
            .find(part)
            .unwrap_or_else(|| panic!("{part}: {parts}"))
    };
    let first = format!(
        "content-range: bytes 500-503/1000\r\n\r\n{}\r\n",
        &body[500..504]
    );
    let second = format!("content-range: bytes 0-3/1000\r\n\r\n{}\r\n", &body[..4]);
    assert!(place(&first) < place(&second));
}

/// RFC 9111, 3.4.
#[tokio::test]
async fn parts_that_nobody_can_tell_apart_pass_and_are_not_kept() {
    let (mut origin, gateway) = start().await;
    for (n, tag) in ["", "ETag: W/\"1\"\r\n"].into_iter().enumerate() {
        let head = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\n";
        let part = format!("{head}{tag}Content-Range: bytes 0-1/4\r\nContent-Length: 2\r\n\r\nab");
        let line = format!("GET /{n}");
        for _ in 0..2 {
            let range = "Range: bytes=0-1\r\n";
            let (seen, _) = gateway.through(&mut origin, &line, range, &part).await;
            assert!(
                seen.starts_with("HTTP/1.1 206") && seen.ends_with("ab"),
                "{seen}"
            );
        }
    }
}

/// What is said of a part that is not there is not said of the whole.
#[tokio::test]
async fn a_range_that_is_refused_is_refused_to_one() {
    let (mut origin, gateway) = start().await;
    let refused = "HTTP/1.1 416 No\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n";
    let range = "Range: bytes=99-\r\n";
    let (seen, _) = gateway.through(&mut origin, "GET /", range, refused).await;
    assert!(seen.starts_with("HTTP/1.1 416"), "{seen}");
    let (seen, _) = gateway
        .through(&mut origin, "GET /", "", &ok("", "whole"))
        .await;
    assert!(seen.ends_with("whole"), "{seen}");
}

/// The tag header of choice, and a key that is not one of them.
#[tokio::test]
async fn tags_stand_in_the_field_of_choice() {
    let mut origin = Origin::start().await;
    let args = [
        "--timeout",
        "60000",
        "--tag-header",
        "cache-tag",
        "--purge-token",
        "s",
    ];
    let gateway = Gateway::start_with(&origin, &args).await;
    let fields = "Cache-Control: max-age=60\r\nCache-Tag: a, b\r\nSurrogate-Key: c\r\n";
    gateway
        .through(&mut origin, "GET /", "", &ok(fields, "old"))
        .await;
    let purge = async |tag: &str| {
        let fields = format!("Authorization: Bearer s\r\nCache-Tag: {tag}\r\n");
        let done = gateway.ask("PURGE /any", &fields).await;
        assert!(done.starts_with("HTTP/1.1 204"), "{done}");
    };
    purge("c").await;
    assert!(is_hit(&gateway.ask("GET /", "").await));
    purge("b").await;
    let (seen, _) = gateway
        .through(&mut origin, "GET /", "", &ok("", "new"))
        .await;
    assert!(seen.ends_with("new"), "{seen}");
}
