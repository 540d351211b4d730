//! RFC 9111, section 4.3: asking the origin whether what is stored still holds.

use super::*;

const STALE: CacheOutcome = CacheOutcome::Forwarded(Forwarded::Stale);

/// Stale after ten seconds, with both validators.
const FIELDS: [(&str, &str); 5] = [
    ("cache-control", "max-age=10"),
    ("etag", "\"1\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("content-type", "a/b"),
    ("x-version", "1"),
];

fn not_modified(fields: &[(&str, &str)]) -> Response<Body> {
    let mut response = text("", fields);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn field<'a>(request: &'a Req, name: &str) -> &'a str {
    let value = request.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Stored, and then stale.
async fn stale() -> Test {
    let test = test();
    test.answers(|_| text("body", &FIELDS));
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_asked_about_and_a_304_makes_it_fresh() {
    let test = stale().await;
    test.answers(|request| {
        assert_eq!(field(request, "if-none-match"), "\"1\"");
        assert_eq!(
            field(request, "if-modified-since"),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        not_modified(&[
            ("etag", "\"1\""),
            ("cache-control", "max-age=20"),
            ("x-version", "2"),
            ("content-length", "0"),
        ])
    });
    let seen = test.get("/a").await;
    seen.is("body");
    assert_eq!(seen.head.status, StatusCode::OK);
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    assert_eq!(
        seen.field("cache-status"),
        "buttress; fwd=stale; fwd-status=304; stored; ttl=20"
    );
    assert_eq!((seen.field("x-version"), seen.field("age")), ("2", "0"));
    advance(Duration::from_secs(19)).await;
    let hit = test.get("/a").await;
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    assert_eq!(
        (hit.field("x-version"), hit.field("content-type")),
        ("2", "a/b")
    );
    assert_eq!(hit.head.headers.get_all("cache-status").iter().count(), 1);
    assert_eq!(test.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_it_gets_its_304_and_everybody_else_the_200() {
    let test = stale().await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    let seen = test.send(get("/a", &[("if-none-match", "\"1\"")])).await;
    assert_eq!(seen.head.status, StatusCode::NOT_MODIFIED);
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    let seen = test.send(get("/a", &[("if-none-match", "\"0\"")])).await;
    assert_eq!(
        (seen.head.status, seen.outcome()),
        (StatusCode::OK, CacheOutcome::Hit)
    );
    let head = Request::head("/a").header("host", "shop");
    advance(Duration::from_secs(10)).await;
    let seen = test.send(head.body(Empty::new()).unwrap()).await;
    assert_eq!(
        (seen.head.status, seen.outcome()),
        (StatusCode::OK, CacheOutcome::Revalidated)
    );
    seen.is("");
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_takes_the_place_of_what_was_stored() {
    let test = stale().await;
    test.says("new", &[("cache-control", "max-age=10"), ("etag", "\"2\"")]);
    let seen = test.get("/a").await;
    assert_eq!(seen.outcome(), STALE);
    seen.is("new");
    assert_eq!(seen.field("cache-status"), "buttress; fwd=stale; stored");
    let hit = test.get("/a").await;
    assert_eq!(
        (hit.outcome(), hit.field("etag")),
        (CacheOutcome::Hit, "\"2\"")
    );
}

#[tokio::test(start_paused = true)]
async fn what_wants_it_is_validated_before_each_use() {
    let test = test();
    test.says("body", &[("cache-control", "no-cache"), ("etag", "\"1\"")]);
    test.get("/a").await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    for _ in 0..3 {
        let seen = test.get("/a").await;
        assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
        seen.is("body");
    }
    assert_eq!(test.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_reloads_gets_it_validated() {
    let test = test();
    test.answers(|_| text("body", &FIELDS));
    test.get("/a").await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    for reload in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("pragma", "no-cache"),
    ] {
        advance(Duration::from_secs(1)).await;
        let seen = test.send(get("/a", &[reload])).await;
        assert_eq!(seen.outcome(), CacheOutcome::Revalidated, "{reload:?}");
        assert!(seen.field("cache-status").contains("fwd=request"));
    }
}

/// RFC 9111, 4.3.4.
#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_updates_nothing() {
    let test = stale().await;
    test.answers(|_| not_modified(&[("etag", "\"2\""), ("x-version", "2")]));
    let seen = test.get("/a").await;
    seen.is("body");
    assert_eq!(seen.field("x-version"), "1");
    assert!(!seen.field("cache-status").contains("stored"));
    test.answers(|_| text("new", &FIELDS));
    assert_eq!(
        test.get("/a").await.outcome(),
        MISS,
        "it is not trusted any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_it_takes_it_out_of_the_store() {
    let test = stale().await;
    test.answers(|_| not_modified(&[("etag", "\"1\""), ("cache-control", "no-store")]));
    test.get("/a").await.is("body");
    test.answers(|_| text("new", &FIELDS));
    let seen = test.get("/a").await;
    assert_eq!(seen.outcome(), MISS);
    seen.is("new");
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_condition_is_passed_on_when_nothing_is_stored() {
    let test = test();
    test.answers(|request| {
        assert_eq!(field(request, "if-none-match"), "\"mine\"");
        not_modified(&[("etag", "\"mine\"")])
    });
    let seen = test.send(get("/a", &[("if-none-match", "\"mine\"")])).await;
    assert_eq!(
        (seen.head.status, seen.outcome()),
        (StatusCode::NOT_MODIFIED, MISS)
    );
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_a_response_survive_its_validation() {
    let test = test();
    test.answers(|_| {
        let mut response = text("old", &FIELDS);
        response
            .extensions_mut()
            .insert(CacheTags::from_iter(["t"]));
        response
    });
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    test.get("/a").await;
    assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Hit);
    test.cache.invalidate(["t"]).now();
    test.says("new", &[]);
    test.get("/a").await.is("new");
}

/// Each variant has a tag of its own, and the origin picks by `Accept`.
#[tokio::test(start_paused = true)]
async fn one_request_asks_about_all_variants_and_the_one_that_is_named_is_used() {
    let test = test();
    let fields = |tag: &'static str| {
        [
            ("cache-control", "max-age=10"),
            ("vary", "accept"),
            ("etag", tag),
        ]
    };
    test.answers(move |request| match field(request, "accept") {
        "a/a" => text("A", &fields("\"a\"")),
        _ => text("B", &fields("\"b\"")),
    });
    for accept in ["a/a", "b/b"] {
        test.send(get("/a", &[("accept", accept)])).await;
    }
    test.answers(move |request| {
        assert_eq!(field(request, "if-none-match"), "\"b\", \"a\"");
        not_modified(&fields("\"a\""))
    });
    let ask = || test.send(get("/a", &[("accept", "a/*")]));
    let seen = ask().await;
    seen.is("A");
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    assert!(seen.field("cache-status").contains("fwd=vary-miss"));
    let hit = ask().await;
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    hit.is("A");
    for (accept, body) in [("a/a", "A"), ("b/b", "B")] {
        let seen = test.send(get("/a", &[("accept", accept)])).await;
        assert_eq!(seen.outcome(), CacheOutcome::Hit);
        seen.is(body);
    }
    test.answers(|_| not_modified(&[]));
    let seen = test.send(get("/a", &[("accept", "c/c")])).await;
    assert_eq!(
        seen.head.status,
        StatusCode::BAD_GATEWAY,
        "nobody knows which"
    );
}

/// RFC 9111, 4.3.5.
#[tokio::test(start_paused = true)]
async fn a_head_that_tells_of_a_change_is_believed() {
    let test = stale().await;
    test.answers(|_| text("", &[("etag", "\"2\""), ("cache-control", "max-age=10")]));
    let head = Request::head("/a").header("host", "shop");
    let seen = test.send(head.body(Empty::new()).unwrap()).await;
    assert_eq!((seen.outcome(), seen.field("etag")), (STALE, "\"2\""));
    test.answers(|request| {
        assert_eq!(field(request, "if-none-match"), "");
        text("new", &FIELDS)
    });
    assert_eq!(test.get("/a").await.outcome(), MISS);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_its_freshness_is_asked_about_each_time() {
    let test = test();
    test.says("body", &[("etag", "\"1\"")]);
    test.get("/a").await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn what_a_304_says_to_one_who_is_known_is_for_nobody_else() {
    let test = stale().await;
    test.answers(|_| not_modified(&[("etag", "\"1\""), ("x-user", "alice")]));
    let bearer = [("authorization", "Bearer alice")];
    let seen = test.send(get("/a", &bearer)).await;
    seen.is("body");
    assert_eq!(seen.field("x-user"), "alice");
    test.answers(|request| {
        assert_eq!(
            field(request, "if-none-match"),
            "\"1\"",
            "it is still there"
        );
        not_modified(&[("etag", "\"1\"")])
    });
    let seen = test.get("/a").await;
    assert_eq!(
        (seen.outcome(), seen.field("x-user")),
        (CacheOutcome::Revalidated, "")
    );
}

#[tokio::test(start_paused = true)]
async fn a_304_that_was_joined_inside_renews_nothing() {
    let test = stale().await;
    test.answers(|_| {
        let mut response = not_modified(&[("etag", "\"1\"")]);
        let joined = buttress_dedup::http::Flight::Joined;
        response.extensions_mut().insert(joined);
        response
    });
    for _ in 0..2 {
        let seen = test.get("/a").await;
        assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
        seen.is("body");
    }
    assert_eq!(test.calls(), 3);
}

/// RFC 9875, 2; RFC 9111, 3.2.
#[tokio::test(start_paused = true)]
async fn a_304_names_new_tags() {
    let test = with(|layer| layer.tag_header("surrogate-key".parse().unwrap()));
    let fields = |key, group| {
        [
            ("cache-control", "max-age=10"),
            ("etag", "\"1\""),
            ("surrogate-key", key),
            ("cache-groups", group),
        ]
    };
    for tag in ["new", "group", "named"] {
        test.answers(move |_| text("body", &fields("old", "\"a\"")));
        test.cache.clear().now();
        test.get("/a").await;
        advance(Duration::from_secs(10)).await;
        test.answers(move |_| {
            let mut response = not_modified(&fields("new", "\"b\""));
            response
                .extensions_mut()
                .insert(CacheTags::from_iter(["named"]));
            response
        });
        assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Revalidated);
        assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Hit);
        if tag == "group" {
            test.answers(|_| text("", &[("cache-group-invalidation", "\"b\"")]));
            let post = Request::post("/b").header("host", "shop");
            test.send(post.body(Empty::new()).unwrap()).await;
        } else {
            test.cache.invalidate([tag]).remove().now();
        }
        test.says("gone", &[]);
        test.get("/a").await.is("gone");
    }
}

/// It cannot be told which one it means: that is one failure, and not one for as long as they are stored.
#[tokio::test(start_paused = true)]
async fn an_origin_that_does_not_say_which_one_has_not_changed_is_not_asked_so_again() {
    let test = test();
    test.answers(|request| {
        let tag = format!("\"{}\"", field(request, "accept-language"));
        let fields = [
            ("cache-control", "max-age=60"),
            ("vary", "accept-language"),
            ("etag", &*tag),
        ];
        text("body", &fields)
    });
    let ask = |language: &'static str| test.send(get("/a", &[("accept-language", language)]));
    ask("en").await;
    ask("fr").await;
    test.answers(|request| match field(request, "if-none-match") {
        "" => text("whole", &[]),
        _ => not_modified(&[]),
    });
    assert_eq!(ask("de").await.head.status, StatusCode::BAD_GATEWAY);
    ask("de").await.is("whole");
}

/// RFC 9111, 4.2.3.
#[tokio::test(start_paused = true)]
async fn what_is_confirmed_for_one_alone_is_as_old_as_the_304() {
    let test = stale().await;
    test.answers(|_| not_modified(&[("etag", "\"1\""), ("age", "100")]));
    let seen = test.send(get("/a", &[("authorization", "a")])).await;
    assert_eq!(
        (seen.field("age"), seen.outcome()),
        ("100", CacheOutcome::Revalidated)
    );
}

/// RFC 9111, 3.2: every other field as it came.
#[tokio::test(start_paused = true)]
async fn the_word_of_another_cache_is_its_own() {
    let test = test();
    let fields = [
        ("cache-control", "max-age=10"),
        ("etag", "\"1\""),
        ("x-cache", "Hit from elsewhere"),
    ];
    test.answers(move |_| text("body", &fields));
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test.answers(|_| not_modified(&[("etag", "\"1\"")]));
    for _ in 0..2 {
        assert_eq!(test.get("/a").await.field("x-cache"), "Hit from elsewhere");
    }
}

/// What named a response before is not heard again: there would be no end of it.
#[tokio::test(start_paused = true)]
async fn what_each_304_gives_more_tags_is_taken_out_when_they_are_too_many() {
    let test = with(|layer| layer.tag_header("surrogate-key".parse().unwrap()));
    let tags = |round| -> String { (0..256).map(|n| format!("{round}-{n} ")).collect() };
    let answers = |round, answer: fn(&[(&str, &str)]) -> Response<Body>| {
        let tags = tags(round);
        test.answers(move |_| {
            let fields = [FIELDS[0], FIELDS[1], ("surrogate-key", &*tags)];
            answer(&fields)
        });
    };
    answers(0, |fields| text("body", fields));
    test.get("/a").await;
    for (round, is_stored) in [(1, true), (2, false)] {
        advance(Duration::from_secs(10)).await;
        answers(round, not_modified);
        let seen = test.get("/a").await;
        seen.is("body");
        assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
        let told = seen.field("cache-status");
        assert_eq!(told.contains("stored"), is_stored, "{round}: {told}");
    }
    test.answers(|request| {
        assert_eq!(field(request, "if-none-match"), "", "it is not there");
        text("new", &FIELDS)
    });
    let seen = test.get("/a").await;
    assert_eq!(seen.outcome(), MISS);
    seen.is("new");
}

/// However many they are: a 304 has not made them more.
#[tokio::test(start_paused = true)]
async fn the_many_tags_that_a_handler_has_named_survive_a_validation() {
    let test = test();
    let tags = || CacheTags::from_iter((0..600).map(|n| n.to_string()));
    test.answers(move |_| {
        let mut response = text("body", &FIELDS);
        response.extensions_mut().insert(tags());
        response
    });
    test.get("/a").await;
    for names_them in [false, true] {
        advance(Duration::from_secs(10)).await;
        test.answers(move |_| {
            let mut response = not_modified(&[("etag", "\"1\"")]);
            if names_them {
                response.extensions_mut().insert(tags());
            }
            response
        });
        assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Revalidated);
        assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Hit);
    }
    test.cache.invalidate(["599"]).now();
    test.says("new", &[]);
    test.get("/a").await.is("new");
}

/// A layer within may say it so.
#[tokio::test(start_paused = true)]
async fn what_a_304_says_in_its_extensions_is_seen_by_who_decides_what_is_kept() {
    #[derive(Clone)]
    struct NotKept;

    let test =
        with(|layer| layer.store_if(|_, response| response.extensions.get::<NotKept>().is_none()));
    test.answers(|_| text("body", &FIELDS));
    test.get("/a").await;
    advance(Duration::from_secs(10)).await;
    test.answers(|_| {
        let mut response = not_modified(&[("etag", "\"1\"")]);
        response.extensions_mut().insert(NotKept);
        response
    });
    let seen = test.get("/a").await;
    seen.is("body");
    let told = seen.field("cache-status");
    assert!(!told.contains("stored"), "{told}");
    test.answers(|request| {
        assert_eq!(field(request, "if-none-match"), "", "it is not there");
        text("new", &FIELDS)
    });
    assert_eq!(test.get("/a").await.outcome(), MISS);
}
