//! Requests for the same at the same time.

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::*;

/// An origin that waits for a permit per call, behind the layer.
struct Gated {
    layer: HttpCacheLayer,
    gate: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Gated {
    fn new(answer: impl Fn(&Req) -> Response<Body> + Send + 'static) -> Self {
        let cache = CachedResponse::cache().build();
        Self {
            layer: HttpCacheLayer::new(cache).response_extension(),
            gate: Arc::new(Semaphore::new(0)),
            calls: Arc::default(),
            answer: Arc::new(Mutex::new(Box::new(answer))),
        }
    }

    fn call(&self, request: Req) -> impl Future<Output = Response<CacheBody<Body>>> + use<> {
        let (gate, calls) = (Arc::clone(&self.gate), Arc::clone(&self.calls));
        let answer = Arc::clone(&self.answer);
        let origin = service_fn(move |request: Req| {
            let (gate, answer) = (Arc::clone(&gate), Arc::clone(&answer));
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                gate.acquire().await.unwrap().forget();
                let response = answer.lock().unwrap()(&request);
                Ok::<_, Infallible>(response)
            }
        });
        let call = self.layer.layer(origin).call(request);
        async { call.await.unwrap() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn read(response: Response<CacheBody<Body>>) -> (CacheOutcome, Bytes) {
    let outcome = *response.extensions().get().unwrap();
    (
        outcome,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

/// Lets everybody who can go on do so.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

const COLLAPSED: CacheOutcome = CacheOutcome::Collapsed(Forwarded::UriMiss);

type Work = Box<dyn FnOnce() + Send>;

/// A hook of the one runs the other, from its beginning to its end, after the one has looked and before it leads.
#[tokio::test]
async fn what_was_stored_between_a_look_and_a_lead_is_found() {
    let between = Arc::new(Mutex::new(None::<Work>));
    let mut gated = Gated::new(|_| text("once", &[("cache-control", "max-age=60")]));
    let hook = Arc::clone(&between);
    gated.layer = gated.layer.normalize(move |_, _| {
        let work = hook.lock().unwrap().take();
        work.into_iter().for_each(|work| work());
        None
    });
    gated.gate.add_permits(2);
    let gated = Arc::new(gated);
    let other = Arc::clone(&gated);
    *between.lock().unwrap() = Some(Box::new(move || {
        let call = other.call(get("/a", &[]));
        let whole = async { read(call.await).await }.now_or_never();
        assert_eq!(whole.expect("nothing waits").1, "once");
    }));
    let (outcome, body) = read(gated.call(get("/a", &[])).await).await;
    assert_eq!((outcome, &body[..]), (COLLAPSED, &b"once"[..]));
    assert_eq!(gated.calls(), 1);
}

#[tokio::test]
async fn a_thousand_misses_are_one_request() {
    let gated = Gated::new(|_| text("once", &[("cache-control", "max-age=60")]));
    let all = tokio::spawn(join_all((0..1000).map(|_| {
        let call = gated.call(get("/a", &[]));
        async move { read(call.await).await }
    })));
    settle().await;
    gated.gate.add_permits(1);
    let all = all.await.unwrap();
    assert_eq!(gated.calls(), 1);
    assert!(all.iter().all(|(_, body)| body == "once"));
    assert_eq!(
        all.iter()
            .filter(|(outcome, _)| *outcome == COLLAPSED)
            .count(),
        999
    );
    let (outcome, _) = read(gated.call(get("/a", &[])).await).await;
    assert_eq!(outcome, CacheOutcome::Hit);
}

#[tokio::test(start_paused = true)]
async fn followers_read_as_the_leader_does_and_newcomers_from_the_start() {
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    let gated = Gated::new(move |_| {
        let mut response = text("", &[("cache-control", "max-age=60"), ("age", "5")]);
        *response.body_mut() = Either::Right(body.lock().unwrap().take().unwrap());
        response
    });
    let follower = tokio::spawn({
        let (leader, follower) = (gated.call(get("/a", &[])), gated.call(get("/a", &[])));
        async { tokio::join!(leader, follower) }
    });
    settle().await;
    gated.gate.add_permits(1);
    let (leader, follower) = follower.await.unwrap();
    assert_eq!(follower.headers()["age"], "5");
    assert_eq!(
        follower.headers()["cache-status"],
        "buttress; fwd=uri-miss; collapsed"
    );
    let (mut leader, mut follower) = (leader.into_body(), follower.into_body());
    hand.data("first ");
    for body in [&mut leader, &mut follower] {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "first ");
    }
    let newcomer = gated.call(get("/a", &[])).await;
    // The leader goes; the others go on.
    drop(leader);
    hand.data("second").end();
    assert_eq!(follower.collect().await.unwrap().to_bytes(), "second");
    let (outcome, body) = read(newcomer).await;
    assert_eq!((outcome, &*body), (COLLAPSED, &b"first second"[..]));
    let (outcome, body) = read(gated.call(get("/a", &[])).await).await;
    assert_eq!((outcome, &*body), (CacheOutcome::Hit, &b"first second"[..]));
    assert_eq!(gated.calls(), 1);
}

#[tokio::test]
async fn what_cannot_be_shared_releases_all_at_once_and_is_remembered() {
    for fields in [
        &[("cache-control", "private")][..],
        &[("cache-control", "no-store")],
        &[("set-cookie", "a=1"), ("cache-control", "max-age=60")],
        &[("cache-control", "no-cache"), ("etag", "\"1\"")],
    ] {
        let gated = Gated::new(move |_| text("own", fields));
        let all = tokio::spawn(join_all((0..10).map(|_| gated.call(get("/a", &[])))));
        settle().await;
        assert_eq!(gated.calls(), 1);
        gated.gate.add_permits(1);
        settle().await;
        assert_eq!(
            gated.calls(),
            10,
            "nobody waits for the next one: {fields:?}"
        );
        gated.gate.add_permits(9);
        all.await.unwrap();
        let two = tokio::spawn(join_all((0..2).map(|_| gated.call(get("/a", &[])))));
        settle().await;
        assert_eq!(gated.calls(), 12, "nor now: {fields:?}");
        two.abort();
    }
}

#[tokio::test]
async fn nobody_waits_for_another_variant() {
    let gated = Gated::new(|request| {
        let agent = request.headers()["user-agent"].to_str().unwrap().to_owned();
        let fields = [("cache-control", "max-age=60"), ("vary", "user-agent")];
        let mut response = text("", &fields);
        *response.body_mut() = Either::Left(Full::from(agent));
        response
    });
    // What usually makes a variant is told apart from the start.
    for encoding in ["gzip", "br"] {
        let request = get("/b", &[("accept-encoding", encoding), ("user-agent", "x")]);
        drop(tokio_test::task::spawn(gated.call(request)).poll());
    }
    assert_eq!(gated.calls(), 2);
    // What does not, as soon as it is known: one request per variant.
    let agents = ["a", "b", "a", "b", "b", "c"];
    let all = tokio::spawn(join_all(agents.map(|agent| {
        let call = gated.call(get("/a", &[("user-agent", agent)]));
        async move { read(call.await).await.1 }
    })));
    settle().await;
    gated.gate.add_permits(1);
    settle().await;
    assert_eq!(gated.calls(), 2 + 3);
    gated.gate.add_permits(2);
    assert_eq!(all.await.unwrap(), agents);
    let before = gated.calls();
    for agent in ["d", "e"] {
        drop(tokio_test::task::spawn(gated.call(get("/a", &[("user-agent", agent)]))).poll());
    }
    assert_eq!(gated.calls(), before + 2, "and from then on at once");
}

#[tokio::test]
async fn a_leader_that_goes_away_is_followed_by_one_of_the_others() {
    let gated = Gated::new(|_| text("once", &[("cache-control", "max-age=60")]));
    let mut leader = tokio_test::task::spawn(gated.call(get("/a", &[])));
    let mut followers: Vec<_> = (0..3)
        .map(|_| tokio_test::task::spawn(gated.call(get("/a", &[]))))
        .collect();
    assert!(leader.poll().is_pending());
    assert!(
        followers
            .iter_mut()
            .all(|follower| follower.poll().is_pending())
    );
    assert_eq!(gated.calls(), 1);
    drop(leader);
    assert_eq!(
        followers
            .iter()
            .filter(|follower| follower.is_woken())
            .count(),
        1
    );
    assert!(
        followers
            .iter_mut()
            .all(|follower| follower.poll().is_pending())
    );
    assert_eq!(gated.calls(), 2);
    gated.gate.add_permits(1);
    let all = join_all(
        followers
            .into_iter()
            .map(|f| async { read(f.await).await.1 }),
    )
    .await;
    assert_eq!(all, ["once", "once", "once"]);
    assert_eq!(gated.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_validates_for_all() {
    let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
    let gated = Gated::new(move |_| text("body", &fields));
    gated.gate.add_permits(1);
    read(gated.call(get("/a", &[])).await).await;
    advance(Duration::from_secs(10)).await;
    *gated.answer.lock().unwrap() = Box::new(|_| {
        let mut response = text("", &[("etag", "\"1\"")]);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    });
    let all = tokio::spawn(join_all((0..100).map(|_| {
        let call = gated.call(get("/a", &[]));
        async move { read(call.await).await }
    })));
    settle().await;
    gated.gate.add_permits(1);
    let all = all.await.unwrap();
    assert_eq!(gated.calls(), 2);
    assert!(all.iter().all(|(_, body)| body == "body"));
    let revalidated = |(outcome, _): &&(CacheOutcome, Bytes)| *outcome == CacheOutcome::Revalidated;
    assert_eq!(all.iter().filter(revalidated).count(), 1);
}

#[tokio::test]
async fn who_comes_after_an_invalidation_is_not_given_what_was_begun_before() {
    let gated = Gated::new(|_| {
        let mut response = text("old", &[("cache-control", "max-age=60")]);
        response
            .extensions_mut()
            .insert(CacheTags::from_iter(["t"]));
        response
    });
    let mut leader = tokio_test::task::spawn(gated.call(get("/a", &[])));
    assert!(leader.poll().is_pending());
    // The layer's own cache, by what another of its services does.
    let change = gated.layer.layer(service_fn(|_: Req| {
        let mut response = text("", &[]);
        let tags = CacheInvalidate::from_iter(["t"]);
        response.extensions_mut().insert(tags);
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let mut change = change;
    let post = Request::post("/other").header("host", "shop");
    change.call(post.body(Empty::new()).unwrap()).await.unwrap();
    let mut late = tokio_test::task::spawn(gated.call(get("/a", &[])));
    assert!(late.poll().is_pending());
    assert_eq!(gated.calls(), 1, "it cannot know yet");
    gated.gate.add_permits(1);
    assert_eq!(read(leader.await).await.1, "old");
    *gated.answer.lock().unwrap() = Box::new(|_| text("new", &[("cache-control", "max-age=60")]));
    gated.gate.add_permits(1);
    assert_eq!(read(late.await).await.1, "new");
}

#[tokio::test]
async fn who_asks_for_more_than_fresh_does_not_share() {
    let gated = Gated::new(|_| text("x", &[("cache-control", "max-age=60")]));
    for field in ["no-cache", "max-age=0", "no-store", "min-fresh=5"] {
        let request = get("/a", &[("cache-control", field)]);
        drop(tokio_test::task::spawn(gated.call(request)).poll());
    }
    assert_eq!(gated.calls(), 4);
    let bearer = |token| get("/b", &[("authorization", token)]);
    let mut calls = ["Bearer a", "Bearer b", "Bearer a"]
        .map(|token| tokio_test::task::spawn(gated.call(bearer(token))));
    calls.iter_mut().for_each(|call| drop(call.poll()));
    assert_eq!(gated.calls(), 6, "and nobody with somebody else");
}

#[tokio::test]
async fn cookies_that_say_nothing_keep_nobody_apart() {
    for (ignore, expected) in [(false, 2), (true, 1)] {
        let mut gated = Gated::new(|_| text("x", &[("cache-control", "max-age=60")]));
        if ignore {
            gated.layer = gated.layer.ignore_cookie();
        }
        let mut calls = ["a=1", "a=2"]
            .map(|cookie| tokio_test::task::spawn(gated.call(get("/a", &[("cookie", cookie)]))));
        calls.iter_mut().for_each(|call| drop(call.poll()));
        assert_eq!(gated.calls(), expected);
    }
}

/// An origin that gives parts to who has not asked for any.
#[tokio::test]
async fn a_part_that_nobody_asked_for_keeps_nobody_waiting() {
    let gated = Gated::new(|_| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("content-range", "bytes 0-1/10"),
        ];
        let mut response = text("01", &fields);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
    });
    let all = tokio::spawn(join_all((0..10).map(|_| gated.call(get("/a", &[])))));
    settle().await;
    gated.gate.add_permits(1);
    settle().await;
    assert_eq!(gated.calls(), 10);
    gated.gate.add_permits(9);
    all.await.unwrap();
}

/// Its owner wants each use to be validated: by each for itself, and not one after the other.
#[tokio::test]
async fn what_is_validated_before_each_use_keeps_nobody_waiting() {
    let gated = Gated::new(|request| {
        let mut response = text(
            "x",
            &[("cache-control", "max-age=60, no-cache"), ("etag", "\"1\"")],
        );
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    });
    gated.gate.add_permits(1);
    read(gated.call(get("/a", &[])).await).await;
    // What was learnt of the first is forgotten.
    tokio::time::pause();
    advance(Duration::from_secs(60)).await;
    let ten = || tokio::spawn(join_all((0..10).map(|_| gated.call(get("/a", &[])))));
    let all = ten();
    settle().await;
    assert_eq!(gated.calls(), 2, "one asks");
    gated.gate.add_permits(1);
    settle().await;
    assert_eq!(gated.calls(), 11, "and then each for itself");
    gated.gate.add_permits(9);
    all.await.unwrap();
    let all = ten();
    settle().await;
    assert_eq!(gated.calls(), 21, "nobody waits any more");
    all.abort();
}

/// RFC 9111, 4.2.3: also what is still on its way grows old.
#[tokio::test(start_paused = true)]
async fn a_newcomer_is_told_its_age_and_given_nothing_stale() {
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    let gated = Gated::new(move |_| {
        let mut response = text("new", &[("cache-control", "max-age=10")]);
        if let Some(body) = body.lock().unwrap().take() {
            *response.body_mut() = Either::Right(body);
        }
        response
    });
    gated.gate.add_permits(2);
    let leader = gated.call(get("/a", &[])).await;
    advance(Duration::from_secs(9)).await;
    let newcomer = gated.call(get("/a", &[])).await;
    assert_eq!(newcomer.headers()["age"], "9");
    advance(Duration::from_secs(1)).await;
    let (outcome, late) = read(gated.call(get("/a", &[])).await).await;
    assert_eq!(
        (outcome, &*late),
        (MISS, &b"new"[..]),
        "what is on its way is stale"
    );
    hand.data("old").end();
    for response in [leader, newcomer] {
        assert_eq!(read(response).await.1, "old");
    }
    assert_eq!(gated.calls(), 2);
}

/// A body that takes longer than its response is fresh.
#[tokio::test(start_paused = true)]
async fn what_streams_for_too_long_is_in_nobodys_way() {
    let (_hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    let gated = Gated::new(move |_| {
        let mut response = text("new", &[("cache-control", "max-age=10")]);
        if let Some(body) = body.lock().unwrap().take() {
            *response.body_mut() = Either::Right(body);
        }
        response
    });
    gated.gate.add_permits(1);
    let _streaming = gated.call(get("/a", &[])).await;
    advance(Duration::from_secs(10)).await;
    let all = tokio::spawn(join_all((0..10).map(|_| {
        let call = gated.call(get("/a", &[]));
        async move { read(call.await).await.1 }
    })));
    settle().await;
    assert_eq!(gated.calls(), 2, "one for all who come now");
    gated.gate.add_permits(1);
    assert!(all.await.unwrap().iter().all(|body| body == "new"));
    assert_eq!(gated.calls(), 2);
}

/// Far ahead, so that nothing is old.
const DATES: [&str; 3] = [
    "Fri, 01 Jan 2100 12:00:37 GMT",
    "Fri, 01 Jan 2100 12:00:38 GMT",
    "Fri, 01 Jan 2100 12:00:39 GMT",
];

/// A response of the origin's, made at one of these dates.
fn made(at: usize, status: u16, tag: &str, control: &str) -> Response<Body> {
    const BODIES: [&str; 3] = ["0", "1", "2"];
    let fields = [
        ("cache-control", control),
        ("etag", tag),
        ("date", DATES[at]),
    ];
    let mut response = text(BODIES[at], &fields);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// RFC 9111, 4 and 4.3.4.
#[tokio::test(start_paused = true)]
async fn what_comes_late_does_not_take_the_place_of_what_is_newer() {
    for late in [304, 200] {
        let layer = HttpCacheLayer::new(CachedResponse::cache().build()).response_extension();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let call = |fields: &[(&str, &str)]| {
            let asked = Arc::clone(&asked);
            let origin = service_fn(move |_: Req| {
                let (answer, answered) = oneshot::channel();
                asked.lock().unwrap().push(answer);
                async move { Ok::<_, Infallible>(answered.await.unwrap()) }
            });
            let call = layer.layer(origin).call(get("/a", fields));
            tokio_test::task::spawn(async move { read(call.await.unwrap()).await })
        };
        let answer = |number: usize, response| {
            let answer = asked.lock().unwrap().remove(number);
            answer.send(response).unwrap();
        };
        let mut old = call(&[]);
        assert!(old.poll().is_pending());
        answer(0, made(0, 200, "\"0\"", "max-age=10"));
        old.await;
        advance(Duration::from_secs(10)).await;
        let (mut first, mut second) = (call(&[]), call(&[("cache-control", "no-cache")]));
        assert!(first.poll().is_pending() && second.poll().is_pending());
        advance(Duration::from_secs(1)).await;
        answer(1, made(2, 200, "\"2\"", "max-age=60"));
        assert_eq!(second.await.1, "2");
        let tag = if late == 304 { "\"0\"" } else { "\"1\"" };
        answer(0, made(1, late, tag, "max-age=60"));
        // What a 304 confirms is no longer what is there.
        assert_eq!(first.await.1, if late == 304 { "2" } else { "1" });
        let hit = call(&[]).now_or_never();
        assert!(hit.is_some(), "{late}");
        assert_eq!(hit.unwrap(), (CacheOutcome::Hit, "2".into()), "{late}");
    }
}

/// Who waited is not the first of many either.
#[tokio::test]
async fn those_who_waited_for_what_is_too_old_for_them_ask_together() {
    let gated = Gated::new(|_| text("new", &[("cache-control", "max-age=60")]));
    let (hand, body) = hand_body();
    let body = Mutex::new(Some(body));
    *gated.answer.lock().unwrap() = Box::new(move |_| {
        let mut response = text("new", &[("cache-control", "max-age=60")]);
        if let Some(body) = body.lock().unwrap().take() {
            *response.body_mut() = Either::Right(body);
        }
        response
    });
    let mut leader = tokio_test::task::spawn(gated.call(get("/a", &[])));
    assert!(leader.poll().is_pending());
    let target = get("/a", &[]).into_parts().0;
    gated
        .layer
        .purge_target(&target, buttress_cache::Depth::Remove);
    let all = tokio::spawn(join_all((0..100).map(|_| {
        let call = gated.call(get("/a", &[]));
        async move { read(call.await).await.1 }
    })));
    settle().await;
    assert_eq!(gated.calls(), 1);
    gated.gate.add_permits(1);
    let _streaming = leader.await;
    settle().await;
    assert!(gated.calls() <= 3, "{}", gated.calls());
    gated.gate.add_permits(10);
    assert!(all.await.unwrap().iter().all(|body| body == "new"));
    assert!(gated.calls() <= 3, "{}", gated.calls());
    drop(hand);
}
