//! A request that is interrupted at every place where it can be.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, Execution, IdempotencyLayer, MemoryStore, OnConflict, Record,
    Recovery, RequestBody, Scoped, Standing, Store, StoreError, Token,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use testkit::probe::ProbeError;
use tokio::task::yield_now;
use tokio_test::task;
use tower::{Layer, Service, service_fn};

/// A store of which every answer has to be waited for.
#[derive(Clone, Default)]
struct Far(MemoryStore);

impl Store for Far {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        yield_now().await;
        let begun = self.0.begin(request).await;
        yield_now().await;
        begun
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        self.0.seize(claim, token, lease).await
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        yield_now().await;
        self.0.look(request).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        yield_now().await;
        self.0.renew(claim, lease, ttl).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        yield_now().await;
        self.0.complete(claim, record, ttl).await?;
        yield_now().await;
        Ok(())
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        yield_now().await;
        self.0.abandon(claim).await
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.purge(limit).await
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        yield_now().await;
        self.0.confirm(claim).await
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.0.unknown(limit).await
    }
}

/// A body that gives these, each of them at once or when it is asked for the second time.
#[derive(Clone, Debug)]
struct Steps {
    left: VecDeque<Step>,
    slow: bool,
    waited: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Break,
    Data(Bytes),
    Trailers,
}

impl Steps {
    fn new(slow: bool, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            left: steps.into_iter().collect(),
            slow,
            waited: false,
        }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        self.waited = self.slow && !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.left.pop_front().map(|step| match step {
            Step::Break => Err(ProbeError),
            Step::Data(data) => Ok(Frame::data(data)),
            Step::Trailers => Ok(Frame::trailers(trailers())),
        }))
    }
}

fn data(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))])
}

/// A shop of which everything is far and slow.
struct Shop {
    layer: IdempotencyLayer<Far, Scoped>,
    effects: Arc<AtomicUsize>,
}

impl Shop {
    fn new(execution: Execution, recovery: Recovery) -> Self {
        let wait = OnConflict::Wait {
            at_most: Duration::from_secs(60),
            waiters: 9,
        };
        Self {
            layer: IdempotencyLayer::new(Far::default())
                .single_tenant()
                .execution(execution)
                .recovery(recovery)
                .on_conflict(wait),
            effects: Arc::default(),
        }
    }

    async fn send(&self) -> (StatusCode, bool, Bytes) {
        let effects = self.effects.clone();
        let handler = move |_: Request<RequestBody<Steps>>| {
            let effects = effects.clone();
            async move {
                yield_now().await;
                let count = effects.fetch_add(1, Ordering::SeqCst) + 1;
                yield_now().await;
                let told = Bytes::from(format!("effect {count}"));
                let steps = [Step::Data(told), data(" of order"), Step::Trailers];
                Ok::<_, Infallible>(Response::new(Steps::new(true, steps)))
            }
        };
        let body = Steps::new(true, [data("la"), data("mp")]);
        let order = Request::post("/")
            .header("idempotency-key", "k")
            .body(body)
            .unwrap();
        let response = self
            .layer
            .layer(service_fn(handler))
            .call(order)
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let replayed = head.headers.contains_key("idempotency-replayed");
        let body = body.collect().await.unwrap();
        (head.status, replayed, body.to_bytes())
    }

    fn effects(&self) -> usize {
        self.effects.load(Ordering::SeqCst)
    }
}

/// Drops a request after every number of polls, and sends it once more.
async fn dropped_anywhere(
    execution: Execution,
    recovery: Recovery,
    check: impl Fn(&Shop, usize, (StatusCode, bool, Bytes)),
) {
    for polls in 1.. {
        let shop = Shop::new(execution, recovery);
        let mut sending = task::spawn(shop.send());
        let mut ended = false;
        for _ in 0..polls {
            if sending.poll().is_ready() {
                ended = true;
                break;
            }
            yield_now().await;
        }
        drop(sending);
        shop.layer.tasks().drain().await;
        let before = shop.effects();
        let second = shop.send().await;
        check(&shop, before, second);
        shop.layer.tasks().drain().await;
        let seen = shop.layer.snapshot();
        assert_eq!((seen.waiting, seen.tasks), (0, 0));
        if ended {
            assert!(polls > 10, "there is a lot to wait for");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_anywhere_it_happens_once() {
    for execution in [Execution::DetachOnDrop, Execution::Detached] {
        for recovery in [Recovery::Reject, Recovery::Reexecute] {
            dropped_anywhere(
                execution,
                recovery,
                |shop, before, (status, replayed, body)| {
                    assert_eq!(
                        (status, &body[..]),
                        (StatusCode::OK, &b"effect 1 of order"[..])
                    );
                    assert_eq!(replayed, before == 1);
                    assert_eq!(shop.effects(), 1);
                },
            )
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_anywhere_inline_work_is_left_to_recovery() {
    let at_most_once = |shop: &Shop, before, (status, replayed, body): (_, _, Bytes)| {
        assert!(shop.effects() <= 1);
        if status == StatusCode::OK {
            assert_eq!(
                (replayed, &body[..]),
                (before == 1, &b"effect 1 of order"[..])
            );
        } else {
            let problem = String::from_utf8_lossy(&body);
            assert!(problem.contains("idempotency-outcome-unknown"), "{problem}");
        }
    };
    dropped_anywhere(Execution::Inline, Recovery::Reject, at_most_once).await;
    let at_least_once = |shop: &Shop, before, (status, replayed, _)| {
        assert_eq!(status, StatusCode::OK);
        assert_eq!(shop.effects(), if replayed { before } else { before + 1 });
        assert!((1..=2).contains(&shop.effects()));
    };
    dropped_anywhere(Execution::Inline, Recovery::Reexecute, at_least_once).await;
}

#[tokio::test]
async fn a_response_that_breaks_at_any_frame_is_an_unknown_outcome() {
    let whole = [data("one"), data("two"), data("three"), Step::Trailers];
    for execution in [
        Execution::DetachOnDrop,
        Execution::Detached,
        Execution::Inline,
    ] {
        for (broken_at, slow) in (0..=whole.len()).flat_map(|at| [(at, true), (at, false)]) {
            let layer = IdempotencyLayer::new(MemoryStore::new())
                .single_tenant()
                .recovery(Recovery::Reject)
                .execution(execution);
            let steps = whole[..broken_at].iter().cloned().chain([Step::Break]);
            let breaking = Steps::new(slow, steps);
            let handler = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
                let breaking = breaking.clone();
                async { Ok::<_, Infallible>(Response::new(breaking)) }
            });
            let mut service = layer.layer(handler);
            let first = service.call(crate::kit::order("k", "")).await.unwrap();
            let mut body = first.into_body();
            for step in &whole[..broken_at] {
                let frame = body.frame().await.unwrap().unwrap();
                let seen = frame.into_data().map_or(Step::Trailers, Step::Data);
                assert_eq!(seen, *step, "each frame, once");
            }
            assert!(body.frame().await.unwrap().is_err());
            assert!(body.frame().await.is_none(), "an error ends it");
            layer.tasks().drain().await;
            let again = service.call(crate::kit::order("k", "")).await.unwrap();
            assert_eq!(again.status(), StatusCode::CONFLICT);
            assert_eq!(layer.unknown(9).await.unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_request_that_breaks_at_any_frame_has_never_been() {
    let whole = [data("one"), data("two"), Step::Trailers];
    for broken_at in 0..=whole.len() {
        let layer = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        let mut service = layer.layer(service_fn(move |_: Request<RequestBody<Steps>>| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        }));
        let steps = whole[..broken_at].iter().cloned().chain([Step::Break]);
        let order = Request::post("/").header("idempotency-key", "k");
        let order = order.body(Steps::new(true, steps)).unwrap();
        let refused = service.call(order).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(called.load(Ordering::SeqCst), 0);
        assert_eq!(layer.store().snapshot().keys, 0, "nothing was claimed");
    }
}

#[tokio::test]
async fn a_request_body_at_the_cap_passes_and_one_over_it_does_not() {
    for (size, passes) in [(3, true), (4, true), (5, false)] {
        for pieces in [1, 2] {
            let layer = IdempotencyLayer::new(MemoryStore::new())
                .single_tenant()
                .max_request_body(4);
            let echo = |request: Request<RequestBody<Steps>>| async {
                let body = request.into_body().collect().await.unwrap();
                assert!(body.trailers().is_some(), "trailers pass");
                Ok::<_, Infallible>(Response::new(Full::new(body.to_bytes())))
            };
            let sent = "abcdef".get(..size).unwrap();
            let (head, tail) = sent.split_at(if pieces == 1 { size } else { 2 });
            let body = Steps::new(true, [data(head), data(tail), Step::Trailers]);
            let order = Request::post("/")
                .header("idempotency-key", "k")
                .body(body)
                .unwrap();
            let response = layer.layer(service_fn(echo)).call(order).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            if passes {
                assert_eq!((status, &body[..]), (StatusCode::OK, sent.as_bytes()));
            } else {
                assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
                assert_eq!(layer.store().snapshot().keys, 0);
            }
        }
    }
}
