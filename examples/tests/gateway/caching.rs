//! What RFC 9111 and 9110 say, seen from outside: between a client and an origin that speak plain bytes.

use crate::gateway::Gateway;
use crate::ok;
use crate::origin::Origin;

/// What is stale is asked about before it is used.
const ARGS: [&str; 5] = [
    "--timeout",
    "60000",
    "--stale-while-revalidate",
    "0",
    "--x-cache",
];

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &ARGS).await;
    (origin, gateway)
}

fn is_hit(response: &str) -> bool {
    response.contains("gateway; hit")
}

/// Whether a response with these fields is there for who asks next, with `more`.
async fn is_kept(fields: &str, more: &str) -> bool {
    let (mut origin, gateway) = start().await;
    let answer = ok(fields, "body");
    gateway.through(&mut origin, "GET /", "", &answer).await;
    tokio::select! {
        response = gateway.ask("GET /", more) => {
            assert!(is_hit(&response) && response.ends_with("body"), "{fields}: {response}");
            true
        }
        _ = origin.request() => false,
    }
}

/// RFC 9111, 5.2, 5.3 and 1.2; RFC 9110, 5.6.7.
#[tokio::test]
async fn fields_are_read_as_they_are_meant() {
    for (fields, expected) in [
        (
            "Cache-Control: ext=\"a, no-store\", foo\r\nCache-Control: MAX-AGE=\"60\"\r\n",
            true,
        ),
        ("Cache-Control: max-age=99999999999999999999\r\n", true),
        (
            "Cache-Control: max-age=60\r\nCache-Control: No-Store\r\n",
            false,
        ),
        ("Cache-Control: max-age=x\r\n", false),
        ("Expires: Sat, 06 Nov 2060 08:49:37 GMT\r\n", true),
        ("Expires: Saturday, 06-Nov-60 08:49:37 GMT\r\n", true),
        ("Expires: Sat Nov  6 08:49:37 2060\r\n", true),
        ("Expires: 0\r\n", false),
        ("Cache-Control: max-age=60\r\nAge: 60, 1\r\n", false),
        ("Cache-Control: max-age=60\r\nAge: soon\r\n", true),
        (
            "Cache-Control: max-age=60\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            false,
        ),
        ("Cache-Control: max-age=60\r\nDate: yesterday\r\n", true),
    ] {
        assert_eq!(is_kept(fields, "").await, expected, "{fields}");
    }
}

/// RFC 9111, 3 and 4.2; RFC 9213.
#[tokio::test]
async fn freshness_is_what_is_said_or_else_guessed() {
    for (fields, expected) in [
        ("Cache-Control: max-age=60, s-maxage=0\r\n", false),
        (
            "Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n",
            true,
        ),
        (
            "Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store\r\n",
            false,
        ),
        (
            "Cache-Control: max-age=60\r\nCDN-Cache-Control: &\r\n",
            true,
        ),
        ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true),
        ("X-None: 1\r\n", false),
        ("Cache-Control: max-age=60, private\r\n", false),
        ("Cache-Control: max-age=60, private=\"x-a\"\r\n", true),
        ("Cache-Control: max-age=60, no-cache=\"x-a\"\r\n", true),
        ("Cache-Control: max-age=60\r\nSet-Cookie: a=1\r\n", false),
        (
            "Cache-Control: max-age=60, must-understand, no-store\r\n",
            true,
        ),
        ("Cache-Control: max-age=60\r\nVary: *\r\n", false),
    ] {
        assert_eq!(is_kept(fields, "").await, expected, "{fields}");
    }
}

/// Whatever is chosen for what has become stale: by default it is used while it is asked for anew.
#[tokio::test]
async fn what_says_nothing_of_reuse_is_asked_for_each_time() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    for body in ["1", "2"] {
        let answer = ok("Content-Type: text/html\r\n", body);
        let (seen, _) = gateway.through(&mut origin, "GET /", "", &answer).await;
        assert!(seen.ends_with(body), "{seen}");
    }
    let failed = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let (seen, _) = gateway.through(&mut origin, "GET /", "", failed).await;
    assert!(seen.starts_with("HTTP/1.1 503"), "{seen}");
}

/// RFC 9111, 5.2.1 and 5.4.
#[tokio::test]
async fn a_request_may_want_more_than_what_is_fresh() {
    let fields = "Cache-Control: max-age=60\r\nAge: 10\r\n";
    for (more, expected) in [
        ("Cache-Control: no-cache\r\n", false),
        ("Pragma: no-cache\r\n", false),
        ("Cache-Control: max-age=5\r\n", false),
        ("Cache-Control: min-fresh=55\r\n", false),
        ("Cache-Control: min-fresh=5, max-age=50\r\n", true),
        ("Cache-Control: only-if-cached\r\n", true),
        ("Authorization: Bearer x\r\n", true),
    ] {
        assert_eq!(is_kept(fields, more).await, expected, "{more}");
    }
    let stale = "Cache-Control: max-age=60, stale-while-revalidate=0\r\nAge: 70\r\nETag: \"1\"\r\n";
    assert!(is_kept(stale, "Cache-Control: max-stale=60\r\n").await);
    assert!(!is_kept(stale, "Cache-Control: max-stale=5\r\n").await);
    let (_origin, gateway) = start().await;
    let refused = gateway
        .ask("GET /", "Cache-Control: only-if-cached\r\n")
        .await;
    assert!(refused.starts_with("HTTP/1.1 504"), "{refused}");
}

/// RFC 9111, 3.5.
#[tokio::test]
async fn what_one_may_see_is_not_for_others() {
    for (fields, expected) in [
        ("Cache-Control: max-age=60\r\n", false),
        ("Cache-Control: max-age=60, public\r\n", true),
        ("Cache-Control: s-maxage=60\r\n", true),
    ] {
        let (mut origin, gateway) = start().await;
        let answer = ok(fields, "mine");
        let bearer = "Authorization: Bearer alice\r\n";
        gateway.through(&mut origin, "GET /", bearer, &answer).await;
        let kept = tokio::select! {
            response = gateway.ask("GET /", "") => is_hit(&response),
            _ = origin.request() => false,
        };
        assert_eq!(kept, expected, "{fields}");
    }
}

/// RFC 9111, 4.1, 3.1 and 5.1.
#[tokio::test]
async fn a_response_is_reused_for_those_it_is_for_and_as_it_is() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Language, accept-encoding\r\nAge: 5\r\n\
        Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: a\r\nX-Kept: \r\n";
    for language in ["de", "en"] {
        let more = format!("Accept-Language: {language}\r\nAccept-Encoding: gzip, br\r\n");
        let answer = ok(fields, language);
        gateway.through(&mut origin, "GET /", &more, &answer).await;
    }
    for (more, body) in [
        ("Accept-Language: de\r\nAccept-Encoding: gzip,br\r\n", "de"),
        (
            "Accept-Language: en\r\nAccept-Encoding: gzip\r\nAccept-Encoding: br\r\n",
            "en",
        ),
    ] {
        let hit = gateway.ask("GET /", more).await;
        assert!(is_hit(&hit) && hit.ends_with(body), "{hit}");
        let lower = hit.to_lowercase();
        assert!(
            !lower.contains("x-hop") && !lower.contains("keep-alive"),
            "{hit}"
        );
        assert!(lower.contains("\r\nx-kept: a\r\nx-kept: \r\n"), "{hit}");
        let age = lower.split("\r\nage: ").nth(1).unwrap();
        let age: u64 = age.split('\r').next().unwrap().parse().unwrap();
        assert!((5..60).contains(&age), "{age}");
        assert!(lower.contains("x-cache: hit-memory"), "{hit}");
    }
    let head = gateway
        .ask(
            "HEAD /",
            "Accept-Language: de\r\nAccept-Encoding: gzip, br\r\n",
        )
        .await;
    assert!(is_hit(&head) && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-length: 2"), "{head}");
    let (french, answer) = ("Accept-Language: fr\r\n", ok("", "fr"));
    let (other, _) = gateway.through(&mut origin, "GET /", french, &answer).await;
    assert!(other.contains("fwd=vary-miss"), "{other}");
}

/// RFC 9111, 4.3; RFC 9110, 13.
#[tokio::test]
async fn what_is_stale_is_validated() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=0\r\nETag: \"1\"\r\nX-Old: 1\r\n";
    let answer = ok(fields, "body");
    gateway.through(&mut origin, "GET /", "", &answer).await;
    let news = "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nContent-Length: 99\r\nX-Old: 2\r\n\r\n";
    let (seen, asked) = gateway.through(&mut origin, "GET /", "", news).await;
    assert!(asked.contains("if-none-match: \"1\""), "{asked}");
    assert!(
        seen.starts_with("HTTP/1.1 200") && seen.ends_with("body"),
        "{seen}"
    );
    let lower = seen.to_lowercase();
    assert!(
        lower.contains("content-length: 4") && lower.contains("x-old: 2"),
        "{seen}"
    );
    assert!(lower.contains("fwd=stale; fwd-status=304"), "{seen}");
    for (more, expected) in [
        ("If-None-Match: W/\"1\"\r\n", "304"),
        ("If-None-Match: \"2\"\r\n", "200"),
        (
            "If-Modified-Since: Sat, 06 Nov 2060 08:49:37 GMT\r\n",
            "304",
        ),
        (
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "200",
        ),
    ] {
        let seen = gateway.ask("GET /", more).await;
        assert!(
            seen.starts_with(&format!("HTTP/1.1 {expected}")),
            "{more}: {seen}"
        );
        assert!(is_hit(&seen), "{seen}");
    }
}

/// RFC 9110, 14; RFC 9111, 3.3 and 3.4.
#[tokio::test]
async fn parts_are_cut_from_what_is_stored_and_put_together() {
    let (mut origin, gateway) = start().await;
    let answer = ok("Cache-Control: max-age=60\r\nETag: \"1\"\r\n", "0123456789");
    gateway.through(&mut origin, "GET /", "", &answer).await;
    for (range, status, end) in [
        ("bytes=2-4", "206", "\r\n\r\n234"),
        ("bytes=-3", "206", "\r\n\r\n789"),
        ("bytes=20-", "416", "\r\n\r\n"),
        ("lines=1-2", "200", "0123456789"),
        ("bytes=0-1\r\nIf-Range: \"2\"", "200", "0123456789"),
        ("bytes=0-1\r\nIf-Range: \"1\"", "206", "\r\n\r\n01"),
    ] {
        let seen = gateway.ask("GET /", &format!("Range: {range}\r\n")).await;
        assert!(
            seen.starts_with(&format!("HTTP/1.1 {status}")),
            "{range}: {seen}"
        );
        assert!(seen.ends_with(end), "{range}: {seen}");
    }
    for (first, last, body) in [(0, 4, "01234"), (5, 9, "56789")] {
        let head = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"p\"";
        let part = format!(
            "{head}\r\nContent-Range: bytes {first}-{last}/10\r\nContent-Length: 5\r\n\r\n{body}"
        );
        let range = format!("Range: bytes={first}-{last}\r\n");
        let (seen, asked) = gateway.through(&mut origin, "GET /p", &range, &part).await;
        assert!(
            asked.contains("range: bytes=") && seen.ends_with(body),
            "{seen}"
        );
    }
    let whole = gateway.ask("GET /p", "").await;
    assert!(is_hit(&whole) && whole.ends_with("0123456789"), "{whole}");
}

/// RFC 9111, 4.4; RFC 9875.
#[tokio::test]
async fn a_change_takes_what_it_is_about() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\nCache-Groups: \"g\"\r\n";
    let answer = ok(fields, "old");
    for (line, says, taken) in [
        ("POST /a", "", "/a"),
        ("BREW /a", "", "/a"),
        ("DELETE /x", "Location: /a\r\n", "/a"),
        ("PUT /x", "Content-Location: http://h/a\r\n", "/a"),
        ("PATCH /x", "Cache-Group-Invalidation: \"g\"\r\n", "/a"),
    ] {
        gateway.through(&mut origin, "GET /a", "", &answer).await;
        assert!(is_hit(&gateway.ask("GET /a", "").await));
        let failed = "HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n";
        gateway.through(&mut origin, line, "", failed).await;
        assert!(is_hit(&gateway.ask("GET /a", "").await), "{line}");
        gateway.through(&mut origin, line, "", &ok(says, "")).await;
        let again = format!("GET {taken}");
        let (seen, _) = gateway
            .through(&mut origin, &again, "", &ok("", "new"))
            .await;
        assert!(seen.ends_with("new"), "{line}: {seen}");
    }
}

#[tokio::test]
async fn what_an_origin_may_tell_apart_is_apart() {
    let (mut origin, gateway) = start().await;
    let fields = "Cache-Control: max-age=60\r\n";
    let targets = [
        ("GET /a", ""),
        ("GET /a?", ""),
        ("GET /a/", ""),
        ("GET /A", ""),
        ("GET /a?b=1&c=2", ""),
        ("GET /a?c=2&b=1", ""),
        ("GET /%61", ""),
        ("GET /a", "Host: other\r\n"),
        ("GET /a", "Host: h:81\r\n"),
    ];
    let bodies: Vec<_> = (0..targets.len()).map(|n| format!("body {n}")).collect();
    for ((line, more), body) in targets.iter().zip(&bodies) {
        let answer = ok(fields, body);
        gateway.through(&mut origin, line, more, &answer).await;
    }
    for ((line, more), body) in targets.iter().zip(&bodies) {
        let hit = gateway.ask(line, more).await;
        assert!(is_hit(&hit) && hit.ends_with(body), "{line} {more}: {hit}");
    }
    let hit = gateway.ask("GET /a", "Host: H:80\r\n").await;
    assert!(is_hit(&hit) && hit.ends_with("body 0"), "{hit}");
}

#[tokio::test]
async fn what_cannot_be_shared_releases_all_at_once() {
    let (mut origin, gateway) = start().await;
    let private = ok("Cache-Control: private\r\n", "mine");
    let (first, mut request) = tokio::join!(gateway.get("/"), origin.request());
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(gateway.get("/").await);
    }
    request.answer(&private).await;
    assert!(first.read().await.ends_with("mine"));
    // None is answered before all have asked.
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(origin.request().await);
    }
    for request in &mut asked {
        request.answer(&private).await;
    }
    for other in others {
        assert!(other.read().await.ends_with("mine"));
    }
}

#[tokio::test]
async fn it_tells_what_it_did() {
    let (mut origin, gateway) = start().await;
    let answer = ok("Cache-Control: max-age=60\r\n", "body");
    let (miss, _) = gateway.through(&mut origin, "GET /", "", &answer).await;
    let lower = miss.to_lowercase();
    assert!(
        lower.contains("cache-status: gateway; fwd=uri-miss; stored\r\n"),
        "{miss}"
    );
    assert!(lower.contains("x-cache: miss\r\n"), "{miss}");
    let hit = gateway.ask("GET /", "").await.to_lowercase();
    assert!(hit.contains("cache-status: gateway; hit; ttl="), "{hit}");
    let (post, _) = gateway
        .through(&mut origin, "POST /", "", &ok("", ""))
        .await;
    assert!(post.contains("gateway; fwd=method"), "{post}");
    let plain = Gateway::start(&origin).await;
    let (seen, _) = plain.through(&mut origin, "GET /", "", &answer).await;
    assert!(!seen.to_lowercase().contains("x-cache"), "{seen}");
}

#[tokio::test]
async fn who_may_purges_targets_and_tags_hard_and_softly() {
    let mut origin = Origin::start().await;
    let args = [&ARGS[..], &["--purge-token", "secret"]].concat();
    let gateway = Gateway::start_with(&origin, &args).await;
    let answer = ok(
        "Cache-Control: max-age=60\r\nETag: \"1\"\r\nSurrogate-Key: a b\r\n",
        "old",
    );
    let token = "Authorization: Bearer secret\r\n";
    let purge = |body: &str| {
        let length = body.len();
        let fields = format!("{token}Content-Length: {length}\r\n");
        let request = crate::gateway::request("POST /-/purge", &fields);
        gateway.send(&(request + body))
    };
    for (line, fields, body) in [
        ("PURGE /x", token.to_owned(), ""),
        ("PURGE /", format!("{token}Surrogate-Key: b\r\n"), ""),
        ("", String::new(), r#"{"tags": ["a"]}"#),
        ("", String::new(), r#"{"urls": ["http://h/x"]}"#),
    ] {
        gateway.through(&mut origin, "GET /x", "", &answer).await;
        assert!(is_hit(&gateway.ask("GET /x", "").await));
        let done = match line {
            "" => purge(body).await.read().await,
            line => gateway.ask(line, &fields).await,
        };
        assert!(done.starts_with("HTTP/1.1 20"), "{line}{body}: {done}");
        let (_, asked) = gateway
            .through(&mut origin, "GET /x", "", &ok("", "new"))
            .await;
        assert!(!asked.contains("if-none-match"), "nothing is left of it");
    }
    let refused = gateway
        .ask("PURGE /x", "Authorization: Bearer guess\r\n")
        .await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    for softly in ["", r#"{"urls": ["http://h/y"], "soft": true}"#] {
        gateway.through(&mut origin, "GET /y", "", &answer).await;
        let done = match softly {
            "" => {
                gateway
                    .ask("PURGE /y", &format!("{token}X-Soft-Purge: 1\r\n"))
                    .await
            }
            body => purge(body).await.read().await,
        };
        assert!(done.starts_with("HTTP/1.1 20"), "{done}");
        let not_modified = "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n";
        let (seen, asked) = gateway
            .through(&mut origin, "GET /y", "", not_modified)
            .await;
        assert!(
            asked.contains("if-none-match: \"1\"") && seen.ends_with("old"),
            "{seen}"
        );
        assert!(
            purge(r#"{"all": true}"#)
                .await
                .read()
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
    for wrong in [r#"{"urls": ["/y"]}"#, r#"{"tags": ["a"], "soft": true}"#] {
        let wrong = purge(wrong).await.read().await;
        assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

/// The cache is asked before the upstream is told whose request it is.
#[tokio::test]
async fn what_is_chosen_by_who_asks_is_kept_for_nobody() {
    let vary = "Cache-Control: max-age=60\r\nVary: Accept, X-Forwarded-For\r\n";
    assert!(!is_kept(vary, "").await);
    let other = "Cache-Control: max-age=60\r\nVary: Accept, X-Forwarded-Proto\r\n";
    assert!(is_kept(other, "").await);
}

#[tokio::test]
async fn what_is_found_to_be_chosen_by_who_asks_is_kept_no_longer() {
    let (mut origin, gateway) = start().await;
    let stale = ok("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "body");
    gateway.through(&mut origin, "GET /", "", &stale).await;
    let same = "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nVary: X-Forwarded-For\r\n\r\n";
    let (response, asked) = gateway.through(&mut origin, "GET /", "", same).await;
    assert!(
        asked.contains("if-none-match") && response.ends_with("body"),
        "{response}"
    );
    tokio::select! {
        response = gateway.ask("GET /", "") => panic!("{response}"),
        _ = origin.request() => {}
    }
}

/// What says who may have it is not passed on, and not forgotten (RFC 9110, 7.6.1; RFC 9111, 4.1).
#[tokio::test]
async fn what_an_upstream_hides_from_others_is_kept_for_nobody() {
    for (fields, expected) in [
        (
            "Connection: close, Vary\r\nVary: Accept-Language\r\nCache-Control: max-age=60\r\n",
            false,
        ),
        (
            "Connection: Cache-Control\r\nCache-Control: private\r\nExpires: Sat, 06 Nov 2060 08:49:37 GMT\r\n",
            false,
        ),
        (
            "Connection: X-Ours\r\nX-Ours: 1\r\nCache-Control: max-age=60\r\n",
            true,
        ),
    ] {
        assert_eq!(is_kept(fields, "").await, expected, "{fields}");
    }
}
