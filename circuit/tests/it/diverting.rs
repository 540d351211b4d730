//! Fallback services and timeouts.

use buttress_circuit::{
    Backoff, Breaker, CircuitLayer, Error, ManualClock, Outcome, Probes, State, consecutive,
};
use testkit::probe::{Probe, Script};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_test::mock;

use super::{builder, fail, secs};

fn fragile() -> (Breaker, ManualClock) {
    let (builder, clock) = builder();
    let builder = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(Probes::new(1));
    (builder.build().unwrap(), clock)
}

#[tokio::test]
async fn a_rejected_request_goes_to_the_fallback_and_a_failed_one_does_not() {
    let (breaker, _clock) = fragile();
    let service = CircuitLayer::new(breaker.clone())
        .fallback(service_fn(async |n: u32| match n {
            9 => Err("fallback"),
            n => Ok(n * 2),
        }))
        .layer(service_fn(async |_: u32| Err::<u32, _>("service")));
    let call = async |n| service.clone().oneshot(n).await;
    assert_eq!(call(1).await, Err(Error::Inner("service")));
    let before = breaker.snapshot();
    assert_eq!(call(2).await, Ok(4));
    assert_eq!(call(9).await, Err(Error::Inner("fallback")));
    let after = breaker.snapshot();
    assert_eq!(before.generation, after.generation);
    assert_eq!(before.rules, after.rules, "the breaker learns nothing");
}

#[tokio::test]
async fn a_fallback_may_also_answer_for_failed_calls() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(2)).build().unwrap();
    let service = CircuitLayer::new(breaker.clone())
        .fallback_if(
            service_fn(async |n: u32| Ok::<_, &str>(n * 2)),
            |outcome: Outcome<'_, u32, &str>| {
                matches!(outcome, Outcome::Error(&"down") | Outcome::Response(0))
            },
        )
        .layer(service_fn(async |n: u32| match n {
            1 => Err("down"),
            2 => Err("mine"),
            3 => Ok(0),
            n => Ok(n),
        }));
    let call = async |n| service.clone().oneshot(n).await;
    assert_eq!(call(1).await, Ok(2));
    assert_eq!(call(3).await, Ok(6));
    assert_eq!(call(4).await, Ok(4));
    assert_eq!(call(2).await, Err(Error::Inner("mine")));
    assert_eq!(call(1).await, Ok(2));
    assert_eq!(breaker.state(), State::Open, "they count as ever");
    assert_eq!(call(4).await, Ok(8));
}

#[tokio::test]
async fn an_unready_fallback_holds_up_nobody_but_its_own() {
    let (breaker, _clock) = fragile();
    let (fallback, mut behind) = mock::pair::<&str, &str>();
    behind.allow(0);
    let layer = CircuitLayer::new(breaker.clone()).fallback(fallback);
    let (mut service, mut handle) = mock::spawn_layer(layer);
    assert_ready_ok!(service.poll_ready());
    let mut healthy = task::spawn(service.call("healthy"));
    assert_pending!(healthy.poll());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response("hello");
    assert_eq!(healthy.await.unwrap(), "hello");

    fail(&breaker, 1);
    assert_ready_ok!(service.poll_ready());
    let mut diverted = task::spawn(service.call("diverted"));
    assert_pending!(diverted.poll());
    behind.allow(1);
    assert!(diverted.is_woken());
    assert_pending!(diverted.poll());
    let (request, respond) = behind.next_request().await.unwrap();
    assert_eq!(request, "diverted");
    respond.send_response("instead");
    assert_eq!(diverted.await.unwrap(), "instead");
}

#[tokio::test]
async fn a_dropped_detour_drops_the_fallbacks_work() {
    let (breaker, _clock) = fragile();
    breaker.force_open();
    let probe = Probe::new(Script::STEPWISE);
    let service = CircuitLayer::new(breaker)
        .fallback(probe.service(|_, ()| Ok(())))
        .layer(Probe::new(Script::IMMEDIATE).service(|_, ()| Ok(())));
    let mut call = task::spawn(service.oneshot(()));
    for _ in 0..3 {
        assert_pending!(call.poll());
        probe.turn();
    }
    assert_eq!((probe.permits(), probe.futures()), (1, 1));
    drop(call);
    assert_eq!((probe.permits(), probe.futures()), (0, 0));
}

#[cfg(feature = "tokio")]
mod timeouts {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use buttress_circuit::Reason;
    use tokio_test::assert_ready;

    use super::*;
    use crate::ms;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_a_failure() {
        let (breaker, _clock) = fragile();
        let service = CircuitLayer::new(breaker.clone())
            .timeout(ms(100))
            .layer(service_fn(async |()| pending::<Result<(), ()>>().await));
        let mut call = task::spawn(service.clone().oneshot(()));
        assert_pending!(call.poll());
        tokio::time::advance(ms(99)).await;
        assert!(!call.is_woken());
        tokio::time::advance(ms(1)).await;
        assert!(call.is_woken());
        let Err(Error::TimedOut(late)) = assert_ready!(call.poll()) else {
            panic!("in time");
        };
        assert_eq!((late.breaker(), late.limit()), ("test", ms(100)));
        assert_eq!(breaker.state(), State::Open);
        let error = service.oneshot(()).await.unwrap_err();
        assert_eq!(error.rejected().unwrap().reason(), Reason::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_at_the_last_moment_counts() {
        let (breaker, _clock) = fragile();
        let service = CircuitLayer::new(breaker.clone())
            .timeout(ms(100))
            .layer(service_fn(async |()| {
                tokio::time::sleep(ms(100)).await;
                Ok::<_, ()>(())
            }));
        assert_eq!(service.oneshot(()).await, Ok(()));
        assert_eq!(breaker.state(), State::Closed);
    }

    /// Spends all that a task may spend in one go, whenever it is polled.
    fn busy() -> impl Future<Output = Result<(), ()>> {
        std::future::poll_fn(|cx| {
            loop {
                let mut turn = std::pin::pin!(tokio::task::consume_budget());
                if turn.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_call_does_not_starve_its_timer() {
        let (breaker, _clock) = fragile();
        let service = CircuitLayer::new(breaker)
            .timeout(ms(100))
            .layer(service_fn(|()| busy()));
        let call = tokio::spawn(service.oneshot(()));
        tokio::task::yield_now().await;
        tokio::time::advance(ms(100)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(call.is_finished());
    }

    struct Work(Breaker, std::sync::Arc<AtomicUsize>);

    impl Drop for Work {
        fn drop(&mut self) {
            let in_flight = self.0.snapshot().probes.in_flight;
            self.1.store(in_flight as usize, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_timed_out_is_dropped_before_its_slot_is_free() {
        for by_handle in [false, true] {
            let (breaker, clock) = fragile();
            fail(&breaker, 1);
            clock.advance(secs(10));
            let seen = std::sync::Arc::new(AtomicUsize::new(7));
            let work = async |work: Work| {
                pending::<()>().await;
                drop(work);
                Ok::<_, ()>(())
            };
            let one = Work(breaker.clone(), std::sync::Arc::clone(&seen));
            let result = if by_handle {
                breaker.call_within(ms(10), || work(one)).await
            } else {
                let layer = CircuitLayer::new(breaker.clone()).timeout(ms(10));
                layer.layer(service_fn(work)).oneshot(one).await
            };
            assert!(matches!(result, Err(Error::TimedOut(_))));
            assert_eq!(seen.load(Ordering::SeqCst), 1, "by handle: {by_handle}");
            assert_eq!(breaker.state(), State::Open);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_may_answer_for_a_timeout_and_takes_its_time() {
        let (breaker, _clock) = fragile();
        let service = CircuitLayer::new(breaker.clone())
            .timeout(ms(100))
            .fallback_if(
                service_fn(async |n: u32| {
                    tokio::time::sleep(secs(60)).await;
                    Ok::<_, ()>(n)
                }),
                |outcome: Outcome<'_, u32, ()>| outcome == Outcome::TimedOut,
            )
            .layer(service_fn(async |_: u32| {
                pending::<Result<u32, ()>>().await
            }));
        assert_eq!(service.oneshot(7).await, Ok(7));
        assert_eq!(breaker.state(), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handle_has_a_timeout_too() {
        let (builder, _clock) = builder();
        let breaker = builder.trip(consecutive(3)).build().unwrap();
        let within = |time| {
            breaker.call_within(ms(100), move || async move {
                tokio::time::sleep(time).await;
                if time == ms(50) {
                    Err("broken")
                } else {
                    Ok(time)
                }
            })
        };
        assert_eq!(within(ms(99)).await, Ok(ms(99)));
        assert_eq!(within(ms(50)).await, Err(Error::Inner("broken")));
        for _ in 0..2 {
            let Err(Error::TimedOut(late)) = within(secs(9)).await else {
                panic!("in time");
            };
            assert_eq!(late.limit(), ms(100));
        }
        assert!(matches!(within(ms(1)).await, Err(Error::Rejected(_))));
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn an_answer_that_nobody_will_read_counts_by_its_head() {
    use buttress_circuit::http::ServerErrors;
    use buttress_circuit::{Breaker, Event, Outcome, Verdict};
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::Full;

    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&told);
    let breaker = Breaker::builder("test").observer_of_calls(move |event: &Event<'_>| {
        if let Event::Finished(_, verdict, _) | Event::Cancelled(_, verdict, _) = event {
            log.lock().unwrap().push(*verdict);
        }
    });
    let spare = service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let is_missing = |outcome: Outcome<'_, Response<Full<Bytes>>, _>| matches!(outcome, Outcome::Response(answer) if answer.status() == 404);
    let service = CircuitLayer::http(breaker.build().unwrap())
        .classify_http(ServerErrors::default().until_end_of_body())
        .fallback_if(spare, is_missing)
        .layer(service_fn(async |_: Request<()>| {
            let mut answer = Response::new(Full::<Bytes>::from("no"));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            Ok(answer)
        }));
    assert_eq!(
        service.oneshot(Request::new(())).await.unwrap().status(),
        200
    );
    assert_eq!(*told.lock().unwrap(), [Verdict::Success]);
}
