//! What an application decides: keys, conditions, lifetimes.

use super::*;

async fn outcomes(test: &Test, paths: &[&str]) -> Vec<CacheOutcome> {
    let mut outcomes = Vec::new();
    for path in paths {
        outcomes.push(test.get(path).await.outcome());
    }
    outcomes
}

const HIT: CacheOutcome = CacheOutcome::Hit;

#[tokio::test]
async fn parameters_that_count_for_nothing_are_not_in_the_key() {
    let test = with(|layer| layer.ignore_params(["utm_*", "sid"]));
    let paths = [
        "/a?x=1",
        "/a?utm_source=m&x=1&sid=7",
        "/a?sid=7",
        "/a",
        "/a?x=2",
    ];
    assert_eq!(outcomes(&test, &paths).await, [MISS, HIT, MISS, HIT, MISS]);
    let put = Request::put("/a?x=1&sid=9").header("host", "shop");
    test.send(put.body(Empty::new()).unwrap()).await;
    assert_eq!(test.get("/a?x=1").await.outcome(), MISS);
    let test = with(|layer| layer.only_params(["page"]));
    let paths = ["/a?page=1", "/a?page=1&x=1", "/a?page=2", "/a?x"];
    assert_eq!(outcomes(&test, &paths).await, [MISS, HIT, MISS, MISS]);
}

#[tokio::test]
async fn an_origin_may_say_which_parameters_count() {
    let test = with(|layer| layer.no_vary_search(true));
    test.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("no-vary-search", "key-order, params=(\"sid\")"),
        ],
    );
    let paths = ["/a?x=1&y=2", "/a?sid=1&y=2&x=1", "/a?x=2", "/b?x=1"];
    assert_eq!(outcomes(&test, &paths).await, [MISS, HIT, MISS, MISS]);
    // What changes one of a path takes all that its rule may have made one.
    let put = Request::put("/a?y=2&x=1&sid=5").header("host", "shop");
    test.send(put.body(Empty::new()).unwrap()).await;
    test.says("new", &[("cache-control", "max-age=60")]);
    test.get("/a?x=1&y=2").await.is("new");
    // It says nothing of the kind any more.
    assert_eq!(test.get("/a?y=2&x=1").await.outcome(), MISS);
    assert_eq!(test.get("/a?x=1&y=2").await.outcome(), HIT);
    let deaf = super::test();
    deaf.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("no-vary-search", "params"),
        ],
    );
    assert_eq!(outcomes(&deaf, &["/a?x", "/a?y"]).await, [MISS, MISS]);
}

#[tokio::test]
async fn a_key_of_choice_takes_the_place_of_the_target() {
    let test = with(|layer| {
        layer
            .partition(|parts| {
                let tenant = parts.headers.get("x-tenant");
                Cow::Borrowed(tenant.map_or(&[][..], |t| t.as_bytes()))
            })
            .key(|parts| {
                parts
                    .uri
                    .path()
                    .strip_prefix("/alias")
                    .map(|_| b"one".to_vec())
            })
    });
    let paths = ["/alias/a", "/alias/b", "/a"];
    assert_eq!(outcomes(&test, &paths).await, [MISS, HIT, MISS]);
    let other = test.send(get("/alias/a", &[("x-tenant", "t")])).await;
    assert_eq!(other.outcome(), MISS);
    let put = Request::put("/alias/c").header("host", "shop");
    test.send(put.body(Empty::new()).unwrap()).await;
    assert_eq!(outcomes(&test, &["/alias/a", "/a"]).await, [MISS, HIT]);
}

#[tokio::test]
async fn requests_and_responses_may_be_left_out() {
    let test = with(|layer| {
        layer
            .cache_if(|request| !request.uri.path().starts_with("/live"))
            .store_if(|request, response| {
                request.uri.path() != "/never" && response.status == StatusCode::OK
            })
    });
    let bypass = CacheOutcome::Forwarded(Forwarded::Bypass);
    let paths = ["/live", "/live", "/never", "/never", "/a", "/a"];
    let expected = [bypass, bypass, MISS, MISS, MISS, HIT];
    assert_eq!(outcomes(&test, &paths).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_of_choice_takes_the_place_of_the_responses_and_forbids_nothing_less() {
    let test = with(|layer| {
        layer.ttl(|request, _| (request.uri.path() == "/a").then_some(Duration::from_secs(5)))
    });
    for (path, lives) in [("/a", 5), ("/b", 60)] {
        test.get(path).await;
        advance(Duration::from_secs(lives - 1)).await;
        assert_eq!(test.get(path).await.outcome(), HIT);
        advance(Duration::from_secs(1)).await;
        assert_ne!(test.get(path).await.outcome(), HIT);
    }
    let test = with(|layer| layer.ttl(|_, _| Some(Duration::from_secs(5))));
    test.says("x", &[]);
    assert_eq!(outcomes(&test, &["/a", "/a"]).await, [MISS, HIT]);
    test.says("x", &[("cache-control", "no-store")]);
    assert_eq!(outcomes(&test, &["/b", "/b"]).await, [MISS, MISS]);
}

#[tokio::test]
async fn tags_and_dependencies_come_from_both_sides() {
    let test = with(|layer| {
        layer
            .tags(|request, response| vec![format!("{}:{}", request.uri.path(), response.status)])
            .depends_on(|_, _| vec![b"prices".to_vec()])
    });
    assert_eq!(
        outcomes(&test, &["/a", "/b", "/a"]).await,
        [MISS, MISS, HIT]
    );
    test.cache.invalidate(["/a:200 OK"]).now();
    assert_eq!(outcomes(&test, &["/a", "/b"]).await, [MISS, HIT]);
    test.cache.remove("prices").now();
    assert_eq!(outcomes(&test, &["/a", "/b"]).await, [MISS, MISS]);
}

#[tokio::test]
async fn a_class_of_clients_may_stand_for_a_field() {
    let test = with(|layer| {
        layer.normalize(|name, request| {
            let agent = request.get(name)?.to_str().ok()?;
            let class = if agent.contains("Mobile") { "m" } else { "d" };
            (name == "user-agent").then_some(Cow::Borrowed(class.as_bytes()))
        })
    });
    test.says(
        "x",
        &[("cache-control", "max-age=60"), ("vary", "user-agent")],
    );
    let ask = |agent: &'static str| test.send(get("/a", &[("user-agent", agent)]));
    assert_eq!(ask("A Mobile").await.outcome(), MISS);
    assert_eq!(ask("B Mobile").await.outcome(), HIT);
    let miss = CacheOutcome::Forwarded(Forwarded::VaryMiss);
    assert_eq!(ask("C").await.outcome(), miss);
}

#[tokio::test]
async fn variants_are_bounded_in_number() {
    let test = with(|layer| layer.max_variants(2));
    test.says("x", &[("cache-control", "max-age=60"), ("vary", "accept")]);
    for accept in ["a/a", "b/b", "c/c"] {
        test.send(get("/a", &[("accept", accept)])).await;
    }
    for (accept, hit) in [("c/c", true), ("b/b", true), ("a/a", false)] {
        let seen = test.send(get("/a", &[("accept", accept)])).await;
        assert_eq!(seen.outcome() == HIT, hit, "{accept}");
    }
}

/// An origin whose errors vary by less than its answers.
#[tokio::test]
async fn responses_of_one_target_may_vary_by_different_fields() {
    let test = test();
    test.answers(|request| {
        let is_bad = request
            .headers()
            .get("accept")
            .is_some_and(|a| a == "bad/bad");
        let vary = if is_bad {
            "accept"
        } else {
            "accept, accept-language"
        };
        text("x", &[("cache-control", "max-age=60"), ("vary", vary)])
    });
    let ask = |accept, language| {
        test.send(get(
            "/a",
            &[("accept", accept), ("accept-language", language)],
        ))
    };
    for (accept, language) in [("a/a", "de"), ("bad/bad", "de"), ("a/a", "en")] {
        assert_ne!(ask(accept, language).await.outcome(), HIT);
    }
    for (accept, language) in [("a/a", "de"), ("bad/bad", "fr"), ("a/a", "en")] {
        assert_eq!(
            ask(accept, language).await.outcome(),
            HIT,
            "{accept} {language}"
        );
    }
}

/// RFC 9111, 4.
#[tokio::test(start_paused = true)]
async fn of_several_that_are_suitable_the_most_recent_one_is_used() {
    let test = test();
    let says = |body, vary| {
        test.answers(move |_| text(body, &[("cache-control", "max-age=60"), ("vary", vary)]));
    };
    let plain = [("accept", "a/a"), ("accept-language", "de")];
    let ask = |control| test.send(get("/a", &[plain[0], plain[1], ("cache-control", control)]));
    for (body, vary) in [
        ("1", "accept"),
        ("2", "accept, accept-language"),
        ("3", "accept"),
    ] {
        says(body, vary);
        ask("no-cache").await.is(body);
        advance(Duration::from_secs(2)).await;
    }
    let hit = ask("max-age=60").await;
    assert_eq!(hit.outcome(), HIT);
    hit.is("3");
}

#[tokio::test]
async fn a_private_cache_keeps_what_is_its_owners() {
    let test = with(HttpCacheLayer::private);
    test.says(
        "mine",
        &[
            ("cache-control", "private, max-age=60"),
            ("set-cookie", "a=1"),
        ],
    );
    let bearer = [("authorization", "Bearer me")];
    test.send(get("/a", &bearer)).await;
    assert_eq!(test.send(get("/a", &bearer)).await.outcome(), HIT);
}

#[tokio::test]
async fn targeted_fields_go_before_the_others() {
    let test = test();
    test.says(
        "x",
        &[
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=60"),
        ],
    );
    assert_eq!(outcomes(&test, &["/a", "/a"]).await, [MISS, HIT]);
    test.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("cdn-cache-control", "no-store"),
        ],
    );
    assert_eq!(outcomes(&test, &["/b", "/b"]).await, [MISS, MISS]);
}

#[tokio::test(start_paused = true)]
async fn it_may_tell_its_key() {
    let test = with(|layer| layer.tell_key(true));
    let miss = test.get("/a?b").await;
    assert_eq!(
        miss.field("cache-status"),
        "buttress; fwd=uri-miss; stored; key=\"shop/a?b\""
    );
    let hit = test.get("/a?b").await;
    assert_eq!(
        hit.field("cache-status"),
        "buttress; hit; ttl=60; key=\"shop/a?b\""
    );
}

#[tokio::test(start_paused = true)]
async fn what_caches_nearer_to_the_origin_have_told_stays() {
    let test = test();
    test.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("cache-status", "origin; hit"),
        ],
    );
    for own in ["buttress; fwd=uri-miss; stored", "buttress; hit; ttl=60"] {
        let seen = test.get("/a").await;
        let told: Vec<_> = seen.head.headers.get_all("cache-status").iter().collect();
        assert_eq!(told, ["origin; hit", own]);
    }
}

#[tokio::test]
async fn fields_arrive_byte_for_byte() {
    let test = test();
    test.answers(|_| {
        let mut response = text(
            "x",
            &[("cache-control", "max-age=60"), ("x-a", "1"), ("x-a", "2")],
        );
        let odd = ::http::HeaderValue::from_bytes(b"caf\xe9 \t\xff").unwrap();
        response.headers_mut().append("x-odd", odd);
        response
    });
    for _ in 0..2 {
        let seen = test.get("/a").await;
        assert_eq!(seen.head.headers["x-odd"].as_bytes(), b"caf\xe9 \t\xff");
        assert_eq!(seen.head.headers.get_all("x-a").iter().count(), 2);
    }
}

#[tokio::test]
async fn upgrades_and_bodies_pass_by() {
    let test = test();
    test.get("/a").await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let seen = test.send(get("/a", &upgrade)).await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Bypass));
    let connect = Request::builder().method("CONNECT").uri("shop:443");
    let seen = test.send(connect.body(Empty::new()).unwrap()).await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Method));
}

#[tokio::test]
async fn trailers_arrive_with_a_miss_and_with_a_hit() {
    let test = test();
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    test.answers(move |_| {
        let mut response = text("", &[("cache-control", "max-age=60")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        response
    });
    let mut trailers = ::http::HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    hand.data("x").trailers(trailers.clone()).end();
    for _ in 0..2 {
        let response = test.call(get("/a", &[])).await;
        assert!(!response.headers().contains_key("x-sum"), "RFC 9111, 3.1");
        let body = response.into_body();
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));
    }
}

#[tokio::test]
async fn fields_that_are_stored_may_have_memory_of_their_own() {
    for copies in [false, true] {
        let test = with(|layer| layer.copy_fields(copies));
        // As from a connection: everything is a part of one buffer.
        let buffer = Bytes::from(b"max-age=60 \xe4 odd  body".to_vec());
        let inside = buffer.as_ptr_range();
        let part = move |range: std::ops::Range<usize>| buffer.slice(range);
        test.answers(move |_| {
            let value = |range| ::http::HeaderValue::from_maybe_shared(part(range)).unwrap();
            let body = Either::Left(Full::from(part(18..22)));
            let mut response = Response::new(body);
            response.headers_mut().insert("cache-control", value(0..10));
            response.headers_mut().insert("x-odd", value(11..16));
            response.headers_mut().append("x-odd", value(10..11));
            response
        });
        test.get("/a").await;
        let hit = test.get("/a").await;
        assert_eq!(hit.outcome(), HIT);
        hit.is("body");
        let odd: Vec<_> = hit.head.headers.get_all("x-odd").iter().collect();
        assert_eq!(odd, [&b"\xe4 odd"[..], b" "]);
        assert_eq!(inside.contains(&odd[0].as_bytes().as_ptr()), !copies);
        assert!(!inside.contains(&hit.body.unwrap().as_ptr()));
    }
}

/// An origin may read two parameters out of it.
#[tokio::test]
async fn what_may_hide_another_parameter_counts() {
    let test = with(|layer| layer.ignore_params(["utm_*"]));
    let paths = ["/a", "/a?utm_x=1", "/a?utm_x=1;callback=evil"];
    assert_eq!(outcomes(&test, &paths).await, [MISS, HIT, MISS]);
}

/// Whatever is asked for, it is not what another target's key goes on with.
#[tokio::test]
async fn no_query_reads_as_a_variant_of_another() {
    let test = with(|layer| layer.no_vary_search(true));
    test.answers(|request| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("no-vary-search", "params=(\"utm\")"),
            ("vary", "origin"),
        ];
        let mut response = text("", &fields);
        let query = request.uri().query().unwrap().to_owned();
        *response.body_mut() = Either::Left(Full::from(query));
        response
    });
    for origin in ["e1", "e2"] {
        test.send(get("/x?a=1", &[("origin", origin)])).await;
    }
    test.get("/x?a=1&vary=origin&=").await;
    test.get("/x?a=1").await.is("a=1");
}

#[tokio::test]
async fn what_clients_say_is_weighed_with_what_is_kept_for_it() {
    const LONG: usize = 20_000;
    let test = test();
    test.says(
        "",
        &[("cache-control", "max-age=60"), ("vary", "accept-encoding")],
    );
    let long = "x".repeat(LONG);
    for n in 0..10 {
        let request = get(&format!("/{n}"), &[("accept-encoding", &long)]);
        test.send(request).await;
    }
    let weight = test.cache.snapshot().weight;
    assert!(weight > 10 * 2 * LONG as u64, "{weight}");
}

#[tokio::test]
async fn what_has_more_tags_than_are_kept_is_not_stored_and_a_purge_may_name_any_number() {
    let name = "surrogate-key".parse().unwrap();
    let test = with(|layer| layer.tag_header(name).purge(|_| true));
    let tags = |count: usize| -> String { (0..count).map(|n| format!("t{n} ")).collect() };
    for (count, expected) in [(256, HIT), (257, MISS)] {
        let (path, tags) = (format!("/{count}"), tags(count));
        test.answers(move |_| {
            let fields = [("cache-control", "max-age=60"), ("surrogate-key", &*tags)];
            text("x", &fields)
        });
        test.get(&path).await;
        assert_eq!(test.get(&path).await.outcome(), expected);
    }
    let all = tags(1000) + "t255";
    let purge = Request::builder().method("PURGE").uri("/any");
    let purge = purge.header("surrogate-key", all).body(Empty::new());
    test.send(purge.unwrap()).await;
    assert_eq!(test.get("/256").await.outcome(), MISS);
}
