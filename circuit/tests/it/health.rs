//! A health check that drives a breaker.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use buttress_circuit::{Breaker, Cause, Clock, Event, Probes, State, consecutive};
use tokio::task::JoinHandle;

use super::{fail, ms, secs};

/// What the next checks say.
const GOOD: u32 = 0;
const BAD: u32 = 1;
const HUNG: u32 = 2;

struct Watched {
    breaker: Breaker,
    says: Arc<AtomicU32>,
    causes: Arc<Mutex<Vec<(State, Cause)>>>,
    checks: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.checks.abort();
    }
}

impl Watched {
    async fn say(&self, what: u32) {
        self.says.store(what, Ordering::SeqCst);
        pass(5000).await;
    }

    fn told(&self) -> Vec<(State, Cause)> {
        std::mem::take(&mut *self.causes.lock().unwrap())
    }
}

async fn pass(millis: u64) {
    for _ in 0..millis / 100 {
        tokio::time::advance(ms(100)).await;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
}

/// Checked every five seconds.
async fn watched() -> Watched {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&causes);
    let breaker = Breaker::builder("test")
        .trip(consecutive(1))
        .half_open(Probes::new(1))
        .clock(Clock::tokio())
        .observer(move |event: &Event<'_>| {
            if let Event::Transition(_, transition) = event {
                told.lock().unwrap().push((transition.to, transition.cause));
            }
        })
        .build()
        .unwrap();
    let says = Arc::new(AtomicU32::new(GOOD));
    let (asked, checked) = (Arc::clone(&says), breaker.clone());
    let checks = tokio::spawn(async move {
        let check = || {
            let says = asked.load(Ordering::SeqCst);
            async move {
                match says {
                    GOOD => Ok(()),
                    BAD => Err("down"),
                    _ => pending().await,
                }
            }
        };
        match checked.watch_health(secs(5), check).await {}
    });
    pass(100).await;
    Watched {
        breaker,
        says,
        causes,
        checks,
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_check_opens_and_keeps_open_with_one_event() {
    let watched = watched().await;
    watched.say(GOOD).await;
    assert!(watched.told().is_empty());
    watched.say(BAD).await;
    for _ in 0..20 {
        pass(5000).await;
        assert_eq!(watched.breaker.state(), State::Open);
    }
    assert_eq!(watched.told(), [(State::Open, Cause::Unhealthy)]);
}

#[tokio::test(start_paused = true)]
async fn a_good_check_lets_the_next_call_probe() {
    let watched = watched().await;
    watched.say(BAD).await;
    assert!(watched.breaker.try_acquire().is_err());
    watched.say(GOOD).await;
    assert_eq!(watched.breaker.state(), State::HalfOpen);
    watched.breaker.try_acquire().unwrap().success();
    assert_eq!(watched.breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_good_check_wakes_those_who_wait() {
    let watched = watched().await;
    watched.say(BAD).await;
    let mut waiter = tokio_test::task::spawn(watched.breaker.acquire());
    assert!(waiter.poll().is_pending());
    watched.say(GOOD).await;
    assert!(waiter.is_woken());
    assert!(waiter.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_has_failed() {
    let watched = watched().await;
    watched.say(HUNG).await;
    watched.say(HUNG).await;
    assert_eq!(watched.breaker.state(), State::Open);
    for _ in 0..20 {
        pass(5000).await;
        assert_eq!(watched.breaker.state(), State::Open, "renewed");
    }
}

#[tokio::test(start_paused = true)]
async fn good_checks_do_not_shorten_what_calls_found_out() {
    let watched = watched().await;
    fail(&watched.breaker, 1);
    let before = watched.breaker.snapshot().remaining.unwrap();
    pass(1000).await;
    assert!(watched.breaker.snapshot().remaining.unwrap() >= before - ms(1001));
}

#[tokio::test(start_paused = true)]
async fn what_was_forced_stays_and_dropped_checks_leave_a_way_out() {
    let watched = watched().await;
    watched.breaker.force_closed();
    watched.say(BAD).await;
    assert_eq!(watched.breaker.state(), State::ForcedClosed);
    watched.breaker.auto();
    pass(5000).await;
    assert_eq!(watched.breaker.state(), State::Open);
    watched.checks.abort();
    // The last check was just now, and three intervals are left.
    pass(14_500).await;
    assert_eq!(watched.breaker.state(), State::Open);
    pass(500).await;
    assert_eq!(watched.breaker.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_bad_check_opens_while_a_probe_is_out() {
    let watched = watched().await;
    watched.say(BAD).await;
    watched.say(GOOD).await;
    let probe = watched.breaker.try_acquire().unwrap();
    watched.told();
    watched.say(BAD).await;
    assert_eq!(watched.breaker.state(), State::Open);
    assert_eq!(watched.told(), [(State::Open, Cause::Unhealthy)]);
    probe.success();
    assert_eq!(watched.breaker.state(), State::Open, "a late answer");
}

#[tokio::test(start_paused = true)]
async fn a_good_check_leaves_an_open_time_that_is_not_its_own() {
    let breaker = Breaker::builder("test").clock(Clock::tokio());
    let breaker = breaker.build().unwrap();
    breaker.open_for(secs(3600));
    let checks = std::cell::Cell::new(0);
    let watch = breaker.watch_health(secs(5), async || {
        checks.set(checks.get() + 1);
        if checks.get() == 1 {
            Err("bad")
        } else {
            Ok(())
        }
    });
    drop(tokio::time::timeout(secs(22), watch).await);
    assert!(checks.get() > 2);
    let left = breaker.snapshot().remaining.unwrap();
    assert!(left > secs(3500), "{left:?}");
}
