//! RFC 5861, and RFC 9111, section 4.2.4: what is used although it is stale.

use buttress_cache::http::Detached;
use tokio::sync::Semaphore;

use super::*;

const FIELDS: [(&str, &str); 2] = [
    (
        "cache-control",
        "max-age=10, stale-while-revalidate=10, stale-if-error=60",
    ),
    ("etag", "\"1\""),
];

fn failing(status: u16) -> Response<Body> {
    let mut response = text("failed", &[]);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn stored(control: &'static str) -> Test {
    let test = test();
    test.answers(move |_| text("old", &[("cache-control", control)]));
    test.get("/a").await;
    test
}

#[tokio::test(start_paused = true)]
async fn within_its_window_one_asks_anew_and_the_others_get_what_is_stale() {
    let test = stored("max-age=10, stale-while-revalidate=10").await;
    advance(Duration::from_secs(12)).await;
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    test.answers(move |_| {
        let mut response = text("", &[("cache-control", "max-age=10")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().expect("asked once"));
        response
    });
    let leader = test.call(get("/a", &[])).await;
    for _ in 0..10 {
        let seen = test.get("/a").await;
        seen.is("old");
        assert_eq!(seen.outcome(), CacheOutcome::Stale);
        assert_eq!(seen.field("age"), "12");
        assert_eq!(
            seen.field("cache-status"),
            "buttress; hit; ttl=-2; detail=stale-while-revalidate"
        );
    }
    hand.data("new").end();
    assert_eq!(
        leader.into_body().collect().await.unwrap().to_bytes(),
        "new"
    );
    test.get("/a").await.is("new");
    assert_eq!(test.calls(), 2);
    let told = test.cache.snapshot();
    assert_eq!((told.hits, told.misses, told.stale), (11, 2, 10));
}

/// A layer whose refreshes are tasks, and an origin that waits for permits.
struct Slow {
    layer: HttpCacheLayer<Detached>,
    gate: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        Self {
            layer: HttpCacheLayer::new(CachedResponse::cache().build())
                .response_extension()
                .detached(|task| drop(tokio::spawn(task))),
            gate: Arc::new(Semaphore::new(1)),
            calls: Arc::default(),
        }
    }

    async fn get(&self) -> (CacheOutcome, Bytes) {
        self.ask(get("/a", &[])).await
    }

    async fn ask(&self, request: Req) -> (CacheOutcome, Bytes) {
        let (gate, calls) = (Arc::clone(&self.gate), Arc::clone(&self.calls));
        let origin = service_fn(move |_: Req| {
            let gate = Arc::clone(&gate);
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                gate.acquire().await.unwrap().forget();
                let mut response = text("", &FIELDS);
                let body = Full::from(format!("{call}"));
                *response.body_mut() = Either::Left(body);
                Ok::<_, Infallible>(response)
            }
        });
        let response = self.layer.layer(origin).call(request).await.unwrap();
        let outcome = *response.extensions().get().unwrap();
        (
            outcome,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    /// Something stale, and so much kept of what is new.
    async fn stale(max_object: usize) -> Self {
        let mut slow = Self::new();
        // Once a frame is read, nobody joins who has not.
        slow.layer = slow.layer.max_object(max_object).window(0);
        slow.get().await;
        advance(Duration::from_secs(10)).await;
        slow
    }

    /// Asks an origin that has this, which the test sends.
    async fn get_of(&self, body: HandBody, fields: &[(&str, &str)]) -> CacheOutcome {
        let mut response = text("", fields);
        *response.body_mut() = Either::Right(body);
        let (calls, new) = (self.calls.clone(), Arc::new(Mutex::new(Some(response))));
        let origin = service_fn(move |_: Req| {
            calls.fetch_add(1, Ordering::SeqCst);
            let response = new.lock().unwrap().take().unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let response = self.layer.layer(origin).call(get("/a", &[])).await;
        *response.unwrap().extensions().get().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_background_there_is_one_refresh_and_nobody_waits_for_it() {
    let slow = Slow::new();
    slow.get().await;
    advance(Duration::from_secs(10)).await;
    for _ in 0..10 {
        let (outcome, body) = slow.get().await;
        assert_eq!((outcome, &*body), (CacheOutcome::Stale, &b"0"[..]));
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.calls.load(Ordering::SeqCst), 2);
    assert_eq!(slow.layer.tasks().running(), 1);
    slow.gate.add_permits(1);
    slow.layer.tasks().drain().await;
    let (outcome, body) = slow.get().await;
    assert_eq!((outcome, &*body), (CacheOutcome::Hit, &b"1"[..]));
}

#[tokio::test(start_paused = true)]
async fn after_its_window_everybody_waits_for_what_is_new() {
    let slow = Slow::new();
    slow.get().await;
    advance(Duration::from_secs(20)).await;
    slow.gate.add_permits(1);
    let (outcome, body) = slow.get().await;
    assert_eq!(outcome, CacheOutcome::Forwarded(Forwarded::Stale));
    assert_eq!(body, "1");
}

#[tokio::test(start_paused = true)]
async fn a_failing_origin_leaves_what_is_stale_within_its_window() {
    let test = stored("max-age=10, stale-if-error=20").await;
    advance(Duration::from_secs(29)).await;
    for status in [500, 502, 503, 504] {
        test.answers(move |_| failing(status));
        let seen = test.get("/a").await;
        seen.is("old");
        assert_eq!(seen.head.status, StatusCode::OK);
        assert_eq!(seen.outcome(), CacheOutcome::Stale);
        let expected =
            format!("buttress; fwd=stale; fwd-status={status}; ttl=-19; detail=stale-if-error");
        assert_eq!(seen.field("cache-status"), expected);
    }
    for status in [501, 404, 400] {
        test.answers(move |_| failing(status));
        assert_eq!(test.get("/a").await.head.status, status);
    }
    advance(Duration::from_secs(1)).await;
    test.answers(|_| failing(503));
    let seen = test.get("/a").await;
    assert_eq!(seen.head.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_directive_that_forbids_it_is_stronger_than_what_was_chosen() {
    let allow = |layer: HttpCacheLayer| {
        let window = Duration::from_secs(60);
        layer.stale_if_error(window).stale_while_revalidate(window)
    };
    for (control, expected) in [
        ("max-age=10", true),
        ("max-age=10, must-revalidate", false),
        ("max-age=10, proxy-revalidate", false),
        ("s-maxage=10", false),
        (
            "max-age=10, stale-if-error=0, stale-while-revalidate=0",
            false,
        ),
    ] {
        let test = with(allow);
        test.answers(move |_| text("old", &[("cache-control", control)]));
        test.get("/a").await;
        advance(Duration::from_secs(11)).await;
        test.answers(|_| failing(503));
        let seen = test.get("/a").await;
        assert_eq!(seen.head.status == StatusCode::OK, expected, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_meanwhile_is_not_used() {
    let test = stored("max-age=10, stale-if-error=60").await;
    advance(Duration::from_secs(10)).await;
    let cache = test.cache.clone();
    test.answers(move |_| {
        cache.clear().now();
        failing(503)
    });
    assert_eq!(
        test.get("/a").await.head.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_leaves_what_is_stale_and_is_an_error_without_it() {
    let test = stored("max-age=10, stale-if-error=60").await;
    advance(Duration::from_secs(10)).await;
    let broken = service_fn(|_: Req| std::future::ready(Err::<Response<Body>, _>(Broken)));
    let mut service = test.layer.layer(broken);
    let response = service.call(get("/a", &[])).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&CacheOutcome::Stale));
    assert!(service.call(get("/b", &[])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_may_take_it_stale() {
    let test = stored("max-age=10").await;
    advance(Duration::from_secs(15)).await;
    let seen = test
        .send(get("/a", &[("cache-control", "max-stale=5")]))
        .await;
    assert_eq!(seen.outcome(), CacheOutcome::Hit);
    assert_eq!(
        seen.field("cache-status"),
        "buttress; hit; ttl=-5; detail=max-stale"
    );
    let only = [("cache-control", "max-stale=5, only-if-cached")];
    assert_eq!(
        test.send(get("/a", &only)).await.outcome(),
        CacheOutcome::Hit
    );
    advance(Duration::from_secs(1)).await;
    let refused = test.send(get("/a", &only)).await;
    assert_eq!(refused.head.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_reads_only_what_is_kept() {
    let slow = Slow::new();
    slow.get().await;
    advance(Duration::from_secs(10)).await;
    let (hand, body) = hand_body();
    let body = Arc::new(Mutex::new(Some(body)));
    let endless = service_fn(move |_: Req| {
        let mut response = text("", &[("cache-control", "no-store")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut service = slow.layer.layer(endless);
    let stale = service.call(get("/a", &[])).await.unwrap();
    assert_eq!(stale.extensions().get(), Some(&CacheOutcome::Stale));
    slow.layer.tasks().drain().await;
    assert!(hand.is_dropped() && hand.polls() == 0);
}

#[tokio::test(start_paused = true)]
async fn who_wants_only_what_is_stored_asks_nobody() {
    let test = stored("max-age=10, stale-while-revalidate=10").await;
    advance(Duration::from_secs(12)).await;
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(
        test.send(get("/a", &only)).await.outcome(),
        CacheOutcome::Stale
    );
    assert_eq!(test.calls(), 1);
}

/// Whoever asks, and however: what is stored is one thing.
#[tokio::test(start_paused = true)]
async fn there_is_one_refresh_of_one_response_whoever_asks() {
    let slow = Slow::new();
    slow.get().await;
    advance(Duration::from_secs(10)).await;
    let asked = [
        &[("accept-language", "de")][..],
        &[("accept-language", "fr")],
        &[("cookie", "sid=1")],
        &[("authorization", "a")],
        &[],
    ];
    for fields in asked {
        let (outcome, _) = slow.ask(get("/a", fields)).await;
        assert_eq!(outcome, CacheOutcome::Stale, "{fields:?}");
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn who_brings_nothing_that_can_be_stored_refreshes_nothing() {
    let slow = Slow::new();
    slow.get().await;
    advance(Duration::from_secs(10)).await;
    let mut head = get("/a", &[]);
    *head.method_mut() = ::http::Method::HEAD;
    for request in [
        head,
        get("/a", &[("cache-control", "no-store")]),
        get("/a", &[("cache-control", "only-if-cached")]),
    ] {
        assert_eq!(slow.ask(request).await.0, CacheOutcome::Stale);
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.calls.load(Ordering::SeqCst), 1);
    slow.gate.add_permits(1);
    // What somebody with a cookie gets is his own: he is not asked to bring it again, and another one may.
    let own = || get("/a", &[("cookie", "sid=1")]);
    for request in [own(), own(), get("/a", &[])] {
        assert_eq!(slow.ask(request).await.0, CacheOutcome::Stale);
        tokio::task::yield_now().await;
        slow.gate.add_permits(1);
        slow.layer.tasks().drain().await;
    }
    assert_eq!(slow.calls.load(Ordering::SeqCst), 3);
    let (outcome, body) = slow.get().await;
    assert_eq!((outcome, &*body), (CacheOutcome::Hit, &b"2"[..]));
}

/// Also where each use but this one is to be validated.
#[tokio::test(start_paused = true)]
async fn what_was_stale_from_the_start_is_refreshed_too() {
    let test = test();
    let fields = [
        ("cache-control", "max-age=10, stale-while-revalidate=60"),
        ("age", "20"),
    ];
    test.answers(move |_| text("old", &fields));
    test.get("/a").await;
    test.says("new", &[("cache-control", "max-age=10")]);
    test.get("/a").await.is("new");
    assert_eq!(test.get("/a").await.outcome(), CacheOutcome::Hit);
}

/// Or whoever comes while it is stale would bring it once more.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_be_kept_or_breaks_is_brought_once_for_many() {
    for control in ["max-age=10", "no-cache"] {
        for (length, breaks) in [(Some("10"), false), (None, false), (None, true)] {
            let slow = Slow::stale(if breaks { 100 } else { 8 }).await;
            let mut fields = vec![("cache-control", control), ("etag", "\"2\"")];
            fields.extend(length.map(|length| ("content-length", length)));
            for _ in 0..10 {
                let (hand, body) = hand_body();
                hand.data("large").data("large");
                if breaks {
                    hand.fail();
                } else {
                    hand.end();
                }
                assert_eq!(slow.get_of(body, &fields).await, CacheOutcome::Stale);
                slow.layer.tasks().drain().await;
            }
            let calls = slow.calls.load(Ordering::SeqCst);
            assert_eq!(calls, 2, "{fields:?} {breaks}");
        }
    }
}

/// Also when its start is gone, and nobody can join it any more.
#[tokio::test(start_paused = true)]
async fn a_refresh_is_the_only_one_until_its_body_has_ended() {
    for control in ["max-age=10", "no-cache"] {
        let fields = [("cache-control", control), ("etag", "\"2\"")];
        let slow = Slow::stale(100).await;
        let (hand, body) = hand_body();
        hand.data("n");
        assert_eq!(slow.get_of(body, &fields).await, CacheOutcome::Stale);
        for part in ["e", "w"] {
            tokio::task::yield_now().await;
            hand.data(part);
            tokio::task::yield_now().await;
            let (_other, body) = hand_body();
            assert_eq!(slow.get_of(body, &fields).await, CacheOutcome::Stale);
        }
        assert_eq!(slow.calls.load(Ordering::SeqCst), 2, "{control}");
        assert_eq!(slow.layer.tasks().running(), 1);
        hand.end();
        slow.layer.tasks().drain().await;
        if control == "max-age=10" {
            let (outcome, body) = slow.get().await;
            assert_eq!((outcome, &*body), (CacheOutcome::Hit, &b"new"[..]));
        }
    }
}
