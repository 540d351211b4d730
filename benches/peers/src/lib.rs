//! What the comparisons share: a service that answers at once, polling without a runtime, and two threads at the same work.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Barrier, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Buf;
use criterion::{BatchSize, Criterion};
use http::{Request, Response};
use http_body::Body;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

/// A service that is ready and answers at once: an odd request with success, an even one with failure.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

/// The request that succeeds.
pub const GOOD: u64 = 7;
/// The request that fails.
pub const BAD: u64 = 0;

/// The answer of [`Echo`], for those who wrap futures.
pub fn echo(request: u64) -> Ready<Result<u64, u64>> {
    let is_good = request % 2 == 1;
    ready(if is_good { Ok(request) } else { Err(request) })
}

impl Service<u64> for Echo {
    type Response = u64;
    type Error = u64;
    type Future = Ready<Result<u64, u64>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), u64>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        echo(request)
    }
}

/// Polls until it is done. Nothing that is measured has to wait for anything but the other thread, and is then asked again at once: sooner than any
/// runtime would.
#[inline]
pub fn poll<F: Future>(work: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return output;
        }
        std::hint::spin_loop();
    }
}

/// Makes a service ready and calls it.
#[inline]
pub fn call<S: Service<u64>>(service: &mut S, request: u64) -> Result<S::Response, S::Error> {
    poll(std::future::poll_fn(|cx| service.poll_ready(cx)))?;
    poll(service.call(request))
}

/// Makes a service of HTTP ready, calls it, reads the body to its end, and drops all of it. Tells how many bytes there were.
pub fn exchange<S, A, B>(service: &mut S, request: Request<A>) -> usize
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body,
{
    poll(std::future::poll_fn(|cx| service.poll_ready(cx))).expect("ready");
    let response = poll(service.call(request)).expect("answers");
    let (mut body, mut bytes) = (pin!(response.into_body()), 0);
    while !body.is_end_stream() {
        let frame = poll(std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)));
        let Some(Ok(frame)) = frame else { break };
        bytes += frame.data_ref().map_or(0, Buf::remaining);
    }
    bytes
}

/// Some peers ask for tokio's timers even where nothing waits.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || Builder::new_current_thread().enable_time().build();
    RUNTIME.get_or_init(|| build().expect("a runtime"))
}

/// Measures one call by one thread, and by two threads at once of which each has what `handle` gives it: clones that share their state.
pub fn both_ways<F: FnMut() + Send>(criterion: &mut Criterion, id: &str, handle: impl Fn() -> F) {
    both_ways_within(criterion, id, || (), handle);
}

/// The same where each thread has to enter something first, and stay there.
pub fn both_ways_within<G, F: FnMut() + Send>(
    criterion: &mut Criterion,
    id: &str,
    enter: impl Fn() -> G + Sync,
    handle: impl Fn() -> F,
) {
    let _entered = runtime().enter();
    let mut once = handle();
    {
        let _within = enter();
        criterion.bench_function(id, |bencher| bencher.iter(&mut once));
    }
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher.iter_custom(|times| together_within(times, &enter, [handle(), handle()]));
    });
}

/// How long both need for `times` calls each, beginning at the same moment: their mean.
pub fn together<F: FnMut() + Send>(times: u64, work: [F; 2]) -> Duration {
    together_within(times, &|| (), work)
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn together_within<G, F: FnMut() + Send>(
    times: u64,
    enter: &(impl Fn() -> G + Sync),
    work: [F; 2],
) -> Duration {
    let start = Barrier::new(work.len());
    let threads = work.len() as u32;
    let run = |mut once: F| {
        let (_entered, _within) = (runtime().enter(), enter());
        start.wait();
        let began = Instant::now();
        (0..times).for_each(|_| {
            black_box(&once());
        });
        began.elapsed()
    };
    let total: Duration = std::thread::scope(|scope| {
        let threads = work.map(|once| scope.spawn(|| run(once)));
        threads
            .map(|thread| thread.join().expect("no panic"))
            .iter()
            .sum()
    });
    total / threads
}

/// Measures a thousand calls on something that `fresh` makes for every thousand and that is not measured: for states that calls end.
pub fn thousand<S>(
    criterion: &mut Criterion,
    id: &str,
    fresh: impl Fn() -> S,
    once: impl Fn(&mut S),
) {
    criterion.bench_function(id, |bencher| {
        bencher.iter_batched_ref(
            &fresh,
            |subject| {
                for _ in 0..1000 {
                    black_box(&once(subject));
                }
            },
            BatchSize::PerIteration,
        );
    });
}

/// The same, and with two threads a thousand calls each on clones of the same one.
pub fn thousand_both_ways<S: Clone + Send>(
    criterion: &mut Criterion,
    id: &str,
    fresh: impl Fn() -> S,
    once: impl Fn(&mut S) + Sync,
) {
    thousand(criterion, id, &fresh, &once);
    let calls = |mut subject: S| {
        let once = &once;
        move || once(&mut subject)
    };
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher.iter_custom(|times| {
            let one = |_| {
                let subject = fresh();
                together(1000, [calls(subject.clone()), calls(subject)])
            };
            (0..times).map(one).sum::<Duration>()
        });
    });
}
