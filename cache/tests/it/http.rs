use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use buttress_cache::Cache;
use buttress_cache::http::{
    CacheBody, CacheInvalidate, CacheOutcome, CacheTags, CachedResponse, Forwarded, HttpCacheLayer,
};
use buttress_dedup::http::DedupLayer;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty, Full};
use testkit::body::{Hand, HandBody, by_hand};
use tokio::time::advance;
use tower::{Layer, Service, service_fn};

mod choosing;
mod collapse;
mod document;
mod range;
#[cfg(feature = "redis")]
mod redis;
mod rules;
#[cfg(feature = "test-util")]
mod shared;
mod stale;
mod taking;
mod validation;

type Req = Request<Empty<Bytes>>;
type Body = Either<Full<bytes::Bytes>, HandBody>;
type Answer = Box<dyn Fn(&Req) -> Response<Body> + Send>;

/// An origin whose answer the test changes, behind the layer.
struct Test {
    layer: HttpCacheLayer,
    cache: Cache<CachedResponse>,
    answer: Arc<Mutex<Answer>>,
    calls: Arc<AtomicUsize>,
}

fn test() -> Test {
    with(|layer| layer)
}

fn with(set: impl FnOnce(HttpCacheLayer) -> HttpCacheLayer) -> Test {
    with_cache(CachedResponse::cache().build(), set)
}

fn with_cache(
    cache: Cache<CachedResponse>,
    set: impl FnOnce(HttpCacheLayer) -> HttpCacheLayer,
) -> Test {
    let answer: Answer = Box::new(|_| text("fresh", &[("cache-control", "max-age=60")]));
    Test {
        layer: set(HttpCacheLayer::new(cache.clone()).response_extension()),
        cache,
        answer: Arc::new(Mutex::new(answer)),
        calls: Arc::default(),
    }
}

fn text(body: &'static str, fields: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Either::Left(Full::from(body))).unwrap()
}

/// A response as its client sees it.
#[derive(Debug)]
struct Seen {
    head: ::http::response::Parts,
    body: Result<bytes::Bytes, String>,
}

impl Seen {
    fn outcome(&self) -> CacheOutcome {
        *self.head.extensions.get().unwrap()
    }

    fn field(&self, name: &str) -> &str {
        self.head
            .headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, body: &str) {
        assert_eq!(self.body.as_ref().unwrap(), body);
    }
}

const MISS: CacheOutcome = CacheOutcome::Forwarded(Forwarded::UriMiss);

impl Test {
    fn answers(&self, answer: impl Fn(&Req) -> Response<Body> + Send + 'static) -> &Self {
        *self.answer.lock().unwrap() = Box::new(answer);
        self
    }

    fn says(&self, body: &'static str, fields: &'static [(&str, &str)]) -> &Self {
        self.answers(move |_| text(body, fields))
    }

    async fn call(&self, request: Req) -> Response<CacheBody<Body>> {
        let (answer, calls) = (Arc::clone(&self.answer), Arc::clone(&self.calls));
        let origin = service_fn(move |request: Req| {
            calls.fetch_add(1, Ordering::SeqCst);
            let response = answer.lock().unwrap()(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        self.layer.layer(origin).call(request).await.unwrap()
    }

    async fn send(&self, request: Req) -> Seen {
        let (head, body) = self.call(request).await.into_parts();
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .map_err(|e| e.to_string());
        Seen { head, body }
    }

    async fn get(&self, path: &str) -> Seen {
        self.send(get(path, &[])).await
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn get(path: &str, fields: &[(&str, &str)]) -> Req {
    let mut request = Request::get(path).header("host", "shop");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fresh_response_is_served_again_with_its_age_until_it_is_stale() {
    let test = with(|layer| layer.name("shop").x_cache(true));
    let first = test.get("/a").await;
    assert_eq!(first.outcome(), MISS);
    assert_eq!(first.field("cache-status"), "shop; fwd=uri-miss; stored");
    assert_eq!(first.field("x-cache"), "MISS");
    for (passed, age, line) in [
        (0, "0", "shop; hit; ttl=60"),
        (58, "58", "shop; hit; ttl=2"),
        (0, "58", "shop; hit; ttl=2"),
    ] {
        advance(Duration::from_secs(passed)).await;
        let hit = test.get("/a").await;
        assert_eq!((hit.field("age"), hit.field("cache-status")), (age, line));
    }
    advance(Duration::from_secs(1)).await;
    let hit = test.get("/a").await;
    hit.is("fresh");
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    assert_eq!(hit.field("age"), "59");
    assert_eq!(hit.field("cache-status"), "shop; hit; ttl=1");
    assert_eq!(hit.field("x-cache"), "HIT-MEMORY");
    assert_eq!(test.calls(), 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(
        test.get("/a").await.outcome(),
        CacheOutcome::Forwarded(Forwarded::Stale)
    );
}

#[tokio::test]
async fn another_path_query_or_host_is_another_response() {
    let test = test();
    for path in ["/a", "/a?page=1", "/a?page=2", "/b"] {
        assert_eq!(test.get(path).await.outcome(), MISS);
    }
    let other = Request::get("/a")
        .header("host", "other")
        .body(Empty::new())
        .unwrap();
    assert_eq!(test.send(other).await.outcome(), MISS);
    assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Hit);
}

#[tokio::test]
async fn variants_are_kept_apart_by_the_fields_they_vary_by() {
    let test = test();
    test.answers(|request| {
        let german = request
            .headers()
            .get("accept-language")
            .is_some_and(|l| l == "de");
        let fields = [("cache-control", "max-age=60"), ("vary", "Accept-Language")];
        text(if german { "Hallo" } else { "Hello" }, &fields)
    });
    let ask = |language: &'static str| test.send(get("/a", &[("accept-language", language)]));
    ask("de").await.is("Hallo");
    let english = ask("en").await;
    english.is("Hello");
    assert_eq!(
        english.outcome(),
        CacheOutcome::Forwarded(Forwarded::VaryMiss)
    );
    for (language, greeting) in [("de", "Hallo"), ("en", "Hello")] {
        let hit = ask(language).await;
        assert_eq!(hit.outcome(), CacheOutcome::Hit);
        hit.is(greeting);
    }
    assert_eq!(test.calls(), 2);
    let snapshot = test.cache.snapshot();
    assert_eq!(
        (snapshot.hits, snapshot.misses),
        (2, 2),
        "one event per request"
    );
}

#[tokio::test]
async fn removing_a_target_removes_all_its_variants() {
    let test = test();
    test.says("x", &[("cache-control", "max-age=60"), ("vary", "accept")]);
    for accept in ["a/a", "b/b"] {
        test.send(get("/a", &[("accept", accept)])).await;
    }
    test.send(
        Request::put("/a")
            .header("host", "shop")
            .body(Empty::new())
            .unwrap(),
    )
    .await;
    for accept in ["a/a", "b/b"] {
        let seen = test.send(get("/a", &[("accept", accept)])).await;
        assert_ne!(seen.outcome(), CacheOutcome::Hit);
    }
}

/// Also one that nobody could find for a while, since the target was stored anew without it.
#[tokio::test]
async fn a_variant_that_was_removed_with_its_target_does_not_come_back() {
    let test = test();
    let ask = |accept: &'static str| test.send(get("/a", &[("accept", accept)]));
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept")];
    test.says("old", FIELDS);
    for accept in ["a/a", "b/b"] {
        ask(accept).await.is("old");
    }
    let put = Request::put("/a").header("host", "shop");
    test.send(put.body(Empty::new()).unwrap()).await;
    test.says("new", FIELDS);
    for accept in ["a/a", "c/c", "b/b"] {
        ask(accept).await.is("new");
    }
}

#[tokio::test]
async fn what_is_private_is_not_stored() {
    let test = test();
    for fields in [
        &[("cache-control", "max-age=60, private")][..],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=60"), ("set-cookie", "a=1")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
    ] {
        test.answers(move |_| text("secret", fields));
        for _ in 0..2 {
            let seen = test.get("/a").await;
            assert_eq!(seen.outcome(), MISS, "{fields:?}");
            assert!(!seen.field("cache-status").contains("stored"));
        }
    }
}

#[tokio::test]
async fn an_authorized_response_is_not_given_to_others() {
    let test = test();
    let bearer = [("authorization", "Bearer alice")];
    test.send(get("/a", &bearer)).await;
    assert_eq!(test.get("/a").await.outcome(), MISS);
}

#[tokio::test]
async fn tenants_do_not_meet() {
    let test = with(|layer| {
        layer.partition(|parts| {
            Cow::Borrowed(
                parts
                    .headers
                    .get("x-tenant")
                    .map_or(&[][..], |t| t.as_bytes()),
            )
        })
    });
    let ask = |tenant: &'static str| test.send(get("/a", &[("x-tenant", tenant)]));
    assert_eq!(ask("a").await.outcome(), MISS);
    assert_eq!(ask("b").await.outcome(), MISS);
    assert_eq!(ask("a").await.outcome(), CacheOutcome::Hit);
}

#[tokio::test]
async fn tags_from_a_handler_invalidate_what_has_them_and_nothing_else() {
    let test = test();
    test.answers(|request| {
        let mut response = text("page", &[("cache-control", "max-age=60")]);
        let tag = format!("product:{}", request.uri().path());
        response
            .extensions_mut()
            .insert(CacheTags::from_iter([tag]));
        response
    });
    test.get("/1").await;
    test.get("/2").await;
    test.answers(|_| {
        let mut response = text("changed", &[]);
        response
            .extensions_mut()
            .insert(CacheInvalidate::from_iter(["product:/1"]));
        response
    });
    test.send(
        Request::post("/products")
            .header("host", "shop")
            .body(Empty::new())
            .unwrap(),
    )
    .await;
    test.says("new", &[]);
    test.get("/1").await.is("new");
    test.get("/2").await.is("page");
    test.cache.invalidate(["product:/2"]).now();
    test.get("/2").await.is("new");
}

#[tokio::test]
async fn a_response_that_was_under_way_while_its_tag_was_invalidated_is_not_served() {
    let test = test();
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    test.answers(move |_| {
        let mut response = text("", &[("cache-control", "max-age=60")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        response
            .extensions_mut()
            .insert(CacheTags::from_iter(["t"]));
        response
    });
    let response = test.call(get("/a", &[])).await;
    test.cache.invalidate(["t"]).now();
    hand.data("old").end();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "old"
    );
    test.says("new", &[]);
    test.get("/a").await.is("new");
}

fn hand_body() -> (Hand, HandBody) {
    let (body, hand) = by_hand();
    (hand, body)
}

#[tokio::test]
async fn an_unsafe_request_takes_its_target_and_what_it_names() {
    let test = test();
    let warm = async || {
        test.says("old", &[("cache-control", "max-age=60")]);
        for path in ["/orders", "/orders/7", "/other"] {
            test.get(path).await;
        }
    };
    let post = || {
        test.send(
            Request::post("/orders")
                .header("host", "shop")
                .body(Empty::new())
                .unwrap(),
        )
    };
    warm().await;
    test.says(
        "",
        &[
            ("location", "/orders/7"),
            ("content-location", "http://elsewhere/other"),
        ],
    );
    post().await;
    test.says("new", &[]);
    test.get("/orders").await.is("new");
    test.get("/orders/7").await.is("new");
    test.get("/other").await.is("old");

    warm().await;
    test.answers(|_| {
        let mut response = text("", &[]);
        *response.status_mut() = StatusCode::CONFLICT;
        response
    });
    post().await;
    test.get("/orders").await.is("old");
}

#[tokio::test]
async fn a_client_that_has_it_gets_a_304_from_the_store() {
    let test = test();
    test.says(
        "body",
        &[
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("content-type", "a/b"),
        ],
    );
    test.get("/a").await;
    let seen = test.send(get("/a", &[("if-none-match", "W/\"1\"")])).await;
    assert_eq!(seen.head.status, StatusCode::NOT_MODIFIED);
    assert_eq!(
        (seen.field("etag"), seen.field("content-type")),
        ("\"1\"", "")
    );
    seen.is("");
    let seen = test.send(get("/a", &[("if-none-match", "\"2\"")])).await;
    assert_eq!(seen.head.status, StatusCode::OK);
    seen.is("body");
    assert_eq!(test.calls(), 1);
}

#[tokio::test]
async fn head_is_answered_from_get() {
    let test = test();
    test.says(
        "body",
        &[("cache-control", "max-age=60"), ("content-length", "4")],
    );
    test.get("/a").await;
    let head = Request::head("/a")
        .header("host", "shop")
        .body(Empty::new())
        .unwrap();
    let seen = test.send(head).await;
    assert_eq!(seen.outcome(), CacheOutcome::Hit);
    assert_eq!(seen.field("content-length"), "4");
    seen.is("");
}

/// A server that sees an empty body, and no length, says that it is none.
#[tokio::test]
async fn head_tells_the_length_of_what_is_stored_though_nobody_has_said_it() {
    let test = test();
    test.says("body", &[("cache-control", "max-age=60")]);
    test.get("/a").await;
    for fields in [&[][..], &[("range", "bytes=0-1")]] {
        let mut head = get("/a", fields);
        *head.method_mut() = http::Method::HEAD;
        let seen = test.send(head).await;
        assert_eq!(seen.outcome(), CacheOutcome::Hit);
        assert_eq!(seen.field("content-length"), "4");
        seen.is("");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_want_it_fresher_or_only_from_the_store() {
    let test = test();
    let only = [("cache-control", "only-if-cached")];
    let refused = test.send(get("/a", &only)).await;
    assert_eq!(refused.head.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(test.calls(), 0);
    test.get("/a").await;
    assert_eq!(
        test.send(get("/a", &only)).await.outcome(),
        CacheOutcome::Hit
    );
    advance(Duration::from_secs(10)).await;
    let seen = test
        .send(get("/a", &[("cache-control", "max-age=5")]))
        .await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Request));
    assert_eq!(
        test.get("/a").await.field("age"),
        "0",
        "and the newer one was stored"
    );
    let seen = test.send(get("/a", &[("pragma", "no-cache")])).await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Request));
}

#[tokio::test]
async fn a_body_streams_while_it_is_stored_and_a_broken_one_is_not() {
    let test = test();
    for broken in [true, false] {
        let (hand, body) = hand_body();
        let body = Mutex::new(Some(body));
        test.answers(move |_| {
            let mut response = text("", &[("cache-control", "max-age=60")]);
            *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
            response
        });
        let mut body = test.call(get("/a", &[])).await.into_body();
        hand.data("first");
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(
            frame.into_data().unwrap(),
            "first",
            "before the body has ended"
        );
        if broken {
            hand.fail();
            assert!(body.frame().await.unwrap().is_err());
        } else {
            hand.data(" second").end();
            assert!(body.collect().await.is_ok());
        }
    }
    test.says("never asked", &[]);
    test.get("/a").await.is("first second");
}

#[tokio::test]
async fn a_body_cut_short_of_its_length_is_not_stored() {
    let test = test();
    test.says(
        "cut",
        &[("cache-control", "max-age=60"), ("content-length", "10")],
    );
    test.get("/a").await;
    assert_eq!(test.get("/a").await.outcome(), MISS);
}

#[tokio::test]
async fn what_is_too_large_streams_by() {
    let test = with(|layer| layer.max_object(4));
    test.get("/a").await.is("fresh");
    assert_eq!(test.get("/a").await.outcome(), MISS);
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_said_to_be_stored() {
    const LARGE: &str = match std::str::from_utf8(&[b'x'; 20_000]) {
        Ok(large) => large,
        Err(_) => unreachable!(),
    };
    let cache = CachedResponse::cache().max_weight(10_000).build();
    for test in [
        with_cache(cache.clone(), |layer| layer),
        with_cache(cache.clone(), |layer| layer.max_object(usize::MAX)),
    ] {
        test.says(
            LARGE,
            &[("cache-control", "max-age=60"), ("content-length", "20000")],
        );
        let seen = test.get("/a").await;
        assert_eq!(seen.field("cache-status"), "buttress; fwd=uri-miss");
        seen.is(LARGE);
        assert_eq!(test.get("/a").await.outcome(), MISS);
    }
}

#[tokio::test]
async fn no_field_of_one_connection_is_stored_and_repeated_fields_are() {
    let test = test();
    test.says(
        "x",
        &[
            ("cache-control", "max-age=60"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("link", "<a>"),
            ("link", "<b>"),
        ],
    );
    test.get("/a").await;
    let hit = test.get("/a").await;
    assert_eq!((hit.field("connection"), hit.field("x-hop")), ("", ""));
    let links: Vec<_> = hit.head.headers.get_all("link").iter().collect();
    assert_eq!(links, ["<a>", "<b>"]);
}

#[tokio::test]
async fn a_range_passes_and_is_not_stored() {
    let test = test();
    for _ in 0..2 {
        test.answers(|_| {
            let fields = [
                ("cache-control", "max-age=60"),
                ("content-range", "bytes 0-1/5"),
            ];
            let mut response = text("fr", &fields);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response
        });
        let seen = test.send(get("/a", &[("range", "bytes=0-1")])).await;
        assert_eq!(seen.outcome(), MISS);
    }
}

/// The order of ARCHITECTURE.md: the cache outside, single flight inside.
async fn through_both(
    layer: &HttpCacheLayer,
    dedup: &DedupLayer<Full<Bytes>>,
    gate: &Arc<tokio::sync::Semaphore>,
    body: &'static str,
) -> Response<CacheBody<buttress_dedup::http::DedupBody<Full<Bytes>>>> {
    let gate = Arc::clone(gate);
    let origin = service_fn(move |_: Req| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            let mut response = Response::new(Full::from(body));
            response
                .headers_mut()
                .insert("cache-control", "max-age=60".parse().unwrap());
            response
                .extensions_mut()
                .insert(CacheTags::from_iter(["t"]));
            Ok::<_, Infallible>(response)
        }
    });
    layer
        .layer(dedup.layer(origin))
        .call(get("/a", &[]))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_joined_inside_is_not_stored_and_cannot_outlive_an_invalidation() {
    let cache = CachedResponse::cache().build();
    let layer = HttpCacheLayer::new(cache.clone()).collapse(false);
    let dedup = DedupLayer::http();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let leader = through_both(&layer, &dedup, &gate, "old");
    // It begins after the invalidation, and joins a flight from before it.
    let follower = async {
        tokio::task::yield_now().await;
        cache.invalidate(["t"]).now();
        through_both(&layer, &dedup, &gate, "never asked").await
    };
    let open = async {
        while dedup.snapshot().waiters == 0 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (leader, follower, ()) = tokio::join!(leader, follower, open);
    for response in [follower, leader] {
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "old"
        );
    }
    gate.add_permits(1);
    let after = through_both(&layer, &dedup, &gate, "new").await;
    assert_eq!(after.into_body().collect().await.unwrap().to_bytes(), "new");
}

#[tokio::test]
async fn an_unsafe_call_whose_end_nobody_sees_takes_its_target() {
    let test = test();
    test.get("/a").await;
    let pending = service_fn(|_: Req| std::future::pending::<Result<Response<Body>, Infallible>>());
    let put = Request::put("/a")
        .header("host", "shop")
        .body(Empty::new())
        .unwrap();
    let mut call = tokio_test::task::spawn(test.layer.layer(pending).call(put));
    assert!(call.poll().is_pending());
    assert!(
        test.get("/a").await.outcome() == CacheOutcome::Hit,
        "it has not ended"
    );
    drop(call);
    assert_eq!(test.get("/a").await.outcome(), MISS);
}

#[tokio::test]
async fn an_unsafe_request_by_another_protocol_version_takes_the_same_target() {
    let test = test();
    for put in ["http://Shop/a", "https://shop:443/a", "http://shop:80/a"] {
        test.get("/a").await;
        test.send(Request::put(put).body(Empty::new()).unwrap())
            .await;
        assert_eq!(test.get("/a").await.outcome(), MISS, "{put}");
    }
}

#[tokio::test]
async fn conditions_are_about_success_alone() {
    let test = test();
    test.answers(|_| {
        let fields = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
        let mut response = text("gone", &fields);
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    });
    test.get("/a").await;
    let seen = test.send(get("/a", &[("if-none-match", "*")])).await;
    assert_eq!(
        (seen.outcome(), seen.head.status),
        (CacheOutcome::Hit, StatusCode::NOT_FOUND)
    );
}

#[tokio::test]
async fn a_session_is_not_given_to_others() {
    let test = test();
    test.send(get("/me", &[("cookie", "session=alice")])).await;
    assert_eq!(
        test.send(get("/me", &[("cookie", "session=bob")]))
            .await
            .outcome(),
        MISS
    );
}
