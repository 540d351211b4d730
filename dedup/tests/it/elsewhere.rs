//! Flights behind a coordinator that does as the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_dedup::{Asking, Codec, Coordinator, DedupLayer, Event, Lease, Seat};
use bytes::Bytes;
use testkit::probe::ProbeError;
use tokio::sync::oneshot;
use tokio_test::task;
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, ServiceExt};

use crate::backend::Backend;

/// Gives out seats when the test does, and writes down what becomes of leases.
#[derive(Clone, Default)]
pub(crate) struct Elsewhere {
    asking: Arc<Mutex<VecDeque<oneshot::Sender<Seat>>>>,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Elsewhere {
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn give(&self, seat: Seat) {
        let asking = self
            .asking
            .lock()
            .unwrap()
            .pop_front()
            .expect("nobody asks");
        let _ = asking.send(seat);
    }

    pub(crate) fn lease(&self) -> Seat {
        Seat::Lead(Box::new(Noted {
            log: Arc::clone(&self.log),
            ended: false,
        }))
    }

    /// What has become of leases so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Coordinator for Elsewhere {
    fn join(&self, key: &[u8], _: Option<Duration>) -> Asking {
        let (send, receive) = oneshot::channel();
        self.asked.lock().unwrap().push(key.to_vec());
        self.asking.lock().unwrap().push_back(send);
        Box::pin(async move { receive.await.expect("the test gives a seat") })
    }
}

struct Noted {
    log: Arc<Mutex<Vec<String>>>,
    ended: bool,
}

impl Noted {
    fn end(&mut self, how: String) {
        self.ended = true;
        self.log.lock().unwrap().push(how);
    }
}

impl Lease for Noted {
    fn publish_within(&mut self, time: Duration) {
        let within = format!("within {time:?}");
        self.log.lock().unwrap().push(within);
    }

    fn decline(mut self: Box<Self>) {
        self.end("declined".into());
    }

    fn publish(mut self: Box<Self>, value: Bytes) {
        self.end(format!("published {} bytes", value.len()));
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if !self.ended {
            self.log.lock().unwrap().push("given up".into());
        }
    }
}

struct Decimal;

impl Codec<u8, u32> for Decimal {
    fn key(&self, key: &u8) -> Vec<u8> {
        vec![*key]
    }

    fn encode(&self, response: &u32) -> Option<Bytes> {
        (*response < 1000).then(|| Bytes::from(response.to_string()))
    }

    fn decode(&self, bytes: Bytes) -> Option<u32> {
        std::str::from_utf8(&bytes).ok()?.parse().ok()
    }
}

type KeyFn = fn(&u8) -> Option<u8>;

struct Test {
    elsewhere: Elsewhere,
    backend: Backend<u32>,
    layer: DedupLayer<KeyFn, u8, u32, ProbeError>,
    told: Arc<Mutex<Vec<String>>>,
}

fn test() -> Test {
    let elsewhere = Elsewhere::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let layer = DedupLayer::new((|key: &u8| Some(*key)) as KeyFn)
        .coordinator("test", Arc::new(elsewhere.clone()), Decimal)
        .observer(move |event: &Event<'_>| {
            heard.lock().unwrap().push(match event {
                Event::Uncoordinated(why) => format!("uncoordinated: {why}"),
                event => event.name().to_owned(),
            });
        });
    Test {
        elsewhere,
        backend: Backend::default(),
        layer,
        told,
    }
}

type Call = task::Spawn<std::pin::Pin<Box<dyn Future<Output = Option<u32>>>>>;

impl Test {
    /// A call, polled once. `None` in the end when it failed.
    fn send(&self) -> Call {
        let service = self.layer.layer(self.backend.clone());
        let call = async move { service.oneshot(1).await.ok() };
        let mut call: Call = task::spawn(Box::pin(call));
        assert_pending!(call.poll());
        call
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[test]
fn one_per_process_asks_and_the_result_of_another_process_is_for_all() {
    let test = test();
    let mut calls = [(); 10].map(|()| test.send());
    assert_eq!(test.elsewhere.asked(), 1, "followers do not ask");
    test.elsewhere.give(Seat::Received("42".into()));
    calls
        .iter_mut()
        .for_each(|call| assert_eq!(assert_ready!(call.poll()), Some(42)));
    assert_eq!(test.backend.calls(), 0);
    assert_eq!(test.told().last().unwrap(), "received");
    assert!(test.layer.snapshot().is_idle());
}

#[test]
fn the_holder_of_the_lease_publishes_what_it_may() {
    for (answer, log) in [
        (Ok(42), "published 2 bytes"),
        (Ok(1000), "declined"),
        (Err(ProbeError), "declined"),
    ] {
        let test = test();
        let mut calls = [(); 2].map(|()| test.send());
        test.elsewhere.give(test.elsewhere.lease());
        assert_pending!(calls[0].poll());
        test.backend.answer(answer);
        calls
            .iter_mut()
            .for_each(|call| assert_eq!(assert_ready!(call.poll()), answer.ok()));
        assert_eq!(test.elsewhere.log(), [log]);
    }
}

#[test]
fn trouble_is_told_and_never_an_error() {
    let test = test();
    let mut call = test.send();
    test.elsewhere
        .give(Seat::Local(Some("redis is down".into())));
    assert_pending!(call.poll());
    test.backend.answer(Ok(1));
    assert_eq!(assert_ready!(call.poll()), Some(1));
    assert_eq!(test.told(), ["led", "uncoordinated: redis is down"]);
}

#[test]
fn what_cannot_be_read_is_done_here() {
    let test = test();
    let mut call = test.send();
    test.elsewhere.give(Seat::Received("forty-two".into()));
    assert_pending!(call.poll());
    assert_eq!(
        test.told(),
        [
            "led",
            "uncoordinated: the result of another process cannot be read"
        ]
    );
    test.backend.answer(Ok(1));
    assert_eq!(assert_ready!(call.poll()), Some(1));
}

#[test]
fn a_leader_that_leaves_gives_its_lease_up_before_another_asks() {
    let test = test();
    let (mut leads, mut follows) = (test.send(), test.send());
    test.elsewhere.give(test.elsewhere.lease());
    assert_pending!(leads.poll());
    drop(leads);
    assert_eq!(test.elsewhere.log(), ["given up"]);
    assert_pending!(follows.poll());
    assert_eq!(test.elsewhere.asked(), 2, "the new leader asks again");
    test.elsewhere.give(Seat::Received("3".into()));
    assert_eq!(assert_ready!(follows.poll()), Some(3));
}

/// What happens here is written where leases are, so that it is seen what comes first.
fn one_log() -> (Elsewhere, DedupLayer<KeyFn, u8, u32, ProbeError>) {
    let elsewhere = Elsewhere::default();
    let log = Arc::clone(&elsewhere.log);
    let layer = DedupLayer::new((|key: &u8| Some(*key)) as KeyFn)
        .coordinator("test", Arc::new(elsewhere.clone()), Decimal)
        .observer(move |event: &Event<'_>| log.lock().unwrap().push(event.name().to_owned()));
    (elsewhere, layer)
}

#[test]
fn a_lease_is_given_up_before_anybody_here_is_promoted() {
    let (elsewhere, layer) = one_log();
    let backend = Backend::<u32>::default();
    let send = || {
        let service = layer.layer(backend.clone());
        let mut call = task::spawn(service.oneshot(1));
        assert_pending!(call.poll());
        call
    };
    let (mut leads, _follows) = (send(), send());
    elsewhere.give(elsewhere.lease());
    assert_pending!(leads.poll());
    drop(leads);
    assert_eq!(elsewhere.log(), ["led", "joined", "given up", "promoted"]);
}

#[test]
fn work_that_panics_gives_its_lease_up_at_once_and_then_promotes() {
    let (elsewhere, layer) = one_log();
    let panics =
        tower::service_fn(async |_: u8| -> Result<u32, ProbeError> { panic!("on purpose") });
    let mut leads = task::spawn(layer.layer(panics).oneshot(1));
    assert_pending!(leads.poll());
    let mut follows = task::spawn(layer.layer(Backend::<u32>::default()).oneshot(1));
    assert_pending!(follows.poll());
    elsewhere.give(elsewhere.lease());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| leads.poll()));
    assert!(panicked.is_err());
    assert_eq!(elsewhere.log(), ["led", "joined", "given up", "promoted"]);
    // Whoever caught it may keep what is left.
    drop(leads);
}

#[test]
fn keys_of_two_namespaces_never_meet() {
    let elsewhere = Elsewhere::default();
    for namespace in ["users", "products", "user", ""] {
        let layer = DedupLayer::new((|key: &u8| Some(*key)) as KeyFn);
        let layer = layer.coordinator(namespace, Arc::new(elsewhere.clone()), Decimal);
        let service = layer.layer(Backend::<u32>::default());
        let mut call = task::spawn(service.oneshot(b's'));
        assert_pending!(call.poll());
    }
    let mut asked = elsewhere.asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_flight_beside_an_older_one_of_its_key_waits_for_nobody() {
    let Test {
        elsewhere,
        backend,
        layer,
        told,
    } = test();
    let layer = layer.max_age(Duration::from_secs(1));
    let test = Test {
        elsewhere,
        backend,
        layer,
        told,
    };
    let mut old = test.send();
    test.elsewhere.give(test.elsewhere.lease());
    assert_pending!(old.poll());
    tokio::time::advance(Duration::from_secs(2)).await;
    let _new = test.send();
    assert_eq!(test.elsewhere.asked(), 1, "it might wait for itself");
    assert_eq!(test.backend.calls(), 2);
}

/// As the documentation of `max_age` says: what they get may have been that old already when the first of them asked.
#[tokio::test(start_paused = true)]
async fn a_flight_that_waits_for_another_process_is_joined_until_it_is_too_old_itself() {
    let mut test = test();
    test.layer = test.layer.max_age(Duration::from_secs(1));
    let mut first = test.send();
    tokio::time::advance(Duration::from_millis(999)).await;
    let mut last = test.send();
    assert_eq!(test.elsewhere.asked(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    let _too_late = test.send();
    assert_eq!(test.backend.calls(), 1);
    test.elsewhere.give(Seat::Received("3".into()));
    for call in [&mut first, &mut last] {
        assert_eq!(assert_ready!(call.poll()), Some(3));
    }
}

/// As the documentation of `forget` says.
#[test]
fn what_another_process_has_begun_is_received_after_a_forget_here() {
    let test = test();
    test.layer.forget(&1);
    let mut call = test.send();
    test.elsewhere.give(Seat::Received("3".into()));
    assert_eq!(assert_ready!(call.poll()), Some(3));
}

#[cfg(feature = "http")]
mod http {
    use ::http::{Method, Request, Response, StatusCode};
    use buttress_dedup::http::DedupLayer as HttpLayer;
    use buttress_wire::Recorded;
    use http_body_util::{BodyExt, Empty};
    use testkit::body::{Hand, HandBody, by_hand};

    use super::*;

    type Call = task::Spawn<std::pin::Pin<Box<dyn Future<Output = Shared>>>>;
    type Shared = Response<buttress_dedup::http::DedupBody<HandBody>>;

    fn test() -> (Elsewhere, Backend<Response<HandBody>>, impl Fn() -> Call) {
        test_of(Method::GET)
    }

    fn test_of(method: Method) -> (Elsewhere, Backend<Response<HandBody>>, impl Fn() -> Call) {
        test_in(DedupLayer::http(), method)
    }

    /// At most ten bytes travel.
    fn test_in(
        layer: HttpLayer<HandBody>,
        method: Method,
    ) -> (Elsewhere, Backend<Response<HandBody>>, impl Fn() -> Call) {
        let elsewhere = Elsewhere::default();
        let layer = layer.coordinator("test", Arc::new(elsewhere.clone()), 10);
        let backend = Backend::default();
        let service = layer.layer(backend.clone());
        let send = move || {
            let request = Request::builder().method(method.clone());
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let service = service.clone();
            let call = async move { service.oneshot(request).await.unwrap() };
            let mut call: Call = task::spawn(Box::pin(call));
            assert_pending!(call.poll());
            call
        };
        (elsewhere, backend, send)
    }

    fn respond(backend: &Backend<Response<HandBody>>, private: bool) -> Hand {
        let (body, hand) = by_hand();
        let mut response = Response::builder().header("etag", "\"1\"");
        if private {
            response = response.header("set-cookie", "s=1");
        }
        backend.answer(Ok(response.body(body).unwrap()));
        hand
    }

    async fn text(response: Shared) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_response_is_published_when_it_is_whole_and_streams_before() {
        let (elsewhere, backend, send) = test();
        let (mut leads, mut follows) = (send(), send());
        elsewhere.give(elsewhere.lease());
        assert_pending!(leads.poll());
        let hand = respond(&backend, false);
        let (leads, follows) = (assert_ready!(leads.poll()), assert_ready!(follows.poll()));
        hand.data("shared");
        let mut body = task::spawn(leads.into_body());
        assert!(
            body.enter(|cx, body| http_body::Body::poll_frame(body, cx))
                .is_ready()
        );
        assert_eq!(
            elsewhere.log(),
            ["within 6s"],
            "as long as it may be joined and held up"
        );
        hand.end();
        assert_eq!(text(follows).await, "shared");
        assert_eq!(elsewhere.log().len(), 2);
        assert!(elsewhere.log()[1].starts_with("published"));
    }

    #[tokio::test]
    async fn what_is_too_large_or_private_or_breaks_is_each_processs_own() {
        for (private, broken, log) in [
            (false, false, &["within 6s", "declined"][..]),
            (true, false, &["declined"]),
            (false, true, &["within 6s", "given up"]),
        ] {
            let (elsewhere, backend, send) = test();
            let mut leads = send();
            elsewhere.give(elsewhere.lease());
            assert_pending!(leads.poll());
            let hand = respond(&backend, private);
            let leads = assert_ready!(leads.poll());
            if broken {
                hand.data("a").fail();
                assert!(leads.into_body().collect().await.is_err());
            } else {
                hand.data("more than ten bytes").end();
                assert_eq!(text(leads).await, "more than ten bytes");
            }
            assert_eq!(elsewhere.log(), log);
        }
    }

    #[tokio::test]
    async fn what_has_its_announced_length_is_whole_and_published_with_its_reader_gone() {
        let (elsewhere, backend, send) = test();
        let mut leads = send();
        elsewhere.give(elsewhere.lease());
        assert_pending!(leads.poll());
        let (body, hand) = by_hand();
        hand.announce(5).data("whole");
        backend.answer(Ok(Response::new(body)));
        let mut body = assert_ready!(leads.poll()).into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
        assert!(body.frame().await.unwrap().is_ok());
        drop(body);
        assert!(
            elsewhere.log()[1].starts_with("published"),
            "{:?}",
            elsewhere.log()
        );
    }

    #[tokio::test]
    async fn what_says_that_it_is_too_large_is_declined_at_once() {
        for (length, log) in [("10", "within 6s"), ("11", "declined")] {
            let (elsewhere, backend, send) = test();
            let mut leads = send();
            elsewhere.give(elsewhere.lease());
            assert_pending!(leads.poll());
            let (body, _hand) = by_hand();
            let head = Response::builder().header("content-length", length);
            backend.answer(Ok(head.body(body).unwrap()));
            let _leads = assert_ready!(leads.poll());
            assert_eq!(elsewhere.log(), [log]);
        }
    }

    /// The others wait for that body, and who comes after its start is gone does not.
    #[tokio::test]
    async fn a_body_that_cannot_be_joined_any_more_is_not_waited_for_by_its_own_process() {
        for how in ["published", "declined", "given up"] {
            let (elsewhere, backend, send) = test_in(HttpLayer::http().window(1), Method::GET);
            let mut first = send();
            elsewhere.give(elsewhere.lease());
            assert_pending!(first.poll());
            let hand = respond(&backend, false);
            let mut body = task::spawn(assert_ready!(first.poll()).into_body());
            let mut read = || body.enter(|cx, body| http_body::Body::poll_frame(body, cx));
            hand.data("one");
            assert!(read().is_ready());
            assert!(read().is_pending(), "and out of the window");
            for calls in 2..4 {
                drop(send());
                assert_eq!(backend.calls(), calls);
                assert_eq!(elsewhere.asked(), 1, "it would wait for itself");
            }
            match how {
                "published" => hand.end(),
                "declined" => hand.data("more than ten"),
                _ => hand.fail(),
            };
            assert!(read().is_ready());
            assert!(elsewhere.log()[1].starts_with(how));
            let _next = send();
            assert_eq!(elsewhere.asked(), 2, "there is nothing left to wait for");
        }
    }

    /// What `Content-Length` says is then the length of what is not sent.
    #[tokio::test]
    async fn what_never_has_a_body_is_published_at_once() {
        for (method, status, length) in [
            (Method::HEAD, 200, Some("5")),
            (Method::HEAD, 200, Some("5000")),
            (Method::GET, 304, Some("5")),
            (Method::GET, 204, None),
        ] {
            for is_asked_for in [true, false] {
                let (elsewhere, backend, send) = test_of(method.clone());
                let mut leads = send();
                elsewhere.give(elsewhere.lease());
                assert_pending!(leads.poll());
                let (body, hand) = by_hand();
                let mut head = Response::builder().status(status);
                if let Some(length) = length {
                    head = head.header("content-length", length);
                }
                backend.answer(Ok(head.body(body).unwrap()));
                let leads = assert_ready!(leads.poll());
                if is_asked_for {
                    hand.end();
                    assert_eq!(text(leads).await, "");
                } else {
                    // As a server does.
                    drop(leads);
                }
                let log = elsewhere.log();
                assert_eq!(log.len(), 1, "{method} {status}: {log:?}");
                assert!(log[0].starts_with("published"), "{log:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_call_that_fails_is_each_processs_own() {
        let (elsewhere, backend, _) = test();
        let layer = DedupLayer::http::<HandBody>();
        let layer = layer.coordinator("test", Arc::new(elsewhere.clone()), 10);
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let mut call = task::spawn(layer.layer(backend.clone()).oneshot(request));
        assert_pending!(call.poll());
        elsewhere.give(elsewhere.lease());
        assert_pending!(call.poll());
        backend.answer(Err(ProbeError));
        assert!(assert_ready!(call.poll()).is_err());
        assert_eq!(elsewhere.log(), ["declined"]);
    }

    #[tokio::test]
    async fn half_of_what_has_trailers_is_not_published_as_whole() {
        let (elsewhere, backend, send) = test();
        let mut leads = send();
        elsewhere.give(elsewhere.lease());
        assert_pending!(leads.poll());
        let (body, hand) = by_hand();
        hand.announce(5).data("whole");
        let head = Response::builder().header("trailer", "x-sum");
        backend.answer(Ok(head.body(body).unwrap()));
        let mut body = assert_ready!(leads.poll()).into_body();
        assert!(body.frame().await.unwrap().is_ok());
        drop(body);
        assert_eq!(elsewhere.log(), ["within 6s", "given up"]);
    }

    #[tokio::test]
    async fn a_received_response_is_for_all_here() {
        let (elsewhere, backend, send) = test();
        let mut calls = [send(), send()];
        let headers = [(::http::header::ETAG, "\"1\"".parse().unwrap())];
        let recorded = Recorded::new(
            StatusCode::CREATED,
            ::http::HeaderMap::from_iter(headers),
            "elsewhere".into(),
            None,
        );
        elsewhere.give(Seat::Received(recorded.encode()));
        for call in &mut calls {
            let response = assert_ready!(call.poll());
            assert_eq!(response.status(), StatusCode::CREATED);
            assert_eq!(response.headers()["etag"], "\"1\"");
            assert_eq!(text(response).await, "elsewhere");
        }
        assert_eq!(backend.calls(), 0);
    }

    #[tokio::test]
    async fn a_received_response_has_no_trailer_of_the_leaders_own_exchange() {
        let (elsewhere, _, send) = test();
        let mut calls = [send(), send()];
        let mut trailers = ::http::HeaderMap::new();
        for name in ["server-timing", "x-request-id", "x-sum"] {
            trailers.insert(name, "1".parse().unwrap());
        }
        let recorded = Recorded::new(
            StatusCode::OK,
            ::http::HeaderMap::new(),
            "elsewhere".into(),
            Some(trailers),
        );
        elsewhere.give(Seat::Received(recorded.encode()));
        for call in &mut calls {
            let body = assert_ready!(call.poll()).into_body();
            let body = body.collect().await.unwrap();
            let names: Vec<_> = body.trailers().unwrap().keys().collect();
            assert_eq!(names, ["x-sum"]);
        }
    }
}
