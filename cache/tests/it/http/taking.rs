//! RFC 9111, section 4.4, RFC 9875, and purges: what is taken out of the store.

use buttress_cache::Depth;

use super::*;

fn ask(method: &str, path: &str, fields: &[(&str, &str)]) -> Req {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

fn tagged() -> Test {
    let test = with(|layer| {
        layer
            .tag_header("surrogate-key".parse().unwrap())
            .purge(|parts| parts.headers.get("x-secret").is_some_and(|s| s == "s"))
    });
    test.answers(|request| {
        let fields = [
            ("cache-control", "max-age=60, stale-if-error=60"),
            ("surrogate-key", "all"),
            (
                "surrogate-key",
                request.uri().path().trim_start_matches('/'),
            ),
        ];
        text("old", &fields)
    });
    test
}

async fn hits(test: &Test, path: &str) -> bool {
    test.get(path).await.outcome() == CacheOutcome::Hit
}

#[tokio::test]
async fn any_method_that_is_not_known_to_be_safe_takes_its_target() {
    for (method, status, expected) in [
        ("POST", 200, false),
        ("PUT", 204, false),
        ("DELETE", 302, false),
        ("PATCH", 200, false),
        ("BREW", 200, false),
        ("BREW", 404, true),
        ("BREW", 500, true),
        ("OPTIONS", 200, true),
        ("TRACE", 200, true),
    ] {
        let test = test();
        test.get("/a").await;
        test.answers(move |_| {
            let mut response = text("", &[]);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        });
        let seen = test.send(ask(method, "/a", &[])).await;
        assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Method));
        assert_eq!(hits(&test, "/a").await, expected, "{method} {status}");
    }
}

/// RFC 9875.
#[tokio::test]
async fn a_group_goes_together_on_its_own_origin_and_by_an_unsafe_request_only() {
    let test = test();
    let warm = async || {
        test.says(
            "old",
            &[
                ("cache-control", "max-age=60"),
                ("cache-groups", "\"g\", \"h\""),
            ],
        );
        test.get("/a").await;
        let other = Request::get("/a").header("host", "other");
        test.send(other.body(Empty::new()).unwrap()).await;
        test.says("", &[("cache-group-invalidation", "\"h\"")]);
    };
    warm().await;
    test.get("/unrelated").await;
    assert!(hits(&test, "/a").await, "a safe request takes nothing");
    test.send(ask("POST", "/b", &[])).await;
    assert!(!hits(&test, "/a").await);
    let other = Request::get("/a").header("host", "other");
    let seen = test.send(other.body(Empty::new()).unwrap()).await;
    assert_eq!(
        seen.outcome(),
        CacheOutcome::Hit,
        "another origin's group of that name"
    );
    warm().await;
    test.answers(|_| {
        let mut response = text("", &[("cache-group-invalidation", "\"h\"")]);
        *response.status_mut() = StatusCode::CONFLICT;
        response
    });
    test.send(ask("POST", "/b", &[])).await;
    assert!(hits(&test, "/a").await, "nor does one that has failed");
}

#[tokio::test]
async fn tags_may_stand_in_a_field() {
    let test = tagged();
    test.get("/a").await;
    test.get("/b").await;
    test.cache.invalidate(["a"]).now();
    assert!(!hits(&test, "/a").await && hits(&test, "/b").await);
    test.cache.invalidate(["all"]).now();
    assert!(!hits(&test, "/b").await);
}

#[tokio::test]
async fn who_may_purges_a_target_or_tags_and_who_may_not_is_refused() {
    let test = tagged();
    for path in ["/a", "/b", "/c"] {
        test.get(path).await;
    }
    let calls = test.calls();
    let refused = test.send(ask("PURGE", "/a", &[])).await;
    assert_eq!(refused.head.status, StatusCode::FORBIDDEN);
    let secret = ("x-secret", "s");
    let done = test.send(ask("PURGE", "/a", &[secret])).await;
    assert_eq!(done.head.status, StatusCode::NO_CONTENT);
    let done = test
        .send(ask("PURGE", "/any", &[secret, ("surrogate-key", "b, x")]))
        .await;
    assert_eq!(done.head.status, StatusCode::NO_CONTENT);
    assert_eq!(test.calls(), calls, "the origin hears nothing of it");
    assert!(!hits(&test, "/a").await && !hits(&test, "/b").await && hits(&test, "/c").await);
    let plain = super::test();
    let seen = plain.send(ask("PURGE", "/a", &[])).await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Method));
}

#[tokio::test]
async fn what_is_purged_softly_is_stale_and_there_for_bad_times() {
    let test = tagged();
    let vary = |body: &'static str| {
        move |_: &Req| {
            let fields = [
                ("cache-control", "max-age=60, stale-if-error=60"),
                ("vary", "accept"),
                ("etag", "\"1\""),
            ];
            text(body, &fields)
        }
    };
    for variants in [false, true] {
        if variants {
            test.answers(vary("old"));
            test.layer
                .purge_target(&ask("GET", "/a", &[]).into_parts().0, Depth::Remove);
        }
        test.get("/a").await;
        test.send(ask(
            "PURGE",
            "/a",
            &[("x-secret", "s"), ("x-soft-purge", "1")],
        ))
        .await;
        test.answers(|_| {
            let mut response = text("", &[]);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        });
        let seen = test.get("/a").await;
        assert_eq!(seen.outcome(), CacheOutcome::Stale, "{variants}");
        seen.is("old");
        test.says("new", &[]);
        test.get("/a").await.is("new");
    }
}

#[tokio::test]
async fn what_was_under_way_when_it_was_purged_softly_is_not_stored() {
    let test = tagged();
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    test.answers(move |_| {
        let mut response = text("", &[("cache-control", "max-age=60")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        response
    });
    let response = test.call(get("/a", &[])).await;
    let target = ask("GET", "/a", &[]).into_parts().0;
    test.layer.purge_target(&target, Depth::Expire);
    hand.data("old").end();
    response.into_body().collect().await.unwrap();
    test.says("new", &[]);
    test.get("/a").await.is("new");
}

/// RFC 9110, 9.3.3.
#[tokio::test]
async fn the_answer_to_a_post_may_be_what_is_at_its_target() {
    for (fields, expected) in [
        (
            &[("cache-control", "max-age=60"), ("content-location", "/a")][..],
            true,
        ),
        (
            &[("cache-control", "max-age=60"), ("content-location", "/b")],
            false,
        ),
        (&[("cache-control", "max-age=60")], false),
        (&[("etag", "\"1\""), ("content-location", "/a")], false),
    ] {
        let test = with(|layer| layer.store_post(true));
        test.get("/a").await;
        test.answers(move |_| text("posted", fields));
        test.send(ask("POST", "/a", &[])).await;
        test.says("new", &[]);
        let seen = test.get("/a").await;
        assert_eq!(seen.outcome() == CacheOutcome::Hit, expected, "{fields:?}");
        seen.is(if expected { "posted" } else { "new" });
    }
    let test = test();
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    test.answers(move |_| text("posted", &fields));
    test.send(ask("POST", "/a", &[])).await;
    assert_eq!(
        test.get("/a").await.outcome(),
        MISS,
        "not unless it is wanted"
    );
}

/// Nor do groups of tenants meet.
#[tokio::test]
async fn a_group_of_one_tenant_is_none_of_another() {
    let test = with(|layer| {
        layer.partition(|parts| {
            let tenant = parts.headers.get("x-tenant");
            Cow::Borrowed(tenant.map_or(&[][..], |tenant| tenant.as_bytes()))
        })
    });
    test.says(
        "old",
        &[("cache-control", "max-age=60"), ("cache-groups", "\"g\"")],
    );
    for tenant in ["a", "b"] {
        test.send(ask("GET", "/a", &[("x-tenant", tenant)])).await;
    }
    test.says("", &[("cache-group-invalidation", "\"g\"")]);
    test.send(ask("POST", "/b", &[("x-tenant", "a")])).await;
    for (tenant, hit) in [("a", false), ("b", true)] {
        let seen = test.send(ask("GET", "/a", &[("x-tenant", tenant)])).await;
        assert_eq!(seen.outcome() == CacheOutcome::Hit, hit, "{tenant}");
    }
}

/// The rule, by which other queries of the path are stored, stays.
#[tokio::test]
async fn what_is_purged_softly_is_there_where_the_origin_says_which_parameters_count() {
    let test = with(|layer| layer.no_vary_search(true));
    let fields = [
        ("cache-control", "max-age=60, stale-if-error=60"),
        ("no-vary-search", "params=(\"sid\")"),
    ];
    test.answers(move |_| text("old", &fields));
    test.get("/a?x=1&sid=1").await;
    test.get("/a?x=2").await;
    let target = ask("GET", "/a?x=1&sid=2", &[]).into_parts().0;
    test.layer.purge_target(&target, Depth::Expire);
    test.answers(|_| {
        let mut response = text("", &[]);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    let seen = test.get("/a?x=1&sid=3").await;
    assert_eq!(seen.outcome(), CacheOutcome::Stale);
    assert_eq!(test.get("/a?x=2&sid=3").await.outcome(), CacheOutcome::Hit);
}

/// Nobody finds it while the rule holds; but it would come back with the end of it.
#[tokio::test]
async fn what_was_stored_before_the_origin_said_which_parameters_count_is_gone_after_a_soft_purge()
{
    const PLAIN: &[(&str, &str)] = &[("cache-control", "max-age=60")];
    let test = with(|layer| layer.no_vary_search(true));
    test.says("old", PLAIN);
    test.get("/a?x=1").await;
    let by_rule = [PLAIN[0], ("no-vary-search", "params=(\"sid\")")];
    test.answers(move |_| text("by rule", &by_rule));
    test.get("/a?x=2").await;
    let target = ask("GET", "/a?x=1", &[]).into_parts().0;
    test.layer.purge_target(&target, Depth::Expire);
    test.says("new", PLAIN);
    test.get("/a?x=3").await.is("new");
    test.get("/a?x=1").await.is("new");
}
