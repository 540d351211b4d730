use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use buttress_dedup::http::{
    Dedup, DedupBody, DedupLayer, Flight, OnFull, OnLeaderFailure, ResponseFuture, Share,
};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use testkit::body::{Hand, HandBody, by_hand};
use testkit::probe::ProbeError;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service};

type Req = Request<Empty<Bytes>>;

/// An inner service that answers when the test says so, and the layer above it.
struct Test {
    layer: DedupLayer<HandBody>,
    backend: Backend,
}

type Backend = crate::backend::Backend<Response<HandBody>>;

fn respond(backend: &Backend, change: impl FnOnce(&mut Response<HandBody>)) -> Hand {
    let (body, hand) = by_hand();
    let mut response = Response::new(body);
    change(&mut response);
    backend.answer(Ok(response));
    hand
}

type Call = Spawn<ResponseFuture<Backend, Empty<Bytes>, HandBody>>;
type Shared = Response<DedupBody<HandBody>>;

fn test(layer: DedupLayer<HandBody>) -> Test {
    Test {
        layer,
        backend: Backend::default(),
    }
}

impl Test {
    fn service(&self) -> Dedup<Backend, HandBody> {
        self.layer.layer(self.backend.clone())
    }

    fn get(&self, path: &str) -> Call {
        self.send(Request::get(path).body(Empty::new()).unwrap())
    }

    /// Sends a request and polls it once.
    fn send(&self, request: Req) -> Call {
        let mut call = task::spawn(self.service().call(request));
        assert_pending!(call.poll());
        call
    }
}

#[track_caller]
fn response(call: &mut Call) -> Shared {
    assert_ready!(call.poll()).unwrap()
}

fn flight<B>(response: &Response<B>) -> Flight {
    *response.extensions().get().unwrap()
}

async fn text(response: Shared) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_hundred_requests_are_one_call() {
    let test = test(DedupLayer::http());
    let mut calls: Vec<_> = (0..100).map(|_| test.get("/a")).collect();
    assert_eq!(test.backend.calls(), 1);
    respond(&test.backend, |_| {}).data("shared").end();
    let responses: Vec<_> = calls.iter_mut().map(response).collect();
    assert_eq!(flight(&responses[0]), Flight::Led);
    assert!(
        responses[1..]
            .iter()
            .all(|response| flight(response) == Flight::Joined)
    );
    for response in responses {
        assert_eq!(text(response).await, "shared");
    }
    assert!(test.layer.snapshot().is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_body_is_shared_as_it_streams_and_can_be_joined_near_its_start() {
    let test = test(DedupLayer::http());
    let mut leader = test.get("/a");
    let hand = respond(&test.backend, |_| {});
    let mut first = task::spawn(response(&mut leader).into_body());
    hand.data("one");
    assert!(first.enter(|cx, body| body.poll_frame(cx)).is_ready());

    let late = Request::get("/a").body(Empty::<Bytes>::new()).unwrap();
    let late = assert_ready!(task::spawn(test.service().call(late)).poll()).unwrap();
    assert_eq!(flight(&late), Flight::Joined);
    let mut second = task::spawn(late.into_body());
    let frame = assert_ready!(second.enter(|cx, body| body.poll_frame(cx)))
        .unwrap()
        .unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    assert!(second.enter(|cx, body| body.poll_frame(cx)).is_pending());
    hand.data("two");
    assert!(second.is_woken());
    hand.end();
    drop((first, second));
    assert_eq!(test.backend.calls(), 1);
    assert!(test.layer.snapshot().is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_does_not_keep_an_old_answer_in_use() {
    let test = test(DedupLayer::http());
    let mut held = test.get("/a");
    respond(&test.backend, |_| {}).data("old").end();
    let _held = response(&mut held);
    tokio::time::advance(Duration::from_secs(3600)).await;
    let mut anew = test.get("/a");
    respond(&test.backend, |_| {}).data("new").end();
    let anew = response(&mut anew);
    assert_eq!(flight(&anew), Flight::Led);
    assert_eq!(text(anew).await, "new");
}

#[tokio::test]
async fn different_requests_do_not_share() {
    let test = test(DedupLayer::http());
    let requests = [
        Request::get("/a"),
        Request::get("/b"),
        Request::head("/a"),
        Request::get("/a").header("accept", "text/csv"),
        Request::get("/a").header("authorization", "Bearer alice"),
        Request::get("/a").header("cookie", "session=bob"),
    ];
    let count = requests.len();
    let _calls = requests.map(|request| test.send(request.body(Empty::new()).unwrap()));
    assert_eq!(test.backend.calls(), count);
}

#[tokio::test]
async fn unsafe_methods_pass_alone() {
    let test = test(DedupLayer::http());
    let post = || test.send(Request::post("/a").body(Empty::new()).unwrap());
    let _calls = [post(), post()];
    assert_eq!(test.backend.calls(), 2);
}

#[tokio::test]
async fn a_cancelled_leader_hands_over_to_one_follower_with_its_own_request() {
    let test = test(DedupLayer::http());
    let leader = test.get("/a");
    let (mut first, mut second) = (test.get("/a"), test.get("/a"));
    drop(leader);
    assert!(first.is_woken() && !second.is_woken());
    assert_pending!(first.poll());
    assert_eq!(test.backend.calls(), 2);
    test.backend.skip();
    respond(&test.backend, |_| {}).data("x").end();
    assert_eq!(flight(&response(&mut first)), Flight::Led);
    assert_eq!(flight(&response(&mut second)), Flight::Joined);
}

#[tokio::test]
async fn a_leader_that_leaves_in_mid_body_does_not_disturb_the_others() {
    let test = test(DedupLayer::http());
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    let hand = respond(&test.backend, |_| {});
    let leads = response(&mut leader);
    let follows = response(&mut follower);
    hand.data("a");
    drop(leads);
    hand.data("b").end();
    assert_eq!(text(follows).await, "ab");
}

#[tokio::test]
async fn a_private_answer_stays_with_its_owner_and_the_others_go_at_once() {
    let test = test(DedupLayer::http());
    let (mut leader, mut first, mut second) = (test.get("/a"), test.get("/a"), test.get("/a"));
    respond(&test.backend, |response| {
        response
            .headers_mut()
            .insert("set-cookie", "session=1".parse().unwrap());
    });
    assert_eq!(flight(&response(&mut leader)), Flight::Alone);
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(test.backend.calls(), 3, "in parallel");
    let _later = (test.get("/a"), test.get("/a"));
    assert_eq!(
        test.backend.calls(),
        5,
        "and nobody queues for it, for a while"
    );
    let _other = (test.get("/b"), test.get("/b"));
    assert_eq!(test.backend.calls(), 6);
}

#[tokio::test]
async fn followers_of_a_failed_leader_run_their_own() {
    let test = test(DedupLayer::http());
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    test.backend.answer(Err(ProbeError));
    assert_eq!(assert_ready!(leader.poll()).unwrap_err(), ProbeError);
    assert_pending!(follower.poll());
    assert_eq!(test.backend.calls(), 2);
}

#[tokio::test]
async fn followers_of_a_failed_leader_may_get_a_502_instead() {
    let test = test(DedupLayer::http().on_failure(OnLeaderFailure::BadGateway));
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    test.backend.answer(Err(ProbeError));
    assert!(assert_ready!(leader.poll()).is_err());
    let refused = response(&mut follower);
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(test.backend.calls(), 1);
}

#[tokio::test]
async fn without_room_a_request_passes_alone_or_is_refused() {
    let one = std::num::NonZeroUsize::MIN;
    let bypassing = test(DedupLayer::http().max_waiters(one));
    let _calls = [(); 3].map(|()| bypassing.get("/a"));
    assert_eq!(bypassing.backend.calls(), 2);

    let rejecting = test(DedupLayer::http().max_waiters(one).on_full(OnFull::Reject));
    let _calls = [(); 2].map(|()| rejecting.get("/a"));
    let request = Request::get("/a").body(Empty::<Bytes>::new()).unwrap();
    let refused = assert_ready!(task::spawn(rejecting.service().call(request)).poll()).unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rejecting.backend.calls(), 1);
    for test in [bypassing, rejecting] {
        let snapshot = test.layer.snapshot();
        assert_eq!((snapshot.full, snapshot.bypassed()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_has_waited_long_enough_goes_alone() {
    let test = test(DedupLayer::http().wait_timeout(Duration::from_secs(5)));
    let _leader = test.get("/a");
    let mut follower = test.get("/a");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(follower.is_woken());
    assert_pending!(follower.poll());
    assert_eq!(test.backend.calls(), 2);
}

#[tokio::test]
async fn a_follower_sees_nothing_of_the_leaders_own_exchange() {
    let test = test(DedupLayer::http());
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    respond(&test.backend, |response| {
        response.extensions_mut().insert("the leader's");
        response
            .headers_mut()
            .insert("x-request-id", "the-leader".parse().unwrap());
        for name in ["b3", "request-id", "traceresponse", "x-amzn-trace-id"] {
            let value = "the-leader".parse().unwrap();
            response.headers_mut().insert(name, value);
        }
        response
            .headers_mut()
            .insert("etag", "\"1\"".parse().unwrap());
    });
    let (leads, follows) = (response(&mut leader), response(&mut follower));
    assert_eq!(leads.headers()["x-request-id"], "the-leader");
    assert!(leads.extensions().get::<&str>().is_some());
    assert_eq!(follows.headers()["etag"], "\"1\"");
    assert_eq!(follows.headers().len(), 1);
    assert!(follows.extensions().get::<&str>().is_none());
}

#[tokio::test]
async fn clones_of_a_layer_share_their_flights() {
    let first = test(DedupLayer::http());
    let second = Test {
        layer: first.layer.clone(),
        backend: first.backend.clone(),
    };
    let _calls = (first.get("/a"), second.get("/a"));
    assert_eq!(first.backend.calls(), 1);
}

#[tokio::test]
async fn the_key_can_be_partitioned_by_tenant() {
    let layer = DedupLayer::http().key(|parts, key| {
        Some(
            key.with(
                parts
                    .headers
                    .get("x-tenant")
                    .map_or(&b""[..], |t| t.as_bytes()),
            ),
        )
    });
    let test = test(layer);
    let get = |tenant| {
        test.send(
            Request::get("/a")
                .header("x-tenant", tenant)
                .body(Empty::new())
                .unwrap(),
        )
    };
    let _calls = [get("a"), get("b"), get("a")];
    assert_eq!(test.backend.calls(), 2);
}

#[tokio::test]
async fn a_follower_sees_no_trailer_of_the_leaders_own_exchange() {
    let test = test(DedupLayer::http());
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    let hand = respond(&test.backend, |_| {});
    let (leads, follows) = (response(&mut leader), response(&mut follower));
    let mut trailers = ::http::HeaderMap::new();
    for name in ["server-timing", "x-sum"] {
        trailers.insert(name, "1".parse().unwrap());
    }
    hand.data("x").trailers(trailers).end();
    let names = async |response: Shared| {
        let all = response.into_body().collect().await.unwrap();
        all.trailers().unwrap().keys_len()
    };
    assert_eq!(names(leads).await, 2);
    assert_eq!(names(follows).await, 1);
}

#[tokio::test]
async fn who_passes_since_answers_were_private_is_counted() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let layer = DedupLayer::http().observer(move |event: &buttress_dedup::Event<'_>| {
        heard.lock().unwrap().push(event.name());
    });
    let test = test(layer);
    let mut owner = test.get("/a");
    respond(&test.backend, |response| {
        response
            .headers_mut()
            .insert("cache-control", "private".parse().unwrap());
    });
    assert_eq!(flight(&response(&mut owner)), Flight::Alone);
    let _later = (test.get("/a"), test.get("/a"));
    let snapshot = test.layer.snapshot();
    assert_eq!((snapshot.passed, snapshot.bypassed()), (2, 2));
    assert_eq!(
        *told.lock().unwrap(),
        ["led", "private", "passed", "passed"]
    );
}

#[tokio::test]
async fn what_varies_by_a_field_that_was_put_into_the_key_is_shared() {
    let layer = DedupLayer::http().key(|parts, key| {
        let tenant = ::http::HeaderName::from_static("x-tenant");
        Some(key.with_field(parts, &tenant))
    });
    for (vary, expected) in [("x-tenant", Flight::Led), ("x-other", Flight::Alone)] {
        let test = test(layer.clone());
        let mut call = test.get(vary);
        respond(&test.backend, |response| {
            response.headers_mut().insert("vary", vary.parse().unwrap());
        });
        assert_eq!(flight(&response(&mut call)), expected);
    }
}

#[tokio::test]
async fn what_is_one_clients_conversation_is_never_shared() {
    let event_stream = ("content-type", "text/event-stream");
    let everything = || DedupLayer::http().share(|_| Share::Shared);
    for (layer, status, (name, value)) in [
        (DedupLayer::http(), 101, ("upgrade", "websocket")),
        (DedupLayer::http(), 200, event_stream),
        (everything(), 101, ("upgrade", "websocket")),
        (everything(), 200, event_stream),
    ] {
        let test = test(layer);
        let (mut owner, mut other) = (test.get("/a"), test.get("/a"));
        respond(&test.backend, |response| {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        });
        assert_eq!(flight(&response(&mut owner)), Flight::Alone);
        assert_pending!(other.poll());
        assert_eq!(test.backend.calls(), 2);
    }
}

#[tokio::test]
async fn requests_that_upgrade_or_have_a_body_pass_alone() {
    let test = test(DedupLayer::http());
    let upgrade = || {
        let request = Request::get("/a").header("upgrade", "websocket");
        request.body(Empty::new()).unwrap()
    };
    let _calls = (test.send(upgrade()), test.send(upgrade()));
    assert_eq!(test.backend.calls(), 2);

    let backend = Backend::default();
    let service = DedupLayer::<HandBody>::http().layer(backend.clone());
    let with_body = || {
        let request = Request::get("/a").body(http_body_util::Full::<Bytes>::from("x"));
        let mut call = task::spawn(service.clone().call(request.unwrap()));
        assert_pending!(call.poll());
        call
    };
    let _calls = (with_body(), with_body());
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn fields_that_an_answer_may_depend_on_part_requests() {
    let fields = [
        ("accept-encoding", "gzip"),
        ("cache-control", "no-cache"),
        ("if-match", "\"1\""),
        ("if-none-match", "\"1\""),
        ("if-range", "\"1\""),
        ("origin", "https://a.example"),
        ("prefer", "return=minimal"),
        ("range", "bytes=0-1"),
    ];
    let test = test(DedupLayer::http());
    let _plain = test.get("/a");
    let send = |(name, value): (&str, &str)| {
        let request = Request::get("/a").header(name, value);
        test.send(request.body(Empty::new()).unwrap())
    };
    let _calls = fields.map(send);
    let _same = fields.map(send);
    assert_eq!(test.backend.calls(), 1 + fields.len());
}

#[tokio::test(start_paused = true)]
async fn a_big_body_costs_the_window_and_laggards_their_time() {
    let layer = DedupLayer::http().window(4).stall(Duration::from_secs(2));
    let test = test(layer);
    let (mut leader, mut follower) = (test.get("/a"), test.get("/a"));
    let hand = respond(&test.backend, |_| {});
    let mut fast = task::spawn(response(&mut leader).into_body());
    let mut slow = task::spawn(response(&mut follower).into_body());
    hand.data("abcd").data("efgh").data("ijkl").end();
    let mut read = || fast.enter(|cx, body| body.poll_frame(cx));
    assert!(read().is_ready());
    assert!(
        read().is_pending(),
        "the window is full of what the other has not read"
    );
    tokio::time::advance(Duration::from_millis(1999)).await;
    assert!(read().is_pending());
    tokio::time::advance(Duration::from_millis(2)).await;
    assert!(read().is_ready());
    let lagged = assert_ready!(slow.enter(|cx, body| body.poll_frame(cx)));
    assert!(lagged.unwrap().is_err(), "never a gap");
}

#[tokio::test]
async fn what_was_changed_is_asked_for_anew() {
    let test = test(DedupLayer::http());
    let _old = test.get("/a");
    let (parts, _) = Request::get("/a").body(()).unwrap().into_parts();
    test.layer.forget(&parts);
    let _new = (test.get("/a"), test.get("/a"));
    assert_eq!(test.backend.calls(), 2);
}

/// Does this when it is woken, within whatever wakes it.
struct OnWake(Box<dyn Fn() + Send + Sync>);

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// An empty body cannot be joined, and is at its end before its leader has said so.
#[tokio::test]
async fn who_comes_too_late_for_a_response_that_has_just_landed_takes_part_in_the_next_flight() {
    let layer = DedupLayer::<Full<Bytes>>::http();
    let backend = crate::backend::Backend::default();
    let service = layer.layer(backend.clone());
    let get = move || {
        let request = Request::get("/a").body(Empty::<Bytes>::new()).unwrap();
        Box::pin(service.clone().call(request))
    };
    let mut leader = task::spawn(get());
    let mut follower = get();
    assert_pending!(leader.poll());
    let (comes, late) = mpsc::channel();
    let waker = Waker::from(Arc::new(OnWake(Box::new({
        let get = get.clone();
        move || (0..2).for_each(|_| comes.send(get()).unwrap())
    }))));
    let mut cx = Context::from_waker(&waker);
    assert_pending!(follower.as_mut().poll(&mut cx));
    let answer = || backend.answer(Ok(Response::new(Full::default())));
    answer();
    drop(assert_ready!(leader.poll()).unwrap());
    let mut late: Vec<_> = late.try_iter().map(task::spawn).collect();
    late.iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    assert_eq!(backend.calls(), 2);
    answer();
    let flights = late
        .iter_mut()
        .map(|call| flight(&assert_ready!(call.poll()).unwrap()));
    assert_eq!(flights.collect::<Vec<_>>(), [Flight::Led, Flight::Joined]);
    let snapshot = layer.snapshot();
    assert_eq!((snapshot.led, snapshot.joined), (2, 2));
    assert!(snapshot.is_idle());
}
