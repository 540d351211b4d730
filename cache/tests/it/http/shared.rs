//! Two processes that share a second level: what one stores the other has, and what one takes away is gone in the other.

use buttress_cache::Depth;
use buttress_cache::http::ResponseCodec;
use buttress_cache::l2::SecondLevel;
use buttress_cache::l2::simulated::{Fault, Simulated};
use futures_util::future::join_all;

use super::*;
use crate::kit::drained;

const SECOND: Duration = Duration::from_secs(1);

/// Two layers, each before an origin of its own, over one server.
struct Two {
    server: Simulated,
    one: Test,
    other: Test,
}

impl Two {
    async fn new() -> Self {
        Self::with(|layer| layer).await
    }

    async fn with(set: impl Fn(HttpCacheLayer) -> HttpCacheLayer) -> Self {
        let server = Simulated::talkative();
        let process = || {
            let level = SecondLevel::new(server.link(), ResponseCodec).max_lag(3 * SECOND);
            let cache = CachedResponse::cache().slots(1024).l2(level).build();
            let layer = HttpCacheLayer::new(cache.clone());
            Test {
                layer: set(layer.response_extension().x_cache(true)),
                cache,
                ..test()
            }
        };
        let (one, other) = (process(), process());
        settle().await;
        other.says("the other's own", &[]);
        Self { server, one, other }
    }

    /// Both say the same.
    fn say(&self, body: &'static str, fields: &'static [(&str, &str)]) {
        self.one.says(body, fields);
        self.other.says(body, fields);
    }
}

/// Whoever was woken runs.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// In small steps, so that every look at the clock comes in its time.
async fn pass(time: Duration) {
    let step = Duration::from_millis(250);
    for _ in 0..time.as_millis() / step.as_millis() {
        advance(step).await;
        settle().await;
    }
}

const HIT: CacheOutcome = CacheOutcome::Hit;
const REDIS: CacheOutcome = CacheOutcome::HitRedis;

async fn store(test: &Test, path: &str) {
    assert_eq!(test.get(path).await.outcome(), MISS);
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_one_process_stores_the_other_has_at_its_age() {
    let two = Two::new().await;
    two.one.says(
        "stored",
        &[
            ("cache-control", "max-age=60"),
            ("age", "5"),
            ("x-odd", "a"),
            ("x-odd", ""),
        ],
    );
    store(&two.one, "/a").await;
    pass(10 * SECOND).await;
    let found = two.other.get("/a").await;
    found.is("stored");
    assert_eq!(found.outcome(), REDIS);
    assert_eq!(found.field("x-cache"), "HIT-REDIS");
    assert_eq!(found.field("age"), "15", "it is as old as it is");
    assert_eq!(
        found.field("cache-status"),
        "buttress; hit; ttl=45; detail=redis"
    );
    let odd: Vec<_> = found.head.headers.get_all("x-odd").iter().collect();
    assert_eq!(odd, ["a", ""]);
    pass(SECOND).await;
    let again = two.other.get("/a").await;
    assert_eq!((again.outcome(), again.field("age")), (HIT, "16"));
    assert_eq!(again.field("x-cache"), "HIT-MEMORY");
    assert_eq!(again.field("cache-status"), "buttress; hit; ttl=44");
    assert_eq!(two.other.calls(), 0);
    let now = two.other.cache.snapshot();
    assert_eq!((now.hits, now.redis_hits, now.misses), (1, 1, 1));
    pass(44 * SECOND).await;
    two.other.get("/a").await.is("the other's own");
}

#[tokio::test(start_paused = true)]
async fn variants_of_both_are_had_by_both() {
    let two = Two::new().await;
    let answer = |request: &Req| {
        let accept = request.headers().get("accept").map(|a| a.as_bytes());
        let fields = [("cache-control", "max-age=60"), ("vary", "accept")];
        let body = match accept {
            Some(b"a/a") => "A",
            Some(b"b/b") => "B",
            _ => "C",
        };
        text(body, &fields)
    };
    two.one.answers(answer);
    two.other.answers(answer);
    let ask = async |test: &Test, accept: &'static str, body: &str| {
        let seen = test.send(get("/a", &[("accept", accept)])).await;
        seen.is(body);
        settle().await;
        seen.outcome()
    };
    let vary_miss = CacheOutcome::Forwarded(Forwarded::VaryMiss);
    assert_eq!(ask(&two.one, "a/a", "A").await, MISS);
    assert_eq!(ask(&two.other, "b/b", "B").await, vary_miss);
    assert_eq!(ask(&two.other, "a/a", "A").await, HIT, "it had come along");
    assert_eq!(ask(&two.one, "a/a", "A").await, HIT);
    assert_eq!(ask(&two.one, "b/b", "B").await, REDIS);
    assert_eq!(ask(&two.one, "c/c", "C").await, vary_miss);
    assert_eq!(ask(&two.other, "c/c", "C").await, REDIS);
    assert_eq!((two.one.calls(), two.other.calls()), (2, 1));
    two.other
        .layer
        .purge_target(&get("/a", &[]).into_parts().0, Depth::Remove);
    settle().await;
    for accept in ["a/a", "b/b", "c/c"] {
        let seen = two.one.send(get("/a", &[("accept", accept)])).await;
        assert!(!matches!(seen.outcome(), HIT | REDIS), "{accept}");
    }
}

fn send(method: &str, path: &str) -> Req {
    let request = Request::builder().method(method).uri(path);
    request.header("host", "shop").body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_one_takes_away_is_gone_in_the_other() {
    let two = Two::with(|layer| {
        let layer = layer.tag_header("surrogate-key".parse().unwrap());
        layer.purge(|_| true)
    })
    .await;
    const OLD: &[(&str, &str)] = &[
        ("cache-control", "max-age=60"),
        ("surrogate-key", "tag"),
        ("cache-groups", "\"group\""),
    ];
    type Taking = (&'static str, &'static [(&'static str, &'static str)]);
    let takings: [Taking; 4] = [
        ("POST", &[]),
        ("PURGE", &[]),
        ("PURGE /any", &[("surrogate-key", "tag")]),
        ("DELETE /any", &[("cache-group-invalidation", "\"group\"")]),
    ];
    for (n, (what, fields)) in takings.into_iter().enumerate() {
        let path = format!("/{n}");
        two.say("old", OLD);
        store(&two.one, &path).await;
        assert_eq!(two.other.get(&path).await.outcome(), REDIS);
        two.say("new", fields);
        let (method, target) = what.split_once(' ').unwrap_or((what, &path));
        let mut request = send(method, target);
        if method == "PURGE" {
            for (name, value) in fields {
                request.headers_mut().insert(*name, value.parse().unwrap());
            }
        }
        two.one.send(request).await;
        two.one.get(&path).await.is("new");
        settle().await;
        two.other.get(&path).await.is("new");
    }
}

/// What was begun before is stored after, and is for nobody.
#[tokio::test(start_paused = true)]
async fn what_was_under_way_while_the_other_took_it_away_is_not_had() {
    let two = Two::new().await;
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    two.one.answers(move |_| {
        let mut response = text("", &[("cache-control", "max-age=60")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        response
    });
    let response = two.one.call(get("/a", &[])).await;
    two.other.send(send("POST", "/a")).await;
    settle().await;
    hand.data("old").end();
    response.into_body().collect().await.unwrap();
    settle().await;
    two.one.says("new", &[]);
    two.one.get("/a").await.is("new");
    two.other.get("/a").await.is("the other's own");
}

#[tokio::test(start_paused = true)]
async fn a_second_level_in_trouble_is_a_miss_and_never_an_error() {
    let two = Two::new().await;
    store(&two.one, "/a").await;
    for fault in [Fault::LostQuestions, Fault::LostAnswers] {
        two.server.fault(1, fault);
        for _ in 0..10 {
            let seen = two.other.get("/a").await;
            assert_eq!(seen.outcome(), MISS);
            seen.is("the other's own");
        }
        two.server.fault(1, Fault::None);
        pass(10 * SECOND).await;
    }
    two.server.fault(0, Fault::LostQuestions);
    store(&two.one, "/b").await;
    assert_eq!(two.one.get("/b").await.outcome(), HIT, "it goes on alone");
    pass(10 * SECOND).await;
    let seen = two.one.get("/b").await;
    assert_eq!(
        seen.outcome(),
        MISS,
        "nobody knows what has been taken away"
    );
    two.server.fault(0, Fault::None);
    pass(5 * SECOND).await;
    assert_eq!(two.other.get("/a").await.outcome(), REDIS);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_miss_at_once_look_below_once() {
    let two = Two::new().await;
    store(&two.one, "/a").await;
    let all = (0..100).map(|_| two.other.get("/a"));
    let all = join_all(all).await;
    let count = |outcome| all.iter().filter(|seen| seen.outcome() == outcome).count();
    let collapsed = CacheOutcome::Collapsed(Forwarded::UriMiss);
    assert_eq!(count(REDIS) + count(collapsed) + count(HIT), 100);
    assert_eq!(two.other.cache.snapshot().redis_hits, 1);
    assert_eq!(two.other.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_below_is_asked_about() {
    let two = Two::new().await;
    two.one
        .says("old", &[("cache-control", "max-age=10"), ("etag", "\"1\"")]);
    store(&two.one, "/a").await;
    pass(20 * SECOND).await;
    two.other.answers(|request| {
        assert_eq!(request.headers()["if-none-match"], "\"1\"");
        let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
        let mut response = text("", &fields);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    });
    let seen = two.other.get("/a").await;
    seen.is("old");
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    settle().await;
    let calls = two.one.calls();
    let seen = two.one.get("/a").await;
    assert_eq!(seen.outcome(), REDIS, "the other has asked for both");
    assert_eq!(two.one.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn who_wants_only_what_is_stored_gets_it_from_below() {
    let two = Two::new().await;
    store(&two.one, "/a").await;
    let ask = |path, control| two.other.send(get(path, &[("cache-control", control)]));
    assert_eq!(ask("/a", "only-if-cached").await.outcome(), REDIS);
    for (path, control) in [("/b", "only-if-cached"), ("/a", "only-if-cached, no-cache")] {
        let seen = ask(path, control).await;
        assert_eq!(seen.head.status, StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(two.other.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn heads_conditions_and_ranges_are_answered_from_below() {
    let two = Two::new().await;
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
    two.one.says("0123456789", FIELDS);
    for path in ["/head", "/condition", "/range"] {
        store(&two.one, path).await;
    }
    let head = two.other.send(send("HEAD", "/head")).await;
    assert_eq!((head.outcome(), head.field("etag")), (REDIS, "\"1\""));
    head.is("");
    let has = two
        .other
        .send(get("/condition", &[("if-none-match", "\"1\"")]))
        .await;
    assert_eq!(has.head.status, StatusCode::NOT_MODIFIED);
    let part = two
        .other
        .send(get("/range", &[("range", "bytes=2-4")]))
        .await;
    assert_eq!(part.head.status, StatusCode::PARTIAL_CONTENT);
    part.is("234");
    assert_eq!(two.other.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_one_makes_stale_is_there_for_the_other_in_bad_times() {
    let two = Two::new().await;
    two.one
        .says("old", &[("cache-control", "max-age=60, stale-if-error=60")]);
    store(&two.one, "/a").await;
    assert_eq!(two.other.get("/a").await.outcome(), REDIS);
    let target = get("/a", &[]).into_parts().0;
    two.one.layer.purge_target(&target, Depth::Expire);
    settle().await;
    two.other.answers(|_| {
        let mut response = text("", &[]);
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    let seen = two.other.get("/a").await;
    assert_eq!(seen.outcome(), CacheOutcome::Stale);
    seen.is("old");
}

#[tokio::test(start_paused = true)]
async fn what_an_origin_says_of_its_parameters_is_known_to_both() {
    let two = Two::with(|layer| layer.no_vary_search(true)).await;
    two.one.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("no-vary-search", "params=(\"sid\")"),
        ],
    );
    store(&two.one, "/a?x=1&sid=1").await;
    assert_eq!(two.other.get("/a?x=1&sid=2").await.outcome(), REDIS);
    assert_eq!(two.other.get("/a?x=1&sid=3").await.outcome(), HIT);
    assert_eq!(two.other.get("/a?x=2").await.outcome(), MISS);
}

/// It does not know how what is there is found, and so makes nothing stale of it.
#[tokio::test(start_paused = true)]
async fn a_soft_purge_where_the_rule_for_parameters_is_not_known_takes_what_goes_by_it() {
    let two = Two::with(|layer| layer.no_vary_search(true)).await;
    two.one.says(
        "old",
        &[
            ("cache-control", "max-age=60, stale-if-error=60"),
            ("no-vary-search", "params=(\"sid\")"),
        ],
    );
    store(&two.one, "/a?x=1&sid=1").await;
    assert_eq!(two.one.get("/a?x=1&sid=2").await.outcome(), HIT);
    let target = get("/a?x=1&sid=2", &[]).into_parts().0;
    two.other.layer.purge_target(&target, Depth::Expire);
    settle().await;
    two.say("new", &[("cache-control", "max-age=60")]);
    for (test, path) in [(&two.other, "/a?x=1&sid=3"), (&two.one, "/a?x=1&sid=2")] {
        let seen = test.get(path).await;
        assert_eq!(seen.outcome(), MISS);
        seen.is("new");
    }
}

#[tokio::test(start_paused = true)]
async fn each_marks_what_it_sends_as_it_was_told_to() {
    let two = Two::new().await;
    let plain = Test {
        layer: HttpCacheLayer::new(two.other.cache.clone())
            .name("plain")
            .response_extension(),
        ..test()
    };
    store(&two.one, "/a").await;
    for outcome in [REDIS, HIT] {
        let seen = plain.get("/a").await;
        assert_eq!(seen.outcome(), outcome);
        assert_eq!(seen.field("x-cache"), "");
        let line = seen.field("cache-status");
        assert!(line.starts_with("plain; hit; ttl=60"), "{line}");
    }
    store(&plain, "/b").await;
    for (outcome, told) in [(REDIS, "HIT-REDIS"), (HIT, "HIT-MEMORY")] {
        let seen = two.one.get("/b").await;
        assert_eq!((seen.outcome(), seen.field("x-cache")), (outcome, told));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_has_given_what_it_stored() {
    let two = Two::new().await;
    assert_eq!(two.one.get("/a").await.outcome(), MISS);
    assert!(drained(&two.one.cache, SECOND).await);
    drop(two.one);
    assert_eq!(two.other.get("/a").await.outcome(), REDIS);
}

/// RFC 9111, 4: whichever process asks.
#[tokio::test(start_paused = true)]
async fn of_several_that_are_suitable_below_the_most_recent_one_by_date_is_used() {
    const EARLIER: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const LATER: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:38 GMT");
    let two = Two::new().await;
    let plain = [("accept", "a/a"), ("accept-language", "de")];
    let other = [("accept", "a/a"), ("accept-language", "en")];
    const LONG: (&str, &str) = ("cache-control", "max-age=2147483648");
    for (body, date, vary, fields) in [
        ("other", EARLIER, "accept, accept-language", other),
        ("first", LATER, "accept", plain),
        ("second", EARLIER, "accept, accept-language", plain),
    ] {
        let fields = [fields[0], fields[1], ("cache-control", "no-cache")];
        two.one
            .answers(move |_| text(body, &[LONG, date, ("vary", vary)]));
        two.one.send(get("/a", &fields)).await.is(body);
        settle().await;
    }
    let found = two.other.send(get("/a", &plain)).await;
    assert_eq!(found.outcome(), REDIS);
    found.is("first");
}

/// Nobody here hears of it; and nobody is given what may have been taken away.
#[tokio::test(start_paused = true)]
async fn nobody_joins_a_response_that_may_be_older_than_what_others_invalidated() {
    let two = Two::new().await;
    let (_hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    two.one.answers(move |_| {
        let mut response = text("new", &[("cache-control", "max-age=3600")]);
        if let Some(body) = body.lock().unwrap().take() {
            *response.body_mut() = Either::Right(body);
        }
        response
    });
    let streaming = two.one.call(get("/a", &[])).await;
    two.server.fault(0, Fault::LostQuestions);
    pass(2 * SECOND).await;
    let joined = two.one.call(get("/a", &[])).await;
    assert_eq!(two.one.calls(), 1, "it is no older than may be");
    pass(4 * SECOND).await;
    let new = two.one.call(get("/a", &[])).await;
    assert_eq!(two.one.calls(), 2);
    drop((streaming, joined, new));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_invalidated_again_takes_no_place_from_what_is_shared() {
    let two = Two::new().await;
    for n in 0..300 {
        let again = two
            .one
            .cache
            .invalidate([n.to_string()])
            .again_after(60 * SECOND);
        again.await.unwrap();
    }
    two.say("stored", &[("cache-control", "max-age=60")]);
    store(&two.one, "/a").await;
    assert_eq!(two.other.get("/a").await.outcome(), REDIS);
}
