//! Tower's laws, as tests that any layer can be put through.
//!
//! [`tower_laws!`](crate::tower_laws) makes one module of tests for one layer. What a layer must hold:
//!
//! - only the instance that was made ready is called;
//! - clones are independent: a clone of a ready service is made ready itself;
//! - a drop at every await point, of the future and of the body, gives everything back;
//! - a task is never woken unless something happened;
//! - every `Pending` has a wake: when what it waits for happens, the task is woken;
//! - readiness: the inner service's is passed on, or the layer is always ready and does not ask.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tokio_test::task;

use crate::probe::{Probe, Script};

/// What a layer's `poll_ready` promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// Ready at once, without asking the inner service.
    Always,
    /// The inner service's.
    PassedOn,
}

/// A layer under test, reduced to what the laws need. [`tower_laws!`](crate::tower_laws) builds it.
#[allow(missing_debug_implementations, reason = "made of closures")]
pub struct Subject<S> {
    /// Wraps a probed service.
    pub wrap: Box<dyn Fn(&Probe) -> S>,
    /// `poll_ready`, with the error thrown away.
    #[allow(clippy::type_complexity)]
    pub poll_ready: Box<dyn Fn(&mut S, &mut std::task::Context<'_>) -> Poll<()>>,
    /// Makes the service ready, calls it and reads the whole answer.
    #[allow(clippy::type_complexity)]
    pub exchange: Box<dyn Fn(S) -> Pin<Box<dyn Future<Output = ()>>>>,
    /// Asserts that the layer's own state is as if nothing had happened.
    pub given_back: Box<dyn Fn()>,
    /// What the layer promises.
    pub readiness: Readiness,
}

impl<S: Clone> Subject<S> {
    /// Three exchanges in a row, on the service and on its clones, each step delayed.
    pub async fn only_the_readied_instance_is_called(&self) {
        let probe = Probe::new(Script::STEPWISE);
        let service = (self.wrap)(&probe);
        for service in [service.clone(), service.clone(), service] {
            self.complete(&probe, service).await;
        }
        assert!(probe.calls() > 0, "the inner service was never called");
    }

    /// A clone of a ready service neither shares nor steals its readiness.
    pub async fn a_clone_is_made_ready_itself(&self) {
        let probe = Probe::new(Script::STEPWISE);
        let mut original = (self.wrap)(&probe);
        self.make_ready(&probe, &mut original).await;
        let clone = original.clone();
        self.complete(&probe, clone).await;
        self.complete(&probe, original).await;
        assert_nothing_is_held(&probe);
    }

    /// Whenever the caller goes away, nothing stays behind, and the next request is served.
    pub async fn a_drop_at_every_await_point_gives_everything_back(&self) {
        for polls in 0.. {
            let probe = Probe::new(Script::STEPWISE);
            let service = (self.wrap)(&probe);
            let finished = self.poll_times(polls, &probe, service.clone()).await;
            settle(&probe).await;
            drop(service);
            assert_nothing_is_held(&probe);
            (self.given_back)();
            self.complete(&probe, (self.wrap)(&probe)).await;
            settle(&probe).await;
            (self.given_back)();
            if finished {
                assert!(polls > 3, "the exchange was never seen pending");
                return;
            }
        }
    }

    /// While nothing happens, a pending task stays asleep.
    pub async fn nothing_wakes_itself(&self) {
        self.at_every_pending(|woken, _| {
            assert!(!woken, "the task was woken although nothing had happened");
        })
        .await;
    }

    /// When the one thing that everybody waits for happens, the pending task is woken.
    pub async fn every_pending_has_a_wake(&self) {
        self.at_every_pending(|_, woken| {
            assert!(
                woken,
                "what the task waited for has happened, and nobody woke it"
            );
        })
        .await;
    }

    /// As [`Readiness`] says.
    pub async fn readiness_is_as_promised(&self) {
        let probe = Probe::new(Script::STEPWISE);
        let mut service = (self.wrap)(&probe);
        let mut ready = task::spawn(std::future::poll_fn(|cx| {
            (self.poll_ready)(&mut service, cx)
        }));
        match self.readiness {
            Readiness::Always => {
                assert!(
                    ready.poll().is_ready(),
                    "the layer waits for its inner service"
                );
                assert_eq!(probe.ready_polls(), 0, "the layer asks its inner service");
            }
            Readiness::PassedOn => {
                assert!(
                    ready.poll().is_pending(),
                    "the layer is ready before its inner service"
                );
                probe.turn();
                probe.turn();
                assert!(ready.is_woken() && ready.poll().is_ready());
                assert_eq!(probe.permits(), 1);
            }
        }
        drop(ready);
        drop(service);
        assert_nothing_is_held(&probe);
    }

    async fn make_ready(&self, probe: &Probe, service: &mut S) {
        let mut ready = task::spawn(std::future::poll_fn(|cx| (self.poll_ready)(service, cx)));
        while ready.poll().is_pending() {
            probe.turn();
        }
    }

    /// Runs an exchange to its end.
    async fn complete(&self, probe: &Probe, service: S) {
        assert!(
            self.poll_times(MANY, probe, service).await,
            "the exchange never ends"
        );
    }

    /// Polls an exchange so many times, a turn after each, and drops it. Tells whether it ended.
    async fn poll_times(&self, polls: usize, probe: &Probe, service: S) -> bool {
        let mut exchange = task::spawn((self.exchange)(service));
        for _ in 0..polls {
            if exchange.poll().is_ready() {
                return true;
            }
            step(probe).await;
        }
        false
    }

    /// Polls an exchange to its end. At each pending, `check` hears whether the task was woken before, and after, a turn.
    async fn at_every_pending(&self, check: impl Fn(bool, bool)) {
        let probe = Probe::new(Script::STEPWISE);
        let mut exchange = task::spawn((self.exchange)((self.wrap)(&probe)));
        for _ in 0..MANY {
            if exchange.poll().is_ready() {
                return;
            }
            let before = exchange.is_woken();
            step(&probe).await;
            check(before, exchange.is_woken());
        }
        panic!("the exchange never ends");
    }
}

/// More polls than any exchange of the script needs.
const MANY: usize = 100;

/// One turn, and time for what the layer detached to notice it.
async fn step(probe: &Probe) {
    tokio::task::yield_now().await;
    probe.turn();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Lets whatever was detached come to its end.
async fn settle(probe: &Probe) {
    for _ in 0..20 {
        step(probe).await;
    }
}

#[track_caller]
fn assert_nothing_is_held(probe: &Probe) {
    assert_eq!(probe.futures(), 0, "an inner future was left behind");
    assert_eq!(probe.bodies(), 0, "an inner body was left behind");
    assert_eq!(
        probe.permits(),
        0,
        "an inner service was left ready, or a call under way"
    );
}

/// Puts a layer through tower's laws: a module with a test for each of [`laws`](crate::laws).
///
/// ```
/// use http::{Request, Response};
/// use testkit::probe::ProbedBody;
///
/// testkit::tower_laws! {
///     mod the_identity_layer {
///         readiness: PassedOn,
///         layer: tower::layer::util::Identity::new(),
///         request: || Request::new(()),
///         answer: |probe, _request: Request<()>| Ok(Response::new(probe.body(&["a", "b"]))),
///         read: |response: Response<ProbedBody>| async { testkit::laws::read_body(response).await },
///         given_back: |_layer| {},
///     }
/// }
/// # fn main() {}
/// ```
///
/// - `layer` is evaluated once per test; services are made from it by `Layer::layer`;
/// - `request` makes a request that reaches the inner service;
/// - `answer` is what the inner service does with it;
/// - `read` takes the layer's response to its end;
/// - `given_back` gets the layer and asserts that its state is as new. It runs after every drop, when all is quiet.
#[macro_export]
macro_rules! tower_laws {
    (
        mod $name:ident {
            readiness: $readiness:ident,
            layer: $layer:expr,
            request: $request:expr,
            answer: $answer:expr,
            read: $read:expr,
            given_back: $given_back:expr $(,)?
        }
    ) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::tower_laws!(@test only_the_readied_instance_is_called,
                $readiness, $layer, $request, $answer, $read, $given_back);
            $crate::tower_laws!(@test a_clone_is_made_ready_itself,
                $readiness, $layer, $request, $answer, $read, $given_back);
            $crate::tower_laws!(@test a_drop_at_every_await_point_gives_everything_back,
                $readiness, $layer, $request, $answer, $read, $given_back);
            $crate::tower_laws!(@test nothing_wakes_itself,
                $readiness, $layer, $request, $answer, $read, $given_back);
            $crate::tower_laws!(@test every_pending_has_a_wake,
                $readiness, $layer, $request, $answer, $read, $given_back);
            $crate::tower_laws!(@test readiness_is_as_promised,
                $readiness, $layer, $request, $answer, $read, $given_back);
        }
    };
    (@test $law:ident, $readiness:ident, $layer:expr, $request:expr, $answer:expr, $read:expr,
        $given_back:expr) => {
        #[test]
        fn $law() {
            $crate::laws::run(async {
                let layer = ::std::rc::Rc::new($layer);
                let wrapped = ::std::rc::Rc::clone(&layer);
                let subject = $crate::laws::Subject {
                    wrap: Box::new(move |probe| {
                        $crate::__private::Layer::layer(&*wrapped, probe.service($answer))
                    }),
                    poll_ready: Box::new(|service, cx| {
                        $crate::laws::poll_ready_for(&$request, service, cx)
                    }),
                    exchange: Box::new(|service| {
                        Box::pin($crate::laws::exchange(service, $request, $read))
                    }),
                    given_back: Box::new(move || ($given_back)(&*layer)),
                    readiness: $crate::laws::Readiness::$readiness,
                };
                subject.$law().await;
            });
        }
    };
}

/// Makes `service` ready, calls it, reads the answer. An error of the service is a failed test.
pub async fn exchange<S, Req, Read, Reading>(mut service: S, request: impl Fn() -> Req, read: Read)
where
    S: tower_service::Service<Req>,
    S::Error: std::fmt::Debug,
    Read: Fn(S::Response) -> Reading,
    Reading: Future<Output = ()>,
{
    std::future::poll_fn(|cx| service.poll_ready(cx))
        .await
        .expect("the service is ready");
    let response = service.call(request()).await.expect("the service answers");
    drop(service);
    read(response).await;
}

/// `service`'s readiness for the kind of request that `_request` makes.
pub fn poll_ready_for<S, Req>(
    _request: &impl Fn() -> Req,
    service: &mut S,
    cx: &mut std::task::Context<'_>,
) -> Poll<()>
where
    S: tower_service::Service<Req>,
    S::Error: std::fmt::Debug,
{
    service
        .poll_ready(cx)
        .map(|ready| ready.expect("the service is ready"))
}

/// Reads a response's body to its end. An error of the body is a failed test.
pub async fn read_body<B>(response: http::Response<B>)
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let mut body = std::pin::pin!(response.into_body());
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame.expect("the body is whole");
    }
}

/// Runs a test on one thread, with tokio's clock paused.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(test);
}
