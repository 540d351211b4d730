//! Who asks, how, and for which host.

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::gateway::{Gateway, request, within_reason};
use crate::ok;
use crate::origin::Origin;

const FRESH: &str = "Cache-Control: max-age=60\r\n";

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = Gateway::start(&origin).await;
    (origin, gateway)
}

/// RFC 9110, 9.3.6: a server need not support it, and this one is no forward proxy.
#[tokio::test]
async fn connect_is_refused_and_nobody_is_asked() {
    let (mut origin, gateway) = start().await;
    let connect = "CONNECT shop:443 HTTP/1.1\r\nHost: shop:443\r\nConnection: close\r\n\r\n";
    let seen = tokio::select! {
        client = async { gateway.send(connect).await.read().await } => client,
        _ = origin.request() => panic!("the origin is asked"),
    };
    assert!(seen.starts_with("HTTP/1.1 501"), "{seen}");
    assert!(seen.contains("urn:gateway:problem:connect"), "{seen}");
}

/// RFC 9112, 3.2.
#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_a_bad_one() {
    let (mut origin, gateway) = start().await;
    for fields in ["", "Host: h\r\nHost: h\r\n", "Host: h\r\nHost: evil\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
        let seen = tokio::select! {
            client = async { gateway.send(&request).await.read().await } => client,
            _ = origin.request() => panic!("the origin is asked"),
        };
        assert!(seen.starts_with("HTTP/1.1 400"), "{fields:?}: {seen}");
        assert!(seen.contains("urn:gateway:problem:host"), "{seen}");
    }
    // HTTP/1.0 knows of no such field.
    let old = "GET /old HTTP/1.0\r\n\r\n";
    let (client, mut request) = tokio::join!(gateway.send(old), origin.request());
    request.answer(&ok("", "old")).await;
    assert!(client.read().await.ends_with("old"));
}

/// RFC 9112, 3.2.2: or one client could store for all what another host says.
#[tokio::test]
async fn the_host_of_the_target_is_the_one_that_the_origin_hears() {
    let (mut origin, gateway) = start().await;
    let fields = "Host: evil\r\nX-Forwarded-Host: evil\r\n";
    let answer = ok(FRESH, "good");
    let (_, asked) = gateway
        .through(&mut origin, "GET http://h/a", fields, &answer)
        .await;
    assert!(asked.contains("\r\nhost: h\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-forwarded-host: h\r\n"), "{asked}");
    assert!(!asked.contains("evil"), "{asked}");
    let hit = gateway.ask("GET /a", "").await;
    assert!(
        hit.contains("gateway; hit") && hit.ends_with("good"),
        "{hit}"
    );
}

/// Or what the upstream answers to one question would be stored as the answer to another.
#[tokio::test]
async fn what_goes_no_further_chooses_nothing_from_the_cache() {
    let (mut origin, gateway) = start().await;
    let fields =
        "Host: h\r\nConnection: Host, Origin\r\nX-Forwarded-Host: evil\r\nOrigin: https://app\r\n";
    let answer = ok(&format!("{FRESH}Vary: Origin\r\n"), "for nobody's app");
    let (_, asked) = gateway
        .through(&mut origin, "GET /a", fields, &answer)
        .await;
    assert!(asked.contains("\r\nhost: h\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-forwarded-host: h\r\n"), "{asked}");
    assert!(
        !asked.contains("evil") && !asked.contains("origin:"),
        "{asked}"
    );
    let answer = ok(&format!("{FRESH}Vary: Origin\r\n"), "for the app");
    let (response, _) = gateway
        .through(&mut origin, "GET /a", "Origin: https://app\r\n", &answer)
        .await;
    assert!(response.ends_with("for the app"), "{response}");
    let hit = gateway.ask("GET /a", "").await;
    assert!(hit.ends_with("for nobody's app"), "{hit}");
}

/// RFC 9110, 5.1: they are the same; but there are origins that do not know it.
#[tokio::test]
async fn names_go_on_in_small_letters_or_as_they_came() {
    for (args, expected) in [
        (&[][..], "\r\nx-odd-name: Value\r\n"),
        (&["--keep-case"], "\r\nX-oDD-Name: Value\r\n"),
    ] {
        let mut origin = Origin::start().await;
        let gateway = Gateway::start_with(&origin, args).await;
        let answer = "HTTP/1.1 200 OK\r\nX-aNSwer: Value\r\nContent-Length: 0\r\n\r\n";
        let asks = request("GET /", "X-oDD-Name: Value\r\n");
        let (client, mut asked) = tokio::join!(gateway.send(&asks), origin.request());
        asked.answer(answer).await;
        let response = client.read().await;
        assert!(asked.head.contains(expected), "{}", asked.head);
        assert!(response.contains("\r\nX-aNSwer: Value\r\n"), "{response}");
    }
}

/// With prior knowledge, as behind a proxy that ends TLS.
#[tokio::test]
async fn what_one_version_of_http_stored_the_other_has() {
    let (mut origin, gateway) = start().await;
    let answer = ok(&format!("{FRESH}Connection: X-Hop\r\nX-Hop: 1\r\n"), "body");
    gateway.through(&mut origin, "GET /a", "", &answer).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let ask = |path: &str| {
        let target = format!("http://{}{path}", gateway.address());
        let request = http::Request::get(target).body(Empty::<bytes::Bytes>::new());
        within_reason(client.request(request.unwrap()))
    };
    // By its own address, which the origin hears as the host.
    let answering = async {
        let mut request = origin.request().await;
        let host = format!("host: {}\r\n", gateway.address());
        assert!(request.has(&host), "{}", request.head);
        assert!(request.has("via: 2 gateway"), "{}", request.head);
        request.answer(&answer).await;
    };
    let (seen, ()) = tokio::join!(ask("/a"), answering);
    let seen = seen.unwrap();
    assert_eq!(seen.version(), http::Version::HTTP_2);
    assert!(!seen.headers().contains_key("x-hop"));
    let body = within_reason(seen.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "body");
    let again = ask("/a").await.unwrap();
    let told = again.headers()["cache-status"].to_str().unwrap();
    assert!(told.starts_with("gateway; hit"), "{told}");
    let host = format!("Host: {}\r\n", gateway.address());
    let hit = gateway.ask("GET /a", &host).await;
    assert!(
        hit.contains("gateway; hit") && hit.ends_with("body"),
        "{hit}"
    );
}

/// RFC 7239, and those that came before it: a client's word of the way is not an upstream's to go by.
#[tokio::test]
async fn what_a_client_says_of_its_way_goes_no_further() {
    let (mut origin, gateway) = start().await;
    let forged = "Forwarded: host=evil;proto=https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let (_, asked) = gateway
        .through(&mut origin, "GET /", forged, &ok("", ""))
        .await;
    for gone in ["forwarded: host", "x-forwarded-port", "x-forwarded-prefix"] {
        assert!(!asked.contains(&format!("\r\n{gone}")), "{asked}");
    }
    assert!(asked.contains("x-forwarded-for: 192.0.2.1"), "{asked}");
}

/// RFC 9110, 4.2.4.
#[tokio::test]
async fn who_a_target_names_is_no_part_of_its_host() {
    let (mut origin, gateway) = start().await;
    let (_, asked) = gateway
        .through(&mut origin, "GET http://x:y@shop/", "", &ok("", ""))
        .await;
    assert!(asked.contains("\r\nhost: shop\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-forwarded-host: shop\r\n"), "{asked}");
}

/// RFC 9110, 7.6.2.
#[tokio::test]
async fn a_request_that_may_go_no_further_is_answered_here() {
    let (mut origin, gateway) = start().await;
    for (line, status) in [("OPTIONS /", "204"), ("TRACE /", "405")] {
        let seen = gateway.ask(line, "Max-Forwards: 0\r\n").await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")), "{seen}");
        let more = "Max-Forwards: 2\r\n";
        let (_, asked) = gateway.through(&mut origin, line, more, &ok("", "")).await;
        assert!(asked.contains("\r\nmax-forwards: 1\r\n"), "{asked}");
    }
    let (_, asked) = gateway
        .through(&mut origin, "GET /", "Max-Forwards: 0\r\n", &ok("", ""))
        .await;
    assert!(
        asked.contains("\r\nmax-forwards: 0\r\n"),
        "of others it says nothing: {asked}"
    );
}

/// It may be a password.
#[tokio::test]
async fn whom_a_target_names_nobody_hears_of_and_it_makes_no_other_target() {
    let (mut origin, gateway) = start().await;
    let answer = ok(FRESH, "body");
    let target = "GET http://name:secret@shop/a?b=1";
    let (_, asked) = gateway.through(&mut origin, target, "", &answer).await;
    let tells_nobody = |asked: &str| {
        assert!(asked.starts_with("get /a?b=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nhost: shop\r\n"), "{asked}");
        for said in ["name", "secret", "@"] {
            assert!(!asked.contains(said), "{asked}");
        }
    };
    tells_nobody(&asked);
    let only = "Host: shop\r\nCache-Control: only-if-cached\r\n";
    for line in [target, "GET http://other@shop/a?b=1", "GET /a?b=1"] {
        let hit = gateway.ask(line, only).await;
        assert!(hit.contains("gateway; hit"), "{line}: {hit}");
    }
    // Nor who would be given a tunnel.
    let fields = "Host: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
    let upgrade = format!("{target} HTTP/1.1\r\n{fields}\r\n");
    let (mut client, mut request) = tokio::join!(gateway.send(&upgrade), origin.request());
    tells_nobody(&request.head.to_lowercase());
    assert!(request.has("upgrade: echo"), "{}", request.head);
    request.answer(&ok("", "no tunnel")).await;
    client.until("no tunnel").await;
}

/// RFC 9110, 7.6.2: a recipient may have a largest one of its own.
#[tokio::test]
async fn a_number_of_forwards_is_digits_and_no_larger_than_we_can_count() {
    let (mut origin, gateway) = start().await;
    let many = "9".repeat(30);
    for line in ["OPTIONS /", "TRACE /"] {
        for (said, told) in [
            (&*many, "4294967294"),
            ("4294967296", "4294967294"),
            ("4294967295", "4294967294"),
            ("007", "6"),
            // What is no number says nothing.
            ("+0", "+0"),
            ("-1", "-1"),
            ("0 ,0", "0 ,0"),
            ("\u{e4}", "\u{e4}"),
            ("", ""),
        ] {
            let fields = format!("Max-Forwards: {said}\r\n");
            let answer = ok("", "");
            let (_, asked) = gateway.through(&mut origin, line, &fields, &answer).await;
            let told = format!("\r\nmax-forwards: {told}\r\n");
            assert!(asked.contains(&told), "{line} {said}: {asked}");
        }
        let seen = gateway.ask(line, "Max-Forwards: 00\r\n").await;
        assert!(seen.contains("\r\nallow: "), "{seen}");
    }
}
