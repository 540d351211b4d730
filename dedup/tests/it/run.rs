use std::cell::Cell;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use buttress_dedup::{Flights, FlightsBuilder};
use tokio::sync::oneshot;
use tokio_test::task;
use tokio_test::{assert_pending, assert_ready_eq};

fn flights(change: impl FnOnce(FlightsBuilder) -> FlightsBuilder) -> Flights<u8, u32> {
    change(Flights::builder()).build()
}

#[test]
fn work_is_done_once_for_all_who_ask_and_again_for_who_asks_later() {
    let flights = flights(|builder| builder);
    let runs = Cell::new(0);
    let (send, receive) = oneshot::channel();
    let mut leads = task::spawn(flights.run(0, || {
        runs.set(runs.get() + 1);
        async { receive.await.unwrap() }
    }));
    let mut follows = task::spawn(flights.run(0, async || unreachable!("somebody leads")));
    assert_eq!(runs.get(), 0, "work begins when it is polled");
    assert_pending!(leads.poll());
    assert_pending!(follows.poll());
    send.send(7).unwrap();
    assert_ready_eq!(leads.poll(), 7);
    assert!(follows.is_woken());
    assert_ready_eq!(follows.poll(), 7);
    let mut later = task::spawn(flights.run(0, async || 8));
    assert_ready_eq!(later.poll(), 8);
    assert_eq!(runs.get(), 1);
    assert!(flights.snapshot().is_idle());
}

#[test]
fn work_is_gone_before_somebody_else_begins() {
    struct Guard<'a>(&'a Cell<usize>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let flights = flights(|builder| builder);
    let running = Cell::new(0);
    let work = async || {
        running.set(running.get() + 1);
        assert_eq!(running.get(), 1, "two at once");
        let _guard = Guard(&running);
        std::future::pending().await
    };
    let mut runs: Vec<_> = (0..5)
        .map(|_| Some(task::spawn(flights.run(0, work))))
        .collect();
    for index in 0..runs.len() {
        for run in runs.iter_mut().flatten() {
            assert_pending!(run.poll());
        }
        assert_eq!(running.get(), 1);
        runs[index] = None;
    }
    assert_eq!(running.get(), 0);
    let snapshot = flights.snapshot();
    assert!(snapshot.is_idle());
    assert_eq!(
        (snapshot.led, snapshot.joined, snapshot.promoted),
        (1, 4, 4)
    );
}

#[test]
fn a_panic_in_making_the_work_or_in_doing_it_poisons_nothing() {
    let flights = flights(|builder| builder);
    let mut makes =
        task::spawn(flights.run(0, || -> std::future::Ready<u32> { panic!("on purpose") }));
    let mut does = task::spawn(flights.run(0, async || panic!("on purpose")));
    let mut follows = task::spawn(flights.run(0, async || 1));
    assert_pending!(follows.poll());
    // What is left of the futures is kept on purpose: the key must be free nevertheless.
    assert!(catch_unwind(AssertUnwindSafe(|| makes.poll())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| does.poll())).is_err());
    assert!(follows.is_woken());
    assert_ready_eq!(follows.poll(), 1);
    assert!(flights.snapshot().is_idle());
}

#[tokio::test(start_paused = true)]
async fn without_room_or_patience_it_is_done_alone() {
    let one = NonZeroUsize::MIN;
    let flights = flights(|builder| {
        builder
            .max_waiters(one)
            .wait_timeout(Duration::from_secs(1))
    });
    let mut leads = task::spawn(flights.run(0, std::future::pending));
    let mut follows = task::spawn(flights.run(0, async || 2));
    let mut alone = task::spawn(flights.run(0, async || 3));
    assert_pending!(leads.poll());
    assert_pending!(follows.poll());
    assert_ready_eq!(alone.poll(), 3);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(follows.is_woken());
    assert_ready_eq!(follows.poll(), 2);
    let snapshot = flights.snapshot();
    assert_eq!(
        (snapshot.full, snapshot.timed_out, snapshot.bypassed()),
        (1, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_is_too_old_is_not_joined() {
    let flights = flights(|builder| builder.max_age(Duration::from_secs(2)));
    let mut hangs = task::spawn(flights.run(0, std::future::pending));
    assert_pending!(hangs.poll());
    tokio::time::advance(Duration::from_millis(1999)).await;
    let mut young = task::spawn(flights.run(0, async || 1));
    assert_pending!(young.poll());
    tokio::time::advance(Duration::from_millis(1)).await;
    let mut late = task::spawn(flights.run(0, async || 2));
    assert_ready_eq!(late.poll(), 2);
    drop(hangs);
    assert_ready_eq!(young.poll(), 1);
    assert!(flights.snapshot().is_idle());
}

#[test]
fn nothing_is_begun_by_a_future_that_nobody_polls() {
    let flights = flights(|builder| builder.max_waiters(std::num::NonZeroUsize::MIN));
    let begun = std::cell::Cell::new(0);
    let work = || {
        begun.set(begun.get() + 1);
        std::future::ready(1)
    };
    let [_leads, _follows, full] = [(); 3].map(|()| flights.run(0, work));
    assert_eq!(begun.get(), 0);
    assert!(tokio_test::task::spawn(full).poll().is_ready());
    assert_eq!(begun.get(), 1);
}

/// The first of what must never happen, seen by the work itself: how many were promoted when it was dropped.
#[test]
fn nobody_is_promoted_before_the_work_is_gone() {
    struct Work<'a>(&'a Flights<u8, u32>, &'a std::cell::Cell<Option<u64>>);

    impl Drop for Work<'_> {
        fn drop(&mut self) {
            self.1.set(Some(self.0.snapshot().promoted));
        }
    }

    let flights = flights(|builder| builder);
    let seen = std::cell::Cell::new(None);
    let work = || {
        let work = Work(&flights, &seen);
        async move {
            let _work = work;
            std::future::pending().await
        }
    };
    let mut leads = tokio_test::task::spawn(flights.run(0, work));
    let mut follows = tokio_test::task::spawn(flights.run(0, work));
    assert!(leads.poll().is_pending() && follows.poll().is_pending());
    drop(leads);
    assert_eq!(seen.get(), Some(0));
    assert_eq!(flights.snapshot().promoted, 1);
}

#[test]
fn nobody_is_promoted_before_work_that_panicked_is_gone() {
    struct Work<'a>(&'a Flights<u8, u32>, &'a std::cell::Cell<Option<u64>>);

    impl Drop for Work<'_> {
        fn drop(&mut self) {
            self.1.set(Some(self.0.snapshot().promoted));
        }
    }

    let flights = flights(|builder| builder);
    let seen = std::cell::Cell::new(None);
    // What panics is kept by the state of the future, which is dropped afterwards.
    let work = || {
        let work = Work(&flights, &seen);
        std::future::poll_fn(move |_| {
            let _work = &work;
            panic!("as the test wants")
        })
    };
    let mut leads = tokio_test::task::spawn(flights.run(0, work));
    let _follows = flights.run(0, work);
    let poll = std::panic::AssertUnwindSafe(|| leads.poll().is_ready());
    assert!(std::panic::catch_unwind(poll).is_err());
    assert_eq!(seen.get(), Some(0));
    assert_eq!(flights.snapshot().promoted, 1);
}
