//! Requests that ask for another protocol, and what becomes of those that do not get it.

use crate::gateway::Gateway;
use crate::ok;
use crate::origin::Origin;

const KEPT: &str = "Cache-Control: max-age=60\r\n";

fn upgrade(method: &str, protocol: &str, fields: &str) -> String {
    format!(
        "{method} /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings, X-Mine\r\nUpgrade: {protocol}\r\n\
         HTTP2-Settings: AAMA\r\nX-Mine: 1\r\n{fields}\r\n"
    )
}

/// RFC 9110, 7.8: whoever is asked may leave it.
#[tokio::test]
async fn who_would_rather_speak_http_2_is_answered_as_everybody_is() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    for protocol in ["h2c", "HTTP/2.0", "TLS/1.2, echo"] {
        let asked = upgrade("GET", protocol, "");
        let (mut client, mut request) = tokio::join!(gateway.send(&asked), origin.request());
        for gone in ["upgrade:", "http2-settings:", "x-mine:"] {
            assert!(!request.has(gone), "{protocol}: {}", request.head);
        }
        request.answer(&ok(KEPT, "whole")).await;
        assert!(client.until("whole").await.starts_with("HTTP/1.1 200"));
        // It is kept for all, and these are among them.
        let mut client = gateway.send(&asked).await;
        assert!(client.until("whole").await.contains("gateway; hit"));
        let (_, mut request) = tokio::join!(gateway.ask("PUT /a", ""), async {
            let mut request = origin.request().await;
            request.answer(&ok("", "")).await;
            request
        });
        assert!(request.starts("PUT"));
        request.head.clear();
    }
}

/// RFC 9110, 7.6.1 and 7.6.3; RFC 9111, 4.4.
#[tokio::test]
async fn what_is_not_upgraded_is_a_response_like_others() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let answer = ok(KEPT, "kept");
    gateway.through(&mut origin, "GET /a", "", &answer).await;
    let forged = "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n";
    let asked = upgrade("POST", "echo", forged);
    let (mut client, mut request) = tokio::join!(gateway.send(&asked), origin.request());
    for (field, expected) in [
        ("upgrade: echo", true),
        ("connection: upgrade", true),
        ("via: 1.1 gateway", true),
        ("x-forwarded-host: h", true),
        ("x-forwarded-host: evil", false),
        ("x-forwarded-proto: https", false),
        ("x-mine:", false),
        ("http2-settings:", false),
    ] {
        assert_eq!(request.has(field), expected, "{field}: {}", request.head);
    }
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Ours\r\nX-Ours: 1\r\nContent-Length: 4\r\n\r\ndone";
    request.write(answer).await;
    let seen = client.until("done").await.to_lowercase();
    assert!(!seen.contains("x-ours"), "{seen}");
    // It may have changed what is there.
    let (_, again) = gateway
        .through(&mut origin, "GET /a", "", &ok("", "new"))
        .await;
    assert!(again.starts_with("get /a"));
}

/// The body of a refusal has as much time as any.
#[tokio::test]
async fn a_refusal_that_stands_still_is_given_up_on() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--timeout", "3000"]).await;
    let asked = upgrade("GET", "echo", "");
    let (client, mut request) = tokio::join!(gateway.send(&asked), origin.request());
    request
        .write("HTTP/1.1 426 No\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    let seen = client.read().await;
    assert!(
        seen.starts_with("HTTP/1.1 426") && seen.ends_with("half"),
        "{seen}"
    );
}

/// RFC 9111, 4.4: what has failed has changed nothing.
#[tokio::test]
async fn a_refusal_takes_nothing_out_of_the_cache() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let kept = ok(KEPT, "kept");
    gateway.through(&mut origin, "GET /a", "", &kept).await;
    let asked = upgrade("POST", "echo", "Content-Length: 0\r\n");
    let (client, mut request) = tokio::join!(gateway.send(&asked), origin.request());
    request
        .answer("HTTP/1.0 405 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    let mut client = client;
    let refused = client.until("\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    assert!(gateway.ask("GET /a", "").await.contains("gateway; hit"));
}

/// Whoever may purge, the upstream hears nothing of it, and opens no tunnel for it.
#[tokio::test]
async fn who_purges_and_would_upgrade_purges_if_he_may() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--purge-token", "secret"]).await;
    let kept = ok(KEPT, "kept");
    gateway.through(&mut origin, "GET /a", "", &kept).await;
    for (token, status, is_kept) in [("guess", "403", true), ("secret", "204", false)] {
        let fields = format!("Authorization: Bearer {token}\r\n");
        let purge = upgrade("PURGE", "echo", &fields);
        let seen = tokio::select! {
            seen = async { gateway.send(&purge).await.until("\r\n\r\n").await } => seen,
            _ = origin.request() => panic!("the origin is asked"),
        };
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")), "{seen}");
        let only = "Cache-Control: only-if-cached\r\n";
        let left = gateway.ask("GET /a", only).await;
        assert_eq!(left.contains("gateway; hit"), is_kept, "{left}");
    }
}
