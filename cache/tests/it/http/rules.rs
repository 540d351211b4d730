//! Sentences of RFC 9111, 9110, 9211 and 9213 that bind a cache, and are shown nowhere else. `RFC.md` has them all, each with its test.

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const BYPASS: CacheOutcome = CacheOutcome::Forwarded(Forwarded::Bypass);
const METHOD: CacheOutcome = CacheOutcome::Forwarded(Forwarded::Method);

fn answer(status: u16, body: &'static str, fields: &[(&str, &str)]) -> Response<Body> {
    let mut response = text(body, fields);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn ask(method: &str, path: &str, fields: &[(&str, &str)]) -> Req {
    let mut request = get(path, fields);
    *request.method_mut() = method.parse().unwrap();
    request
}

fn field(request: &Req, name: &str) -> String {
    let value = request.headers().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn outcome(test: &Test, path: &str) -> CacheOutcome {
    test.get(path).await.outcome()
}

/// RFC 9111, 3.1.
#[tokio::test]
async fn fields_of_one_proxy_are_not_stored_and_unknown_ones_are() {
    let test = test();
    const OWN: [&str; 7] = [
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "keep-alive",
        "te",
        "upgrade",
    ];
    test.answers(|_| {
        let mut response = text(
            "x",
            &[FRESH, ("x-nobody-knows", "1"), ("warning", "199 - x")],
        );
        for name in OWN {
            response.headers_mut().insert(name, "x".parse().unwrap());
        }
        response
    });
    test.get("/a").await;
    let hit = test.get("/a").await;
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    for name in OWN {
        assert!(!hit.head.headers.contains_key(name), "{name}");
    }
    assert_eq!(
        (hit.field("x-nobody-knows"), hit.field("warning")),
        ("1", "199 - x")
    );
}

/// RFC 9111, 3.1, 5.2.2.4 and 5.2.2.7.
#[tokio::test]
async fn fields_that_are_named_are_for_the_one_who_asked_first() {
    let fields = [
        (
            "cache-control",
            "max-age=60, private=\"x-mine\", no-cache=\"x-once\"",
        ),
        ("x-mine", "1"),
        ("x-once", "1"),
        ("x-all", "1"),
    ];
    for (test, mine) in [(test(), ""), (with(HttpCacheLayer::private), "1")] {
        test.answers(move |_| text("x", &fields));
        let first = test.get("/a").await;
        assert_eq!((first.field("x-mine"), first.field("x-once")), ("1", "1"));
        let hit = test.get("/a").await;
        assert_eq!(hit.outcome(), CacheOutcome::Hit);
        let found = [hit.field("x-mine"), hit.field("x-once"), hit.field("x-all")];
        assert_eq!(found, [mine, "", "1"], "`private` is said to shared caches");
    }
}

/// RFC 9110, 15.5.13, 15.5.17 and 15.5.18; RFC 6585.
#[tokio::test]
async fn what_is_said_of_one_request_is_not_kept_for_others() {
    for status in [412, 416, 417, 428, 429, 431, 511] {
        let test = test();
        test.answers(move |_| answer(status, "no", &[FRESH]));
        test.send(get("/a", &[("range", "bytes=99-")])).await;
        test.says("body", &[]);
        test.get("/a").await.is("body");
    }
}

/// RFC 9111, 3 and 9.3 of RFC 9110.
#[tokio::test]
async fn answers_to_other_methods_are_not_answers_to_get() {
    for method in ["HEAD", "OPTIONS", "TRACE", "POST", "PUT", "QUERY"] {
        let test = test();
        test.answers(|_| text("other", &[FRESH]));
        test.send(ask(method, "/a", &[])).await;
        test.says("body", &[]);
        let seen = test.get("/a").await;
        assert_eq!(seen.outcome(), MISS, "{method}");
        seen.is("body");
    }
}

/// RFC 9111, 5.2.1.5.
#[tokio::test]
async fn who_wants_nothing_stored_may_still_be_given_what_is() {
    let test = test();
    let no_store = [("cache-control", "no-store")];
    for _ in 0..2 {
        assert_eq!(test.send(get("/a", &no_store)).await.outcome(), MISS);
    }
    test.get("/a").await;
    let seen = test.send(get("/a", &no_store)).await;
    assert_eq!(seen.outcome(), CacheOutcome::Hit);
}

/// RFC 9111, 5.2.1.5: also a 304 is a response to it.
#[tokio::test(start_paused = true)]
async fn a_304_to_who_wants_nothing_stored_renews_nothing() {
    let test = test();
    test.says(
        "body",
        &[("cache-control", "max-age=10"), ("etag", "\"1\"")],
    );
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test.answers(|_| answer(304, "", &[("etag", "\"1\""), ("x-new", "1")]));
    let seen = test.send(get("/a", &[("cache-control", "no-store")])).await;
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    seen.is("body");
    test.answers(|request| {
        assert_eq!(
            field(request, "if-none-match"),
            "\"1\"",
            "it is still there"
        );
        answer(304, "", &[("etag", "\"1\"")])
    });
    let seen = test.get("/a").await;
    assert_eq!(
        (seen.outcome(), seen.field("x-new")),
        (CacheOutcome::Revalidated, "")
    );
}

/// RFC 9111, 4 and 5.1.
#[tokio::test(start_paused = true)]
async fn an_age_takes_the_place_of_the_one_that_came() {
    let test = test();
    test.says("x", &[FRESH, ("age", "7"), ("age", "50")]);
    test.get("/a").await;
    advance(Duration::from_secs(3)).await;
    let hit = test.get("/a").await;
    let ages: Vec<_> = hit.head.headers.get_all("age").iter().collect();
    assert_eq!(ages, ["10"]);
}

/// RFC 9111, 4.
#[tokio::test]
async fn what_is_not_safe_is_written_through() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "BREW", "CONNECT"] {
        let test = test();
        test.get("/a").await;
        test.says("done", &[FRESH]);
        for (calls, control) in [(2, "max-stale"), (3, "only-if-cached")] {
            let seen = test
                .send(ask(method, "/a", &[("cache-control", control)]))
                .await;
            assert_eq!((seen.outcome(), test.calls()), (METHOD, calls), "{method}");
            seen.is("done");
        }
    }
}

/// RFC 9111, 4 and 4.1.
#[tokio::test]
async fn of_several_that_are_suitable_the_most_recent_one_by_date_is_used() {
    let earlier = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let later = ("date", "Sun, 06 Nov 1994 08:49:38 GMT");
    let wide = ("vary", "accept");
    let narrow = ("vary", "accept, accept-language");
    const LONG: (&str, &str) = ("cache-control", "max-age=2147483648");
    // Whatever else makes the later one look older.
    let (young, old) = (("age", "0"), ("age", "2000000000"));
    for (first, second, expected) in [
        ([earlier, wide, young], [later, narrow, old], "second"),
        ([later, wide, old], [earlier, narrow, young], "first"),
        ([later, narrow, old], [earlier, wide, young], "first"),
    ] {
        let test = test();
        let plain = [("accept", "a/a"), ("accept-language", "de")];
        let other = [("accept", "a/a"), ("accept-language", "en")];
        test.answers(move |_| text("other", &[LONG, narrow]));
        test.send(get("/a", &other)).await;
        for (body, [date, vary, age]) in [("first", first), ("second", second)] {
            test.answers(move |_| text(body, &[LONG, date, vary, age]));
            let anew = [plain[0], plain[1], ("cache-control", "no-cache")];
            test.send(get("/a", &anew)).await.is(body);
        }
        let hit = test.send(get("/a", &plain)).await;
        assert_eq!(hit.outcome(), CacheOutcome::Hit);
        hit.is(expected);
    }
}

/// RFC 9111, 4.1.
#[tokio::test]
async fn a_default_response_without_vary_is_not_used_when_one_with_it_came_later() {
    let test = test();
    test.says("default", &[FRESH]);
    test.get("/a").await;
    test.says("german", &[FRESH, ("vary", "accept-language")]);
    let german = [("accept-language", "de"), ("cache-control", "no-cache")];
    test.send(get("/a", &german)).await;
    test.send(get("/a", &german[..1])).await.is("german");
    test.says("french", &[FRESH, ("vary", "accept-language")]);
    test.send(get("/a", &[("accept-language", "fr")]))
        .await
        .is("french");
    test.send(get("/a", &german[..1])).await.is("german");
}

/// RFC 9111, 5.2.
#[tokio::test]
async fn directives_are_passed_on_in_both_directions() {
    let test = test();
    let asked = "max-age=0, x-mine=\"a, b\"";
    let said = "max-age=60, x-theirs, private=\"x-a\", no-transform";
    test.answers(move |request| {
        assert_eq!(field(request, "cache-control"), asked);
        assert_eq!(field(request, "pragma"), "x");
        text("x", &[("cache-control", said), ("etag", "\"1\"")])
    });
    let request = [("cache-control", asked), ("pragma", "x")];
    let first = test.send(get("/a", &request)).await;
    assert_eq!(first.field("cache-control"), said);
    assert_eq!(test.get("/a").await.field("cache-control"), said);
    let known = test.send(get("/a", &[("if-none-match", "\"1\"")])).await;
    assert_eq!(
        (known.head.status.as_u16(), known.field("cache-control")),
        (304, said)
    );
    assert_eq!(test.calls(), 1);
}

/// RFC 9111, 4.3.2; RFC 9110, 13.1.1, 13.1.4 and 13.2.1.
#[tokio::test]
async fn conditions_that_are_not_for_a_cache_are_left_to_the_origin() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (method, name, value, expected) in [
        ("GET", "if-match", "\"2\"", BYPASS),
        ("GET", "if-unmodified-since", DATE, BYPASS),
        ("HEAD", "if-match", "\"2\"", BYPASS),
        ("POST", "if-none-match", "\"1\"", METHOD),
        ("PUT", "if-modified-since", DATE, METHOD),
        ("OPTIONS", "if-none-match", "*", METHOD),
        ("TRACE", "if-modified-since", DATE, METHOD),
        ("CONNECT", "if-none-match", "*", METHOD),
    ] {
        let test = test();
        test.says("x", &[FRESH, ("etag", "\"1\"")]);
        test.get("/a").await;
        test.answers(move |request| {
            assert_eq!(field(request, name), value);
            answer(412, "theirs", &[])
        });
        let seen = test.send(ask(method, "/a", &[(name, value)])).await;
        assert_eq!(seen.outcome(), expected, "{method} {name}");
        assert_eq!(seen.head.status.as_u16(), 412, "{method} {name}");
    }
}

/// RFC 9111, 4.3.2.
#[tokio::test]
async fn without_a_date_it_is_the_one_of_its_arrival_that_is_compared() {
    let test = test();
    test.get("/a").await;
    let hit = test.get("/a").await;
    let date = hit.field("date").to_owned();
    assert!(date.ends_with(" GMT"), "RFC 9110, 6.6.1: {date}");
    for (since, status) in [(&*date, 304), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)] {
        let seen = test.send(get("/a", &[("if-modified-since", since)])).await;
        assert_eq!(seen.head.status, status, "{since}");
    }
    assert_eq!(test.calls(), 1);
}

/// RFC 9110, 15.4.5 and 15.3.7.
#[tokio::test]
async fn a_304_and_a_206_have_the_fields_that_they_have_to_have() {
    let test = test();
    const ALWAYS: [(&str, &str); 6] = [
        FRESH,
        ("content-location", "/a.html"),
        ("date", "Sun, 06 Nov 2044 08:49:37 GMT"),
        ("etag", "\"1\""),
        ("expires", "Sun, 06 Nov 2044 08:49:37 GMT"),
        ("vary", "accept"),
    ];
    const OF_THE_WHOLE: [(&str, &str); 3] = [
        ("content-type", "a/b"),
        ("content-language", "de"),
        ("content-encoding", "x"),
    ];
    test.answers(|_| text("body", &[&ALWAYS[..], &OF_THE_WHOLE].concat()));
    test.get("/a").await;
    let known = test.send(get("/a", &[("if-none-match", "\"1\"")])).await;
    let part = test.send(get("/a", &[("range", "bytes=0-1")])).await;
    assert_eq!(
        (known.head.status.as_u16(), part.head.status.as_u16()),
        (304, 206)
    );
    for seen in [&known, &part] {
        assert_eq!(seen.outcome(), CacheOutcome::Hit);
        for (name, value) in ALWAYS {
            assert_eq!(seen.field(name), value, "{name}");
        }
    }
    for (name, value) in OF_THE_WHOLE {
        assert_eq!((known.field(name), part.field(name)), ("", value));
    }
}

/// RFC 9110, 14.2.
#[tokio::test]
async fn a_range_is_about_a_200_to_a_get() {
    let test = test();
    for status in [203, 404] {
        let path = format!("/{status}");
        test.answers(move |_| answer(status, "whole", &[FRESH]));
        test.get(&path).await;
        let seen = test.send(get(&path, &[("range", "bytes=0-1")])).await;
        assert_eq!(
            (seen.outcome(), seen.head.status.as_u16()),
            (CacheOutcome::Hit, status)
        );
        seen.is("whole");
    }
}

/// RFC 9111, 3.2 and 4.3.4: what is weak was never said to be the one that a strong tag is of.
#[tokio::test(start_paused = true)]
async fn a_strong_tag_does_not_renew_what_has_a_weak_one() {
    let test = test();
    test.says(
        "weak",
        &[("cache-control", "max-age=10"), ("etag", "W/\"1\"")],
    );
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test.answers(|_| answer(304, "", &[("etag", "\"1\""), FRESH, ("x-new", "1")]));
    let seen = test.get("/a").await;
    seen.is("weak");
    assert_eq!(
        (seen.outcome(), seen.field("x-new")),
        (CacheOutcome::Revalidated, "")
    );
    test.answers(|request| {
        assert_eq!(
            field(request, "if-none-match"),
            "",
            "it is asked for as a whole"
        );
        text("new", &[FRESH])
    });
    test.get("/a").await.is("new");
    assert_eq!(outcome(&test, "/a").await, CacheOutcome::Hit);
}

/// RFC 9111, 3 and 4.3.4.
#[tokio::test(start_paused = true)]
async fn what_a_304_says_of_storing_holds_from_then_on() {
    for forbids in [
        ("cache-control", "private"),
        ("vary", "*"),
        ("set-cookie", "a=1"),
    ] {
        let test = test();
        test.says(
            "body",
            &[("cache-control", "max-age=10"), ("etag", "\"1\"")],
        );
        test.get("/a").await;
        advance(Duration::from_secs(10)).await;
        test.answers(move |_| answer(304, "", &[("etag", "\"1\""), forbids]));
        let seen = test.get("/a").await;
        seen.is("body");
        assert_eq!(seen.field(forbids.0), forbids.1);
        test.says("new", &[]);
        assert_eq!(outcome(&test, "/a").await, MISS, "{forbids:?}");
    }
}

/// RFC 9111, 4.3.5.
#[tokio::test(start_paused = true)]
async fn a_head_that_confirms_it_renews_what_is_stored() {
    let test = test();
    let fields = |control, version| {
        [
            ("cache-control", control),
            ("etag", "\"1\""),
            ("x-version", version),
        ]
    };
    test.answers(move |_| text("body", &fields("max-age=10", "1")));
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    // It looks at no conditions.
    test.answers(move |_| {
        let length = ("content-length", "4");
        let fields = fields("max-age=20", "2");
        text("", &[fields[0], fields[1], fields[2], length])
    });
    let seen = test.send(ask("HEAD", "/a", &[])).await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Stale));
    advance(Duration::from_secs(19)).await;
    let hit = test.get("/a").await;
    assert_eq!(
        (hit.outcome(), hit.field("x-version")),
        (CacheOutcome::Hit, "2")
    );
    hit.is("body");
    // Another length is another representation, whatever the tag says.
    test.answers(move |_| text("", &[("etag", "\"1\""), FRESH, ("content-length", "5")]));
    let anew = [("cache-control", "no-cache")];
    test.send(ask("HEAD", "/a", &anew)).await;
    assert_eq!(outcome(&test, "/a").await, MISS);
}

/// RFC 9111, 5.2.2.2.
#[tokio::test(start_paused = true)]
async fn who_cannot_ask_says_so_where_it_must_be_asked() {
    for control in ["max-age=10, must-revalidate", "s-maxage=10", "no-cache"] {
        let window = Duration::from_secs(60);
        let test = with(|layer| layer.stale_if_error(window).stale_while_revalidate(window));
        test.answers(move |_| text("old", &[("cache-control", control), ("etag", "\"1\"")]));
        test.get("/a").await;
        advance(Duration::from_secs(11)).await;
        let gone = service_fn(|_: Req| std::future::ready(Err::<Response<Body>, _>("gone")));
        for field in [
            ("accept", "*/*"),
            ("cache-control", "max-stale, stale-if-error=60"),
        ] {
            let call = test.layer.layer(gone).call(get("/a", &[field]));
            assert_eq!(call.await.err(), Some("gone"), "{control} {field:?}");
        }
    }
}

/// RFC 9211, 2.
#[tokio::test]
async fn what_is_said_by_the_cache_alone_tells_nothing_of_a_store() {
    let test = with(|layer| layer.purge(|parts| parts.headers.contains_key("x-may")));
    let only = [("cache-control", "only-if-cached")];
    for (request, status) in [
        (get("/a", &only), 504),
        (ask("PURGE", "/a", &[]), 403),
        (ask("PURGE", "/a", &[("x-may", "1")]), 204),
    ] {
        let seen = test.send(request).await;
        assert_eq!(
            (seen.head.status.as_u16(), seen.field("cache-status")),
            (status, "")
        );
    }
    assert_eq!(test.calls(), 0);
}

/// RFC 9110, 9.3.6 and 7.8; RFC 9112, 3.2.
#[tokio::test]
async fn tunnels_and_upgrades_pass_as_they_are() {
    #[derive(Clone, Debug, PartialEq)]
    struct Upgrade(u8);
    let test = test();
    for (request, status, expected) in [
        (ask("CONNECT", "shop:443", &[]), 200, METHOD),
        (
            get("/a", &[("connection", "upgrade"), ("upgrade", "echo")]),
            101,
            BYPASS,
        ),
    ] {
        let (method, target) = (request.method().clone(), request.uri().clone());
        test.answers(move |request| {
            assert_eq!((request.method(), request.uri()), (&method, &target));
            let mut response = answer(status, "bytes", &[FRESH, ("upgrade", "echo")]);
            response.extensions_mut().insert(Upgrade(1));
            response
        });
        for calls in 1..3 {
            let before = test.calls();
            let seen = test.send(request.clone()).await;
            assert_eq!(
                (seen.outcome(), seen.head.status.as_u16()),
                (expected, status)
            );
            assert_eq!(seen.head.extensions.get(), Some(&Upgrade(1)), "{calls}");
            assert_eq!(seen.field("upgrade"), "echo");
            seen.is("bytes");
            assert_eq!(test.calls(), before + 1, "nothing of it is stored");
        }
    }
}

/// RFC 9110, 9.3.1: what a body means is not in the key.
#[tokio::test]
async fn a_get_with_a_body_passes_by() {
    let test = test();
    test.get("/a").await;
    let origin = service_fn(|_: Request<Full<Bytes>>| {
        let response = text("other", &[FRESH]);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let request = Request::get("/a")
        .header("host", "shop")
        .body(Full::from("query"));
    let call = test.layer.layer(origin).call(request.unwrap());
    assert_eq!(call.await.unwrap().extensions().get(), Some(&BYPASS));
    test.get("/a").await.is("fresh");
}

/// RFC 9112, 3.2 and 3.2.2: an origin may take the one that is not in the key.
#[tokio::test]
async fn who_names_two_hosts_stores_nothing_for_others() {
    let test = test();
    test.answers(|request| {
        let host = request.headers().get_all("host").iter().next_back();
        let is_evil = host.is_some_and(|host| host == "evil");
        text(if is_evil { "evil" } else { "good" }, &[FRESH])
    });
    let mut two = get("/a", &[]);
    two.headers_mut().append("host", "evil".parse().unwrap());
    let mut other = get("http://shop/a", &[]);
    other.headers_mut().insert("host", "evil".parse().unwrap());
    for request in [two, other] {
        for _ in 0..2 {
            let seen = test.send(request.clone()).await;
            assert_eq!(seen.outcome(), BYPASS);
            seen.is("evil");
        }
        test.get("/a").await.is("good");
    }
    let same = test.send(get("http://SHOP:80/a", &[])).await;
    assert_eq!(same.outcome(), CacheOutcome::Hit, "they are the same");
}

/// RFC 9111, 4.4: who names another origin takes nothing of it.
#[tokio::test]
async fn nothing_of_another_origin_is_taken() {
    let test = test();
    for (location, taken) in [
        ("http://shop/a", true),
        ("https://shop/a", true),
        ("/a", true),
        ("http://shop:8080/a", false),
        ("http://shop:443/a", false),
        ("http://evil/a", false),
        ("//evil/a", false),
        ("http://shop@evil/a", false),
        ("http://evil/http://shop/a", false),
    ] {
        for name in ["location", "content-location"] {
            test.answers(|_| text("old", &[FRESH]));
            test.get("/a").await;
            test.answers(move |_| answer(201, "", &[(name, location)]));
            test.send(ask("POST", "/b", &[])).await;
            let gone = outcome(&test, "/a").await != CacheOutcome::Hit;
            assert_eq!(gone, taken, "{name}: {location}");
        }
    }
}

/// RFC 9111, 4.2.4: a choice of the owner is for what becomes stale, and not for what was never said to be fresh.
#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_reuse_is_never_used_again() {
    let window = Duration::from_secs(60);
    let set = |layer: HttpCacheLayer| {
        let layer = layer.stale_if_error(window).stale_while_revalidate(window);
        layer.heuristic(window)
    };
    for fields in [
        &[][..],
        &[("content-type", "text/html")],
        &[("cache-control", "public")],
    ] {
        let test = with(set);
        test.answers(move |_| text("old", fields));
        assert!(
            !test
                .get("/a")
                .await
                .field("cache-status")
                .contains("stored")
        );
        test.answers(|_| answer(503, "failed", &[]));
        let seen = test.get("/a").await;
        assert_eq!(
            (seen.outcome(), seen.head.status.as_u16()),
            (MISS, 503),
            "{fields:?}"
        );
    }
}

/// Events have no end, and are for whoever listens, whatever is said of them.
#[tokio::test]
async fn a_stream_of_events_passes() {
    let test = test();
    test.says(
        "data: 1\n\n",
        &[FRESH, ("content-type", "text/event-stream; charset=utf-8")],
    );
    for _ in 0..2 {
        let seen = test.get("/a").await;
        assert_eq!(
            (seen.outcome(), seen.field("cache-status")),
            (MISS, "buttress; fwd=uri-miss")
        );
        seen.is("data: 1\n\n");
    }
}
