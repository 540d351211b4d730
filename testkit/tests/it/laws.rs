//! A law that no layer can break is no law: each is shown a layer that breaks it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use testkit::laws::{self, Readiness, Subject};
use testkit::probe::{Probe, ProbeError, ProbedBody};
use tower::{Layer, Service, ServiceBuilder};

type Answer = fn(&Probe, Request<()>) -> Result<Response<ProbedBody>, ProbeError>;
type Inner = testkit::probe::Probed<Answer>;

fn answer(probe: &Probe, _: Request<()>) -> Result<Response<ProbedBody>, ProbeError> {
    Ok(Response::new(probe.body(&["a", "b"])))
}

testkit::tower_laws! {
    mod a_concurrency_limit_passes {
        readiness: PassedOn,
        layer: tower::limit::ConcurrencyLimitLayer::new(2),
        request: || Request::new(()),
        answer: answer,
        read: |response: Response<ProbedBody>| laws::read_body(response),
        given_back: |_| {},
    }
}

fn subject<L>(layer: L, readiness: Readiness) -> Subject<L::Service>
where
    L: Layer<Inner> + 'static,
    L::Service: Service<Request<()>, Response = Response<ProbedBody>, Error = ProbeError> + Clone,
    L::Service: 'static,
{
    Subject {
        wrap: Box::new(move |probe| layer.layer(probe.service(answer as Answer))),
        poll_ready: Box::new(|service, cx| laws::poll_ready_for(&|| Request::new(()), service, cx)),
        exchange: Box::new(|service| {
            Box::pin(laws::exchange(
                service,
                || Request::new(()),
                laws::read_body,
            ))
        }),
        given_back: Box::new(|| {}),
        readiness,
    }
}

/// A service whose `call` and `poll_ready` are wrong in a way of one's choice.
#[derive(Clone)]
struct Wrong<S> {
    inner: S,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    CallsAClone,
    ForgetsTheFuture,
    IsReadyTooEarly,
    LosesTheWake,
    WakesItself,
}

fn wrong(how: How) -> impl Layer<Inner, Service = Wrong<Inner>> {
    tower::layer::layer_fn(move |inner| Wrong { inner, how })
}

impl Service<Request<()>> for Wrong<Inner> {
    type Response = Response<ProbedBody>;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ProbeError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if self.how == How::IsReadyTooEarly {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut inner = self.inner.clone();
        let how = self.how;
        let mut future = match how {
            How::CallsAClone => return Box::pin(async move { inner.call(request).await }),
            How::IsReadyTooEarly => {
                return Box::pin(async move {
                    std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                    inner.call(request).await
                });
            }
            _ => Box::pin(self.inner.call(request)),
        };
        if how == How::ForgetsTheFuture {
            let kept = Box::leak(Box::new(future));
            return Box::pin(std::future::poll_fn(move |cx| kept.as_mut().poll(cx)));
        }
        Box::pin(std::future::poll_fn(move |cx| {
            let mut ignored = Context::from_waker(std::task::Waker::noop());
            let poll = match how {
                How::LosesTheWake => future.as_mut().poll(&mut ignored),
                _ => future.as_mut().poll(cx),
            };
            if how == How::WakesItself && poll.is_pending() {
                cx.waker().wake_by_ref();
            }
            poll
        }))
    }
}

/// Runs a law on a wrong layer and gives the words it fails with.
fn complaint(law: impl AsyncFnOnce(Subject<Wrong<Inner>>), how: How) -> String {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        laws::run(law(subject(wrong(how), Readiness::PassedOn)));
    }));
    let panic = failed.expect_err("the law finds nothing wrong with it");
    match panic.downcast_ref::<&str>() {
        Some(words) => (*words).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn calling_a_clone_that_was_not_readied_is_seen() {
    let words = complaint(
        async |subject| subject.only_the_readied_instance_is_called().await,
        How::CallsAClone,
    );
    assert!(words.contains("not made ready"), "{words}");
}

#[test]
fn a_future_left_behind_is_seen() {
    let words = complaint(
        async |subject| {
            subject
                .a_drop_at_every_await_point_gives_everything_back()
                .await
        },
        How::ForgetsTheFuture,
    );
    assert!(words.contains("left behind"), "{words}");
}

#[test]
fn a_self_wake_is_seen() {
    let words = complaint(
        async |subject| subject.nothing_wakes_itself().await,
        How::WakesItself,
    );
    assert!(words.contains("nothing had happened"), "{words}");
}

#[test]
fn a_lost_wake_is_seen() {
    let words = complaint(
        async |subject| subject.every_pending_has_a_wake().await,
        How::LosesTheWake,
    );
    assert!(words.contains("nobody woke it"), "{words}");
}

#[test]
fn readiness_that_is_claimed_too_early_is_seen() {
    let words = complaint(
        async |subject| subject.readiness_is_as_promised().await,
        How::IsReadyTooEarly,
    );
    assert!(words.contains("before its inner service"), "{words}");
}

#[test]
fn a_stack_of_right_layers_is_right() {
    let stack = ServiceBuilder::new()
        .concurrency_limit(3)
        .layer(tower::layer::util::Identity::new());
    laws::run(subject(stack, Readiness::PassedOn).a_clone_is_made_ready_itself());
}
