//! What is stale and used all the same, and what goes on in the background.

use crate::gateway::{Gateway, within_reason};
use crate::ok;
use crate::origin::Origin;

/// Stale from the start: nothing has to be waited for.
fn stale(control: &str, body: &str) -> String {
    let fields = format!("Cache-Control: max-age=60{control}\r\nAge: 100\r\nETag: \"1\"\r\n");
    ok(&fields, body)
}

async fn start(args: &[&str]) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let args = [&["--timeout", "60000"], args].concat();
    let gateway = Gateway::start_with(&origin, &args).await;
    (origin, gateway)
}

/// RFC 5861, 3.
#[tokio::test]
async fn what_is_stale_is_used_while_it_is_asked_for_once_in_the_background() {
    let (mut origin, gateway) = start(&[]).await;
    let answer = stale(", stale-while-revalidate=600", "old");
    gateway.through(&mut origin, "GET /", "", &answer).await;
    for _ in 0..5 {
        // Answered although the origin has not.
        let seen = gateway.ask("GET /", "").await;
        assert!(
            seen.ends_with("old") && seen.contains("stale-while-revalidate"),
            "{seen}"
        );
    }
    let mut refresh = origin.request().await;
    assert!(refresh.has("if-none-match: \"1\""), "{}", refresh.head);
    refresh
        .answer(&ok("Cache-Control: max-age=60\r\n", "new"))
        .await;
    let new = async { while !gateway.ask("GET /", "").await.ends_with("new") {} };
    tokio::select! {
        () = new => {}
        _ = origin.request() => panic!("there is one refresh"),
    }
}

#[tokio::test]
async fn nothing_is_used_stale_where_that_is_forbidden() {
    let (mut origin, gateway) = start(&[]).await;
    for (n, control) in [
        ", must-revalidate",
        ", proxy-revalidate",
        ", no-cache",
        ", s-maxage=60",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET /{n}");
        let answer = stale(control, "old");
        gateway.through(&mut origin, &line, "", &answer).await;
        let (client, request) = tokio::join!(
            gateway.send(&crate::gateway::request(&line, "")),
            origin.request()
        );
        drop(request);
        let seen = client.read().await;
        assert!(seen.starts_with("HTTP/1.1 502"), "{control}: {seen}");
    }
}

/// RFC 5861, 4. By default for an hour, if the response says nothing of it.
#[tokio::test]
async fn what_is_stale_is_used_when_the_origin_fails() {
    let (mut origin, gateway) =
        start(&["--without", "circuit", "--stale-while-revalidate", "0"]).await;
    for (n, control) in ["", ", stale-if-error=600"].into_iter().enumerate() {
        let line = format!("GET /{n}");
        let answer = stale(control, "old");
        gateway.through(&mut origin, &line, "", &answer).await;
        let failed = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
        let (seen, _) = gateway.through(&mut origin, &line, "", failed).await;
        assert!(
            seen.starts_with("HTTP/1.1 200") && seen.ends_with("old"),
            "{seen}"
        );
        assert!(seen.contains("detail=stale-if-error"), "{seen}");
        let (client, request) = tokio::join!(
            gateway.send(&crate::gateway::request(&line, "")),
            origin.request()
        );
        drop(request);
        assert!(client.read().await.ends_with("old"), "it hung up");
    }
    let answer = stale(", stale-if-error=0", "old");
    gateway.through(&mut origin, "GET /none", "", &answer).await;
    let failed = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let (seen, _) = gateway.through(&mut origin, "GET /none", "", failed).await;
    assert!(seen.starts_with("HTTP/1.1 503"), "{seen}");
}

#[tokio::test]
async fn what_is_stale_is_used_when_the_origin_takes_too_long() {
    let mut origin = Origin::start().await;
    let args = ["--timeout", "3000", "--stale-while-revalidate", "0"];
    let gateway = Gateway::start_with(&origin, &args).await;
    gateway
        .through(&mut origin, "GET /", "", &stale("", "old"))
        .await;
    let (client, _request) = tokio::join!(gateway.get("/"), origin.request());
    let seen = client.read().await;
    assert!(
        seen.starts_with("HTTP/1.1 200") && seen.ends_with("old"),
        "{seen}"
    );
    assert!(seen.contains("fwd-status=504"), "{seen}");
}

/// Its new body is cut: that is for one client, and nobody after it.
#[tokio::test]
async fn what_is_cut_does_not_take_the_place_of_what_is_stale() {
    let (mut origin, gateway) = start(&["--stale-while-revalidate", "0"]).await;
    gateway
        .through(&mut origin, "GET /", "", &stale("", "old"))
        .await;
    let cut = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"2\"\r\nContent-Length: 10\r\n\r\nhalf";
    let (seen, asked) = gateway.through(&mut origin, "GET /", "", cut).await;
    assert!(
        asked.contains("if-none-match: \"1\"") && seen.ends_with("half"),
        "{seen}"
    );
    let failed = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let (seen, asked) = gateway.through(&mut origin, "GET /", "", failed).await;
    assert!(asked.contains("if-none-match: \"1\""), "{asked}");
    assert!(
        seen.starts_with("HTTP/1.1 200") && seen.ends_with("old"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_refresh_is_waited_for_at_shutdown() {
    for (grace, code) in [("60", 0), ("0", 1)] {
        let (mut origin, mut gateway) = start(&["--grace", grace]).await;
        let answer = stale(", stale-while-revalidate=600", "old");
        gateway.through(&mut origin, "GET /", "", &answer).await;
        let seen = gateway.ask("GET /", "").await;
        assert!(seen.ends_with("old"), "{seen}");
        let mut refresh = origin.request().await;
        gateway.terminate();
        gateway.said("stopping").await;
        if code == 0 {
            refresh.answer(&ok("", "new")).await;
            gateway.said("stopped").await;
        }
        let ended = within_reason(gateway.child.wait()).await.unwrap();
        assert_eq!(ended.code(), Some(code), "with {grace} seconds for it");
    }
}

/// How many URLs: more of them in a soak.
fn urls() -> usize {
    let urls = std::env::var("HTTP_URLS").ok();
    urls.and_then(|urls| urls.parse().ok()).unwrap_or(1000)
}

#[tokio::test]
async fn what_is_kept_stays_inside_its_bound() {
    let (mut origin, gateway) = start(&["--cache-size", "1"]).await;
    let answer = ok("Cache-Control: max-age=600\r\n", &"x".repeat(4096));
    for n in 0..urls() {
        let line = format!("GET /{n}");
        let (seen, _) = gateway.through(&mut origin, &line, "", &answer).await;
        assert!(seen.contains("; stored"), "{n}");
    }
    let snapshot = gateway.ask("GET /-/snapshot", "").await;
    let figure = |name: &str| -> u64 {
        let (_, rest) = snapshot.split_once(&format!("\"{name}\":")).unwrap();
        rest.split([',', '}']).next().unwrap().parse().unwrap()
    };
    let bytes = figure("bytes");
    assert!((512 << 10..=1 << 20).contains(&bytes), "{snapshot}");
    assert!(figure("entries") < 250, "{snapshot}");
}
