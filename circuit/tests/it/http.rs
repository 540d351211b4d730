//! The layer around HTTP services.

use std::convert::Infallible;

use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use buttress_circuit::http::{Protocol, ServerErrors};
use buttress_circuit::{
    Breaker, CircuitLayer, Reading, Reason, Rejected, State, Verdict, consecutive,
};
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use testkit::body::{Hand, HandBody, by_hand};
use testkit::probe::ProbeError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn};

use super::{builder, secs};

fn fragile() -> Breaker {
    builder().0.trip(consecutive(2)).build().unwrap()
}

fn get() -> Request<()> {
    Request::new(())
}

fn grpc() -> Request<()> {
    let builder = Request::post("/shop.Cart/Add").header("content-type", "application/grpc");
    builder.body(()).unwrap()
}

#[tokio::test]
async fn a_rejection_is_a_problem_and_the_error_type_stays() {
    let breaker = fragile();
    breaker.open_for(secs(7));
    let service = CircuitLayer::http(breaker).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let response: Result<_, Infallible> = service.oneshot(get()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["retry-after"], "7");
    let rejected = response.extensions().get::<Rejected>().unwrap();
    assert_eq!(rejected.reason(), Reason::Open);
    let size = response.body().size_hint().exact().unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(size, body.len() as u64);
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.starts_with(r#"{"type":"urn:buttress:problem:circuit-open""#));
    assert!(
        !text.contains("test"),
        "the breaker's name is our own affair"
    );
}

#[tokio::test]
async fn a_grpc_call_gets_unavailable_with_pushback() {
    let breaker = fragile();
    breaker.open_for(secs(7));
    let service = CircuitLayer::http(breaker).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let response = service.oneshot(grpc()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "7000");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn a_refusal_can_be_ones_own() {
    let breaker = fragile();
    breaker.force_open();
    let layer =
        CircuitLayer::http(breaker).refuse_with(|rejected: &Rejected, protocol: Protocol| {
            let text = format!("{protocol:?} {:?}", rejected.retry_after());
            Response::new(Full::new(Bytes::from(text)))
        });
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let response = service.oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Rejected>().is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Http None");
}

#[tokio::test]
async fn a_fallbacks_answer_tells_that_it_is_one() {
    let breaker = fragile();
    breaker.open_for(secs(7));
    let answer = |text: &'static str| {
        service_fn(move |_: Request<()>| {
            let response = Response::new(Full::<Bytes>::from(text));
            std::future::ready(Ok::<_, Infallible>(response))
        })
    };
    let layer = CircuitLayer::http(breaker.clone()).fallback(answer("stale"));
    let service = layer.layer(answer("fresh"));
    let response = service.clone().oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Rejected>().is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "stale");
    breaker.reset();
    let response = service.oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Rejected>().is_none());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "fresh");
}

#[cfg(feature = "tokio")]
mod timeouts {
    use std::future::pending;

    use buttress_circuit::TimedOut;

    use super::*;

    async fn time_out(request: Request<()>) -> Response<impl Body<Data = Bytes>> {
        let breaker = builder().0.trip(consecutive(1)).build().unwrap();
        let service = CircuitLayer::http(breaker.clone())
            .timeout(secs(1))
            .layer(service_fn(async |_: Request<()>| {
                pending::<Result<Response<Full<Bytes>>, Infallible>>().await
            }));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(breaker.state(), State::Open);
        response
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_a_504() {
        let response = time_out(get()).await;
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let late = response.extensions().get::<TimedOut>().unwrap();
        assert_eq!(late.limit(), secs(1));
        let body = response.into_body().collect().await.ok().unwrap();
        let body = body.to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.starts_with(r#"{"type":"urn:buttress:problem:circuit-timeout""#));
        assert!(!text.contains("test"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_grpc_call_that_takes_too_long_exceeds_its_deadline() {
        let response = time_out(grpc()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_its_time() {
        let breaker = builder().0.trip(consecutive(1)).build().unwrap();
        let (body, hand) = by_hand();
        let body = std::sync::Mutex::new(Some(body));
        let service = CircuitLayer::http(breaker.clone())
            .classify_http(ServerErrors::default().until_end_of_body())
            .timeout(secs(1))
            .layer(service_fn(|_: Request<()>| {
                let body = body.lock().unwrap().take().unwrap();
                std::future::ready(Ok::<_, ProbeError>(Response::new(body)))
            }));
        let mut body = service.oneshot(get()).await.unwrap().into_body();
        tokio::time::advance(secs(60)).await;
        hand.data("late").end();
        assert!(poll(&mut body).unwrap().is_ok());
        assert!(poll(&mut body).is_none());
        assert_eq!(breaker.state(), State::Closed);
    }
}

/// Sends one request, whose answer has this head and a body that the test feeds.
async fn exchange(
    breaker: &Breaker,
    classify: ServerErrors,
    head: &[(&'static str, &'static str)],
) -> (
    impl Body<Data = Bytes, Error = ProbeError> + Unpin + use<>,
    Hand,
) {
    let (body, hand) = by_hand();
    let mut response = Response::new(body);
    for &(name, value) in head {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    (answer(breaker, classify, get(), response).await, hand)
}

/// Sends this request, whose answer is this one.
async fn answer(
    breaker: &Breaker,
    classify: ServerErrors,
    request: Request<()>,
    response: Response<HandBody>,
) -> impl Body<Data = Bytes, Error = ProbeError> + Unpin + use<> {
    let response = std::sync::Mutex::new(Some(response));
    let service = CircuitLayer::http(breaker.clone())
        .classify_http(classify)
        .layer(service_fn(|_: Request<()>| {
            let response = response.lock().unwrap().take();
            std::future::ready(response.ok_or(ProbeError))
        }));
    let response: Response<_> = service.oneshot(request).await.unwrap();
    response.into_body()
}

fn poll<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    match task::spawn(body.frame()).poll() {
        std::task::Poll::Ready(frame) => frame,
        std::task::Poll::Pending => panic!("no frame"),
    }
}

fn failures(breaker: &Breaker) -> u32 {
    match breaker.snapshot().rules[..] {
        [Reading::Consecutive(failures)] => failures,
        _ => unreachable!(),
    }
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];

#[tokio::test]
async fn a_body_that_breaks_is_a_failure_if_asked_for() {
    for (classify, expected) in [
        (ServerErrors::default(), 0),
        (ServerErrors::default().until_end_of_body(), 1),
    ] {
        let breaker = fragile();
        let (mut body, hand) = exchange(&breaker, classify, &[]).await;
        hand.data("a").fail();
        assert!(poll(&mut body).unwrap().is_ok());
        assert_eq!(failures(&breaker), 0);
        assert!(poll(&mut body).unwrap().is_err());
        assert_eq!(failures(&breaker), expected);
    }
}

#[tokio::test]
async fn the_status_of_a_grpc_call_is_in_its_trailers() {
    for (status, expected) in [("0", 0), ("5", 0), ("14", 2), ("7", 1)] {
        let breaker = builder().0.trip(consecutive(9)).build().unwrap();
        breaker.try_acquire().unwrap().failure();
        let (mut body, hand) = exchange(&breaker, ServerErrors::default(), GRPC).await;
        let trailers = HeaderMap::from_iter([(
            ::http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        hand.data("a").trailers(trailers);
        assert!(poll(&mut body).unwrap().unwrap().is_data());
        assert_eq!(failures(&breaker), 1);
        assert!(poll(&mut body).unwrap().unwrap().is_trailers());
        assert_eq!(failures(&breaker), expected, "{status}");
        drop(body);
        assert_eq!(failures(&breaker), expected, "{status}");
    }
}

#[tokio::test]
async fn a_backend_may_say_for_how_long_it_is_not_called() {
    let (builder, clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let layer = CircuitLayer::http(breaker.clone());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        let answer = Response::builder().status(503).header("retry-after", "40");
        Ok::<_, Infallible>(answer.body(Full::<Bytes>::default()).unwrap())
    }));
    service.clone().oneshot(get()).await.unwrap();
    clock.advance(secs(39));
    assert_eq!(breaker.state(), State::Open);
    let refusal = service.oneshot(get()).await.unwrap();
    let told: u64 = refusal.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    // The breaker's jitter may add to what was asked for.
    assert!((1..=5).contains(&told), "{told}");
    clock.advance(secs(5));
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[tokio::test]
async fn errors_and_answers_are_classified_apart() {
    for (verdict, expected) in [(Verdict::Failure, 1), (Verdict::Ignore, 0)] {
        let breaker = fragile();
        let service = CircuitLayer::http(breaker.clone())
            .classify_http_errors(move |_: &ProbeError| verdict)
            .layer(service_fn(async |_: Request<()>| {
                Err::<Response<Full<Bytes>>, _>(ProbeError)
            }));
        assert!(service.oneshot(get()).await.is_err());
        assert_eq!(failures(&breaker), expected);
    }
    let breaker = fragile();
    let service = CircuitLayer::new(breaker.clone())
        .classify_errors(|error: &u8| match error {
            0 => Verdict::Ignore,
            _ => Verdict::Failure,
        })
        .layer(service_fn(async |error: u8| Err::<(), _>(error)));
    for (error, expected) in [(0, 0), (1, 1), (0, 1)] {
        assert!(service.clone().oneshot(error).await.is_err());
        assert_eq!(failures(&breaker), expected);
    }
}

#[tokio::test]
async fn a_grpc_stream_without_trailers_has_failed() {
    let breaker = fragile();
    let (mut body, hand) = exchange(&breaker, ServerErrors::default(), GRPC).await;
    hand.data("a").end();
    assert!(poll(&mut body).unwrap().is_ok());
    assert!(poll(&mut body).is_none());
    assert_eq!(failures(&breaker), 1);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_is_a_caller_who_went_away() {
    let breaker = fragile();
    breaker.try_acquire().unwrap().failure();
    let (body, hand) = exchange(&breaker, ServerErrors::default().until_end_of_body(), &[]).await;
    drop(body);
    assert!(hand.is_dropped());
    assert_eq!(failures(&breaker), 1);
}

/// A server over HTTP/1.1 asks for no more than was announced.
#[tokio::test]
async fn a_body_that_ends_as_announced_is_a_success() {
    let until_end = ServerErrors::default().until_end_of_body();
    let trailers = ("trailer", "server-timing");
    for (head, frames, expected) in [
        (&[("content-length", "3")][..], &["ab", "c"][..], 0),
        (&[("content-length", "3")], &["abc"], 0),
        (&[("content-length", "3")], &["abcd"], 0),
        (&[("content-length", "0")], &[], 0),
        (&[("content-length", "3")], &["ab"], 1),
        (&[("content-length", "3")], &[], 1),
        (&[("content-length", "3"), trailers], &["abc"], 1),
        (&[("content-length", "three")], &["abc"], 1),
        (&[("content-length", "3"), GRPC[0]], &["abc"], 1),
        (&[], &["abc"], 1),
    ] {
        let breaker = fragile();
        breaker.try_acquire().unwrap().failure();
        let (mut body, hand) = exchange(&breaker, until_end, head).await;
        for frame in frames {
            assert_eq!(failures(&breaker), 1);
            hand.data(*frame);
            assert!(poll(&mut body).unwrap().is_ok());
        }
        drop(body);
        assert_eq!(failures(&breaker), expected, "{head:?} {frames:?}");
    }
}

/// Hyper's own server, over a connection in memory.
#[tokio::test]
async fn what_a_server_has_sent_over_http_1_is_a_success() {
    for (method, length, sent) in [
        ("GET", Some("3"), "\r\n\r\nabc"),
        ("GET", None, "\r\n\r\nabc"),
        ("HEAD", Some("3"), "\r\n\r\n"),
    ] {
        let breaker = fragile();
        breaker.try_acquire().unwrap().failure();
        let layer = CircuitLayer::http(breaker.clone())
            .classify_http(ServerErrors::default().until_end_of_body());
        let service = layer.layer(service_fn(move |_: Request<_>| {
            let (body, hand) = by_hand();
            hand.data("ab").data("c");
            let mut response = Response::builder();
            match length {
                Some(length) => response = response.header("content-length", length),
                None => _ = hand.announce(3),
            }
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        }));
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let serving = auto::Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(service);
        let served = serving.serve_connection(TokioIo::new(server), service);
        served.await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with(sent), "{answer}");
        assert_eq!(failures(&breaker), 0, "{answer}");
    }
}

#[tokio::test]
async fn a_size_hint_that_is_exact_announces_a_length() {
    let until_end = ServerErrors::default().until_end_of_body();
    for (request, expected) in [(get(), 0), (grpc(), 1)] {
        let breaker = fragile();
        breaker.try_acquire().unwrap().failure();
        let (body, hand) = by_hand();
        hand.announce(3).data("ab").data("c");
        let mut body = answer(&breaker, until_end, request, Response::new(body)).await;
        assert!(poll(&mut body).unwrap().is_ok());
        assert_eq!(failures(&breaker), 1);
        assert!(poll(&mut body).unwrap().is_ok());
        drop(body);
        assert_eq!(failures(&breaker), expected);
    }
}

#[tokio::test]
async fn an_answer_without_content_counts_with_its_head() {
    let until_end = ServerErrors::default().until_end_of_body();
    for (method, status, expected) in [
        ("HEAD", 200, 0),
        ("CONNECT", 200, 0),
        ("CONNECT", 404, 1),
        ("GET", 204, 0),
        ("GET", 304, 0),
        ("GET", 101, 0),
        ("GET", 200, 1),
    ] {
        let breaker = fragile();
        breaker.try_acquire().unwrap().failure();
        let request = Request::builder().method(method).body(()).unwrap();
        let response = Response::builder()
            .status(status)
            .header("content-length", "3");
        let response = response.body(by_hand().0).unwrap();
        drop(answer(&breaker, until_end, request, response).await);
        assert_eq!(failures(&breaker), expected, "{method} {status}");
    }
}

#[tokio::test]
async fn a_probe_whose_answer_ends_as_announced_closes_the_breaker() {
    let (builder, clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    breaker.try_acquire().unwrap().failure();
    clock.advance(secs(3600));
    let until_end = ServerErrors::default().until_end_of_body();
    for _ in 0..100 {
        assert_eq!(breaker.state(), State::HalfOpen);
        let (mut body, hand) = exchange(&breaker, until_end, &[("content-length", "1")]).await;
        hand.data("a");
        assert!(poll(&mut body).unwrap().is_ok());
        drop(body);
        if breaker.state() == State::Closed {
            return;
        }
    }
    panic!("it never closes");
}

/// Panics when it is polled.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("a body that panics")
    }
}

#[tokio::test]
async fn a_body_that_panics_has_failed() {
    let breaker = fragile();
    let service = CircuitLayer::http(breaker.clone())
        .classify_http(ServerErrors::default().until_end_of_body())
        .layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Panics))
        }));
    let mut body = service.oneshot(get()).await.unwrap().into_body();
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body)));
    assert!(polled.is_err());
    assert_eq!(failures(&breaker), 1);
}

#[tokio::test]
async fn a_body_that_is_known_to_have_ended_counts_at_once() {
    let until_end = ServerErrors::default().until_end_of_body();
    for text in ["", "all in one frame"] {
        let breaker = fragile();
        breaker.try_acquire().unwrap().failure();
        let service = CircuitLayer::http(breaker.clone())
            .classify_http(until_end)
            .layer(service_fn(async |_: Request<()>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
            }));
        let mut body = service.oneshot(get()).await.unwrap().into_body();
        if !text.is_empty() {
            assert_eq!(failures(&breaker), 1);
            assert!(poll(&mut body).unwrap().is_ok());
        }
        assert_eq!(failures(&breaker), 0, "a success ends the run");
    }
}

#[tokio::test]
async fn frames_hints_and_trailers_pass_through() {
    let breaker = fragile();
    let until_end = ServerErrors::default().until_end_of_body();
    let (mut body, hand) = exchange(&breaker, until_end, &[]).await;
    hand.announce(3).data("ab");
    assert_eq!(body.size_hint().exact(), Some(3));
    assert_eq!(poll(&mut body).unwrap().unwrap().into_data().unwrap(), "ab");
    assert_eq!(body.size_hint().exact(), Some(1));
    let mut next = task::spawn(body.frame());
    assert!(next.poll().is_pending());
    hand.data("c");
    assert!(next.is_woken());
}

#[tokio::test]
async fn server_errors_open_and_a_user_classifier_replaces_them() {
    let answer = |status: StatusCode| {
        service_fn(move |_: Request<()>| {
            let mut response = Response::new(http_body_util::Empty::<Bytes>::new());
            *response.status_mut() = status;
            std::future::ready(Ok::<_, Infallible>(response))
        })
    };
    let breaker = fragile();
    let service = CircuitLayer::http(breaker.clone()).layer(answer(StatusCode::BAD_GATEWAY));
    for _ in 0..2 {
        assert_eq!(breaker.state(), State::Closed);
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), 502);
    }
    assert_eq!(breaker.state(), State::Open);

    let breaker = fragile();
    let service = CircuitLayer::http(breaker.clone())
        .classify_http(OnlyTeapots)
        .layer(answer(StatusCode::IM_A_TEAPOT));
    for _ in 0..2 {
        assert_eq!(breaker.state(), State::Closed);
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
}

#[derive(Clone, Copy)]
struct OnlyTeapots;

impl<E> buttress_circuit::http::ClassifyHttp<E> for OnlyTeapots {
    type End = fn(Option<&HeaderMap>) -> Verdict;

    fn head(
        &self,
        status: StatusCode,
        _: &HeaderMap,
    ) -> buttress_circuit::http::Classified<Self::End> {
        buttress_circuit::http::Classified::Now(if status == StatusCode::IM_A_TEAPOT {
            Verdict::Failure
        } else {
            Verdict::Success
        })
    }
}
