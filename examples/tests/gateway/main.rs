//! The gateway, started as a user starts it, between clients and an origin that speak plain bytes, so that each of them can do what no library does.
//!
//! Nothing here is decided by time, but the one timeout that is tested is real: an origin that never answers.
#![allow(clippy::unwrap_used)]

mod caching;
mod choosing;
mod ending;
mod gateway;
mod lasting;
mod odd;
mod origin;
mod protocol;
mod sharing;
mod upgrading;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::gateway::{Gateway, within_reason};
use self::origin::Origin;

fn ok(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_response_is_passed_on_as_it_is_and_kept_if_it_may_be() {
    let fields =
        "Cache-Control: max-age=60\r\nX-Odd: \u{e4} ,\t;\"\r\nSet-Thing: a\r\nSet-Thing: b\r\n";
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let asked = gateway.get("/a?b=%20");
    let (first, mut request) = tokio::join!(asked, origin.request());
    assert!(request.starts("GET /a?b=%20 HTTP/1.1"), "{}", request.head);
    assert!(request.has("via: 1.1 gateway") && request.has("x-forwarded-for: 127.0.0.1"));
    request.answer(&ok(fields, "body")).await;
    let first = first.read().await;
    let again = gateway.get("/a?b=%20").await.read().await;
    for response in [&first, &again] {
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        assert!(response.ends_with("\r\n\r\nbody"), "{response}");
        let lower = response.to_lowercase();
        assert!(lower.contains("x-odd: \u{e4} ,\t;\"\r\n"), "{response}");
        assert!(lower.contains("set-thing: a\r\n") && lower.contains("set-thing: b\r\n"));
    }
    assert!(again.contains("gateway; hit"), "{again}");
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let (mut client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        .await;
    let hint = client.until("\r\n\r\n").await;
    assert!(hint.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{hint}");
    assert!(hint.to_lowercase().contains("link: </a.css>"), "{hint}");
    request.write("HTTP/1.1 102 Processing\r\n\r\n").await;
    request.answer(&ok("", "done")).await;
    let rest = client.read().await;
    assert!(
        rest.starts_with("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK"),
        "{rest}"
    );
}

#[tokio::test]
async fn any_status_and_any_method_pass() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let ask = gateway.send("BREW /pot HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let (client, mut request) = tokio::join!(ask, origin.request());
    assert!(request.starts("BREW /pot"));
    request
        .answer("HTTP/1.1 999 Odd\r\nContent-Length: 1\r\n\r\nx")
        .await;
    let response = client.read().await;
    assert!(response.starts_with("HTTP/1.1 999 Odd\r\n"), "{response}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_cut_for_the_client_and_not_kept() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let (mut client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    // If it ended at once, the gateway's server might not have sent the half that it has when it hears of it.
    let response = client.until("half").await;
    assert!(response.to_lowercase().contains("content-length: 10"));
    drop(request);
    assert_eq!(client.read().await, "", "the rest does not come");
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request.answer(&ok("", "whole")).await;
    assert!(
        client.read().await.ends_with("whole"),
        "it was asked for again"
    );
}

#[tokio::test]
async fn a_key_is_its_callers_whom_authorization_or_a_cookie_tells() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let callers = [
        "",
        "Cookie: sid=1\r\n",
        "Cookie: sid=2\r\n",
        "Authorization: Bearer 1\r\n",
    ];
    for caller in callers {
        let fields = format!("Idempotency-Key: k\r\nContent-Length: 0\r\n{caller}");
        let answer = ok("", &format!("for {caller:?}"));
        let (first, _) = gateway
            .through(&mut origin, "POST /orders", &fields, &answer)
            .await;
        let again = gateway.ask("POST /orders", &fields).await.to_lowercase();
        assert!(first.ends_with(&format!("for {caller:?}")), "{first}");
        assert!(again.contains("idempotency-replayed: true"), "{again}");
    }
}

#[tokio::test]
async fn a_key_is_free_again_where_no_origin_has_seen_its_request() {
    let origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    drop(origin);
    // Five are refused by nobody's port, and then the breaker is open.
    for _ in 0..8 {
        let fields = "Idempotency-Key: k\r\nContent-Length: 0\r\n";
        let response = gateway.ask("POST /orders", fields).await.to_lowercase();
        let status = response.strip_prefix("http/1.1 ").unwrap_or_default();
        assert!(
            status.starts_with("502") || status.starts_with("503"),
            "{response}"
        );
        assert!(!response.contains("idempotency-replayed"), "{response}");
        assert!(
            response.contains("connection refused") || status.starts_with("503"),
            "why: {response}"
        );
    }
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_a_504_and_one_that_hangs_up_a_502() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--timeout", "3000"]).await;
    let (client, _request) = tokio::join!(gateway.get("/slow"), origin.request());
    let response = client.read().await;
    assert!(response.starts_with("HTTP/1.1 504"), "{response}");
    assert!(
        response.contains("urn:gateway:problem:upstream"),
        "{response}"
    );
    let gateway = Gateway::start(&origin).await;
    let (client, request) = tokio::join!(gateway.get("/gone"), origin.request());
    drop(request);
    assert!(client.read().await.starts_with("HTTP/1.1 502"));
}

/// Or five slow clients could open its breaker.
#[tokio::test]
async fn a_slow_upload_is_not_the_origins_time() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--timeout", "3000"]).await;
    let half =
        "POST /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhal";
    let (mut client, mut upload) = tokio::join!(gateway.send(half), origin.request());
    // A whole one that came later and has had its time: that of the upload would be over.
    let (other, _request) = tokio::join!(gateway.get("/slow"), origin.request());
    assert!(other.read().await.starts_with("HTTP/1.1 504"));
    client.stream.write_all(b"fs").await.unwrap();
    upload.until("halfs").await;
    upload.answer(&ok("", "whole")).await;
    assert!(client.read().await.ends_with("whole"));
}

/// The breaker opens after five failures in a row.
#[tokio::test]
async fn an_upload_that_is_broken_off_says_nothing_of_the_upstream() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let broken = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    for at in 0..5 {
        if at == 4 {
            let half =
                "POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            let (mut client, _upload) = tokio::join!(gateway.send(half), origin.request());
            client.stream.write_all(b"no length\r\n").await.unwrap();
            let response = client.read().await;
            assert!(response.starts_with("HTTP/1.1 408"), "{response}");
            // The trace has told of it.
            for word in ["urn:gateway:problem:upload", "x-request-id"] {
                assert!(response.contains(word), "{response}");
            }
            assert!(gateway.ask("GET /-/snapshot", "").await.contains("Closed"));
        }
        let line = format!("GET /{at}");
        gateway.through(&mut origin, &line, "", broken).await;
    }
    let snapshot = gateway.ask("GET /-/snapshot", "").await;
    assert!(snapshot.contains("Open"), "{snapshot}");
}

#[tokio::test]
async fn what_the_origin_may_have_seen_is_not_sent_again() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let post =
        "POST /orders HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let (client, request) = tokio::join!(gateway.send(post), origin.request());
    drop(request);
    assert!(client.read().await.starts_with("HTTP/1.1 502"));
    let (client, mut request) = tokio::join!(gateway.get("/after"), origin.request());
    assert!(request.starts("GET /after"), "the order did not come again");
    request.answer(&ok("", "")).await;
    client.read().await;
}

#[tokio::test]
async fn many_who_miss_at_once_are_one_request() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let clients: Vec<_> = (0..100).map(|_| gateway.get("/hot")).collect();
    let all = async {
        let mut opened = Vec::new();
        for client in clients {
            opened.push(client.await);
        }
        opened
    };
    let (clients, mut request) = tokio::join!(all, origin.request());
    let hot = ok("Cache-Control: max-age=60\r\n", "hot");
    request.answer(&hot).await;
    // All have asked, but the gateway may not have read them all yet: who comes when the flight has just landed asks again.
    let late = Arc::new(AtomicUsize::new(0));
    let answered = Arc::clone(&late);
    tokio::spawn(async move {
        loop {
            origin.request().await.answer(&hot).await;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    });
    for client in clients {
        assert!(client.read().await.ends_with("hot"));
    }
    let late = late.load(Ordering::Relaxed);
    assert!(late < 10, "{late} of a hundred asked again");
}

#[tokio::test]
async fn an_upgrade_is_a_tunnel() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let (mut client, mut request) = tokio::join!(gateway.send(upgrade), origin.request());
    request
        .write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client.stream.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    within_reason(request.stream.read_exact(&mut heard))
        .await
        .unwrap();
    assert_eq!(&heard, b"ping");
    request.write("pong").await;
    assert!(client.until("pong").await.ends_with("pong"));
}

#[tokio::test]
async fn a_tunnel_that_is_not_opened_in_time_is_a_504_and_one_that_is_refused_says_so() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--timeout", "3000"]).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let (mut client, request) = tokio::join!(gateway.send(upgrade), origin.request());
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 504"), "{head}");
    drop(request);
    // Here nobody is in a hurry.
    let gateway = Gateway::start(&origin).await;
    let (mut client, request) = tokio::join!(gateway.send(upgrade), origin.request());
    drop(request);
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    let (mut client, mut request) = tokio::join!(gateway.send(upgrade), origin.request());
    request
        .answer("HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 426"), "{head}");
}

#[tokio::test]
async fn routes_send_each_path_to_its_upstream() {
    let (mut old, mut new) = (Origin::start().await, Origin::start().await);
    let file = tempfile::NamedTempFile::new().unwrap();
    let route = |prefix, origin: &Origin| {
        format!(
            "[[route]]\nprefix = '{prefix}'\nupstream = '{}'\n",
            origin.url()
        )
    };
    std::fs::write(file.path(), route("/", &old) + &route("/new", &new)).unwrap();
    let gateway = Gateway::run(&["--routes", file.path().to_str().unwrap()]).await;
    let (client, mut request) = tokio::join!(gateway.get("/new/1"), new.request());
    request.answer(&ok("", "from the new")).await;
    assert!(client.read().await.ends_with("from the new"));
    let (client, mut request) = tokio::join!(gateway.get("/newer"), old.request());
    request.answer(&ok("", "from the old")).await;
    assert!(client.read().await.ends_with("from the old"));
}

#[tokio::test]
async fn it_says_how_it_is_and_purges_for_who_may() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--purge-token", "secret"]).await;
    assert!(
        gateway
            .get("/-/health")
            .await
            .read()
            .await
            .contains("\"ok\"")
    );
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request
        .answer(&ok("Cache-Control: max-age=60\r\n", "one"))
        .await;
    client.read().await;
    let purge = |token: &str| {
        let body = "{\"all\":true}";
        let length = body.len();
        gateway.send(&format!(
            "POST /-/purge HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    assert!(
        purge("wrong!")
            .await
            .read()
            .await
            .starts_with("HTTP/1.1 403")
    );
    assert!(gateway.get("/").await.read().await.ends_with("one"));
    assert!(
        purge("secret")
            .await
            .read()
            .await
            .starts_with("HTTP/1.1 200")
    );
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    request.answer(&ok("", "two")).await;
    assert!(client.read().await.ends_with("two"));
    let snapshot = gateway.get("/-/snapshot").await.read().await;
    assert!(snapshot.contains("\"hits\":1"), "{snapshot}");
}

#[tokio::test]
async fn sigterm_finishes_what_is_under_way() {
    let mut origin = Origin::start().await;
    let mut gateway = Gateway::start(&origin).await;
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    gateway.terminate();
    gateway.said("stopping").await;
    request.answer(&ok("", "finished")).await;
    assert!(client.read().await.ends_with("finished"));
    let ended = within_reason(gateway.child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn with_one_layer_it_is_nothing_else() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--only", "cache"]).await;
    let (client, mut request) = tokio::join!(gateway.get("/"), origin.request());
    assert!(!request.has("traceparent"), "{}", request.head);
    request
        .answer(&ok("Cache-Control: max-age=60\r\n", "one"))
        .await;
    client.read().await;
    assert!(gateway.get("/").await.read().await.contains("gateway; hit"));
    let snapshot = gateway.get("/-/snapshot").await.read().await;
    assert!(snapshot.contains("\"dedup\":null"), "{snapshot}");
}
