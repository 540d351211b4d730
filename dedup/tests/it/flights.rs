use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buttress_dedup::{Event, Flights, Leader, Role, Wait, Waited};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};

type Key = &'static str;

fn lead(flights: &Flights<Key, u32>) -> Leader<Key, u32> {
    match flights.join("k") {
        Role::Leader(leader) => leader,
        other => panic!("expected to lead, got {other:?}"),
    }
}

fn follow(flights: &Flights<Key, u32>) -> Spawn<Wait<Key, u32>> {
    match flights.join("k") {
        Role::Follower(wait) => task::spawn(wait),
        other => panic!("expected to follow, got {other:?}"),
    }
}

#[track_caller]
fn is_idle(flights: &Flights<Key, u32>) {
    assert!(flights.snapshot().is_idle());
}

#[test]
fn followers_get_the_leaders_value_and_the_key_is_free() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let mut waits = [follow(&flights), follow(&flights)];
    waits
        .iter_mut()
        .for_each(|wait| assert!(wait.poll().is_pending()));
    leader.complete(7);
    is_idle(&flights);
    for wait in &mut waits {
        assert!(wait.is_woken());
        assert!(matches!(
            wait.poll(),
            std::task::Poll::Ready(Waited::Value(7))
        ));
    }
    drop(lead(&flights));
}

#[test]
fn keys_do_not_meet() {
    let flights = Flights::<Key, u32>::new();
    let _one = flights.join("one");
    assert!(matches!(flights.join("two"), Role::Leader(_)));
}

#[test]
fn a_dropped_leader_promotes_the_follower_who_came_first() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let (mut first, mut second) = (follow(&flights), follow(&flights));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(leader);
    assert!(first.is_woken() && !second.is_woken());
    let Waited::Promoted(leader) = assert_ready!(first.poll()) else {
        panic!("not promoted")
    };
    assert_pending!(second.poll());
    leader.complete(1);
    assert!(matches!(assert_ready!(second.poll()), Waited::Value(1)));
    is_idle(&flights);
}

#[test]
fn a_promoted_follower_that_is_dropped_passes_the_baton() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let (first, mut second) = (follow(&flights), follow(&flights));
    assert_pending!(second.poll());
    drop(leader);
    assert!(!second.is_woken(), "the first was promoted");
    drop(first);
    assert!(second.is_woken());
    assert!(matches!(assert_ready!(second.poll()), Waited::Promoted(_)));
    is_idle(&flights);
}

#[test]
fn a_panic_of_the_leader_promotes() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _leader = leader;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert!(matches!(assert_ready!(wait.poll()), Waited::Promoted(_)));
}

#[test]
fn an_observer_that_panics_leaves_no_follower_asleep() {
    let flights = Flights::builder()
        .observer(|event: &Event<'_>| assert!(!matches!(event, Event::Promoted), "on purpose"))
        .build();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    assert_pending!(wait.poll());
    drop(leader);
    assert!(wait.is_woken());
    assert!(matches!(assert_ready!(wait.poll()), Waited::Promoted(_)));
    is_idle(&flights);
}

/// A panic on the way of a panic would end the process.
#[test]
fn an_observer_that_panics_may_be_told_of_a_panic() {
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = Arc::clone(&heard);
    let flights = Flights::builder()
        .observer(|event: &Event<'_>| assert!(!matches!(event, Event::Promoted), "on purpose"))
        .observer(move |_: &Event<'_>| {
            hears.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    assert_pending!(wait.poll());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _leader = leader;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert!(matches!(assert_ready!(wait.poll()), Waited::Promoted(_)));
    assert_eq!(heard.load(Ordering::Relaxed), 3, "led, joined, promoted");
}

#[test]
fn a_timeout_beyond_the_end_of_the_clock_is_none() {
    let flights = Flights::builder().wait_timeout(Duration::MAX).build();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    assert_pending!(wait.poll());
    leader.complete(1);
    assert!(matches!(assert_ready!(wait.poll()), Waited::Value(1)));
}

#[test]
fn when_everyone_goes_nothing_is_left() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let waits = [follow(&flights), follow(&flights)];
    assert_eq!(flights.snapshot().waiters, 2);
    drop(waits);
    drop(leader);
    is_idle(&flights);
}

#[test]
fn too_many_followers_or_flights_find_it_full() {
    let one = NonZeroUsize::MIN;
    let flights = Flights::builder().max_waiters(one).build();
    let _leader = lead(&flights);
    let wait = follow(&flights);
    assert!(matches!(flights.join("k"), Role::Full));
    drop(wait);
    let _again = follow(&flights);

    let flights = Flights::builder().max_flights(one).build::<u32, u32>();
    let roles: Vec<_> = (0..1000).map(|key| flights.join(key)).collect();
    let led = roles
        .iter()
        .filter(|role| matches!(role, Role::Leader(_)))
        .count();
    assert!(led <= 16, "{led} flights at once");
}

#[test]
fn a_follower_that_was_promoted_waits_no_longer() {
    let flights = Flights::builder().max_waiters(NonZeroUsize::MIN).build();
    let leader = lead(&flights);
    let mut promoted = follow(&flights);
    assert_pending!(promoted.poll());
    drop(leader);
    let leads = assert_ready!(promoted.poll());
    assert!(matches!(leads, Waited::Promoted(_)));
    assert_eq!(flights.snapshot().waiters, 0);
    let _in_its_room = follow(&flights);
    assert!(matches!(flights.join("k"), Role::Full));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_timed_out_waits_no_longer() {
    let flights = Flights::builder()
        .max_waiters(NonZeroUsize::MIN)
        .wait_timeout(Duration::from_secs(5))
        .build();
    let _leader = lead(&flights);
    let mut late = follow(&flights);
    assert_pending!(late.poll());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(matches!(assert_ready!(late.poll()), Waited::TimedOut));
    assert_eq!(flights.snapshot().waiters, 0);
    let _in_its_room = follow(&flights);
    assert!(matches!(flights.join("k"), Role::Full));
}

#[test]
fn who_comes_after_forget_starts_anew_and_the_others_get_their_value() {
    let flights = Flights::new();
    let old = lead(&flights);
    let mut wait = follow(&flights);
    flights.forget(&"k");
    let new = lead(&flights);
    old.complete(1);
    assert!(matches!(assert_ready!(wait.poll()), Waited::Value(1)));
    new.complete(2);
    is_idle(&flights);
}

#[tokio::test(start_paused = true)]
async fn a_landed_flight_can_be_joined_until_its_landing_is_dropped() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    let landing = leader.land(1, 2);
    assert!(matches!(assert_ready!(wait.poll()), Waited::Value(1)));
    assert!(matches!(flights.join("k"), Role::Landed(2)));
    drop(landing);
    is_idle(&flights);
    drop(lead(&flights));
}

#[tokio::test(start_paused = true)]
async fn a_landed_flight_is_not_joined_when_it_is_old() {
    let flights = Flights::builder()
        .landed_for(Duration::from_secs(3))
        .build();
    let old = lead(&flights).land(1, 1);
    tokio::time::advance(Duration::from_millis(2999)).await;
    assert!(matches!(flights.join("k"), Role::Landed(1)));
    tokio::time::advance(Duration::from_millis(1)).await;
    let new = lead(&flights).land(2, 2);
    assert!(matches!(flights.join("k"), Role::Landed(2)));
    drop(old);
    assert!(matches!(flights.join("k"), Role::Landed(2)));
    drop(new);
    is_idle(&flights);
}

#[tokio::test(start_paused = true)]
async fn a_landed_flight_has_room_for_as_many_newcomers_as_followers() {
    let two = NonZeroUsize::new(2).unwrap();
    let flights = Flights::builder().max_waiters(two).build();
    let old = lead(&flights).land(1, 1);
    assert!(matches!(flights.join("k"), Role::Landed(1)));
    assert!(matches!(flights.join("k"), Role::Landed(1)));
    let new = lead(&flights);
    drop((old, new));
    is_idle(&flights);
}

#[tokio::test(start_paused = true)]
async fn followers_time_out_each_at_its_own_time() {
    let timeout = Duration::from_secs(5);
    let flights = Flights::builder().wait_timeout(timeout).build();
    let leader = lead(&flights);
    let mut first = follow(&flights);
    assert_pending!(first.poll());
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut second = follow(&flights);
    assert_pending!(second.poll());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(first.is_woken());
    assert!(matches!(assert_ready!(first.poll()), Waited::TimedOut));
    assert!(!second.is_woken(), "it has time left");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!second.is_woken());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(second.is_woken());
    assert!(matches!(assert_ready!(second.poll()), Waited::TimedOut));
    leader.complete(1);
    is_idle(&flights);
}

#[tokio::test(start_paused = true)]
async fn when_the_one_that_set_the_clock_is_dropped_the_others_still_time_out() {
    let flights = Flights::builder()
        .wait_timeout(Duration::from_secs(5))
        .build();
    let _leader = lead(&flights);
    let (mut first, mut second) = (follow(&flights), follow(&flights));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(first);
    assert!(!second.is_woken(), "the clock is not the first one's");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(second.is_woken());
    assert!(matches!(assert_ready!(second.poll()), Waited::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_follower_times_out_although_the_first_was_never_polled() {
    let flights = Flights::builder()
        .wait_timeout(Duration::from_secs(5))
        .build();
    let _leader = lead(&flights);
    let _unpolled = follow(&flights);
    let mut second = follow(&flights);
    assert_pending!(second.poll());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(second.is_woken());
    assert!(matches!(assert_ready!(second.poll()), Waited::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_follower_times_out_although_those_before_it_are_busy() {
    let flights = Flights::builder()
        .wait_timeout(Duration::from_secs(5))
        .build();
    let _leader = lead(&flights);
    let (mut set_the_clock, mut busy) = (follow(&flights), follow(&flights));
    assert_pending!(set_the_clock.poll());
    assert_pending!(busy.poll());
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut last = follow(&flights);
    assert_pending!(last.poll());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(busy.is_woken() && !last.is_woken());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(last.is_woken());
    assert!(matches!(assert_ready!(last.poll()), Waited::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn who_came_earlier_and_is_polled_later_times_out_in_time() {
    let flights = Flights::builder()
        .wait_timeout(Duration::from_secs(5))
        .build();
    let _leader = lead(&flights);
    let mut first = follow(&flights);
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut second = follow(&flights);
    assert_pending!(second.poll());
    assert_pending!(first.poll());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(first.is_woken());
    assert!(matches!(assert_ready!(first.poll()), Waited::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_landed_flight_that_was_begun_too_long_ago_is_not_joined() {
    let builder = Flights::builder().max_age(Duration::from_secs(1));
    let flights = builder.build::<Key, u32>();
    let leader = lead(&flights);
    tokio::time::advance(Duration::from_secs(60)).await;
    let _landing = leader.land(1, 1);
    drop(lead(&flights));
}

/// Each paused clock begins where the machine's is, and goes its own way.
#[test]
fn ages_are_told_also_where_the_clock_is_behind_that_of_the_place_where_flights_were_built() {
    let paused = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    let (behind, ahead) = (paused(), paused());
    let flights = ahead.block_on(async {
        tokio::time::advance(Duration::from_secs(3600)).await;
        let builder = Flights::builder().max_age(Duration::from_secs(1));
        builder.build::<Key, u32>()
    });
    behind.block_on(async {
        let _first = lead(&flights);
        drop(follow(&flights));
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(lead(&flights));
    });
}

#[tokio::test(start_paused = true)]
async fn who_is_promoted_leads_although_its_time_is_over_meanwhile() {
    let builder = Flights::builder().wait_timeout(Duration::from_secs(1));
    let flights = builder.build::<Key, u32>();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    drop(leader);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(matches!(assert_ready!(wait.poll()), Waited::Promoted(_)));
    is_idle(&flights);
}

#[test]
fn many_closed_flights_of_a_key_are_in_nobodys_way() {
    const ROOM: usize = 32;
    let room = NonZeroUsize::new(16 * ROOM).unwrap();
    let flights = Flights::builder().max_flights(room).build::<u32, u32>();
    let mut leaders = Vec::new();
    let mut wait = None;
    loop {
        match flights.join(0) {
            Role::Leader(leader) => leaders.push(leader),
            Role::Full => break,
            other => panic!("{other:?}"),
        }
        if let Role::Follower(follower) = flights.join(0) {
            wait = Some(follower);
        }
        flights.forget(&0);
    }
    assert_eq!(
        leaders.len(),
        ROOM + 1,
        "as many as there is room, and the last"
    );
    assert_eq!(flights.snapshot().flights, leaders.len());
    // The others find the same room as before.
    let others: Vec<_> = (1..100).map(|key| flights.join(key)).collect();
    assert!(others.iter().all(|role| matches!(role, Role::Leader(_))));
    // A flight that is closed still gives its value, or its baton.
    leaders.pop().unwrap().complete(7);
    let mut wait = task::spawn(wait.unwrap());
    assert!(matches!(assert_ready!(wait.poll()), Waited::Value(7)));
    leaders.clear();
    assert_eq!(flights.snapshot().flights, others.len());
    assert!(
        matches!(flights.join(0), Role::Leader(_)),
        "there is room again"
    );
}

#[test]
fn a_closed_flight_whose_leader_leaves_is_led_by_its_follower() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let mut wait = follow(&flights);
    flights.forget(&"k");
    drop(leader);
    let Waited::Promoted(leader) = assert_ready!(wait.poll()) else {
        panic!("not promoted")
    };
    drop(leader.land(1, 1));
    is_idle(&flights);
}

mod keys {
    //! Keys that do what keys should not.

    use std::hash::{Hash, Hasher};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::time::Duration;

    use buttress_dedup::{Flights, Role};
    use tokio_test::task;

    /// All are equal, and each does something when it is dropped.
    struct Odd(Option<Box<dyn FnOnce() + Send + Sync>>);

    impl Odd {
        fn new(on_drop: impl FnOnce() + Send + Sync + 'static) -> Self {
            Self(Some(Box::new(on_drop)))
        }
    }

    impl PartialEq for Odd {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }

    impl Eq for Odd {}

    impl Hash for Odd {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u8(0);
        }
    }

    impl Drop for Odd {
        fn drop(&mut self) {
            if let Some(on_drop) = self.0.take() {
                on_drop();
            }
        }
    }

    #[test]
    fn a_joiners_key_may_call_the_flights_when_it_is_dropped() {
        let flights = Flights::<Odd, u8>::new();
        let Role::Leader(_leader) = flights.join(Odd(None)) else {
            panic!("not led")
        };
        let (seen, asks) = (Arc::new(std::sync::OnceLock::new()), flights.clone());
        let sees = Arc::clone(&seen);
        let _wait = flights.join(Odd::new(move || {
            let _ = sees.set(asks.snapshot().waiters);
        }));
        assert_eq!(seen.get(), Some(&1));
    }

    #[test]
    fn a_joiners_key_that_panics_leaves_no_ghost_in_the_queue() {
        let flights = Flights::<Odd, u8>::new();
        let Role::Leader(leader) = flights.join(Odd(None)) else {
            panic!("not led")
        };
        let joins = || drop(flights.join(Odd::new(|| panic!("as the test wants"))));
        assert!(catch_unwind(AssertUnwindSafe(joins)).is_err());
        assert_eq!(flights.snapshot().waiters, 0);
        drop(leader);
        assert!(flights.snapshot().is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn the_key_of_a_flight_that_is_too_old_and_panics_leaves_no_ghost_in_the_next() {
        let flights = Flights::<Odd, u8>::new();
        let Role::Leader(leader) = flights.join(Odd::new(|| panic!("as the test wants"))) else {
            panic!("not led")
        };
        let landing = leader.land(7, 7);
        tokio::time::advance(Duration::from_secs(2)).await;
        let joins = || drop(flights.join(Odd(None)));
        assert!(catch_unwind(AssertUnwindSafe(joins)).is_err());
        let Role::Leader(next) = flights.join(Odd(None)) else {
            panic!("a flight that nobody leads")
        };
        drop((next, landing));
        assert!(flights.snapshot().is_idle());
    }

    #[test]
    fn newcomers_value_that_panics_leaves_no_follower_asleep() {
        let flights = Flights::<u8, Arc<Odd>>::new();
        let Role::Leader(leader) = flights.join(0) else {
            panic!("not led")
        };
        let Role::Follower(wait) = flights.join(0) else {
            panic!("not followed")
        };
        let mut wait = task::spawn(wait);
        assert!(wait.poll().is_pending());
        flights.forget(&0);
        let panics = Arc::new(Odd::new(|| panic!("as the test wants")));
        let lands = || drop(leader.land(Arc::new(Odd(None)), panics));
        assert!(catch_unwind(AssertUnwindSafe(lands)).is_err());
        assert!(wait.is_woken() && wait.poll().is_ready());
        drop(wait);
        assert!(flights.snapshot().is_idle());
    }

    #[test]
    fn a_leaders_key_that_panics_leaves_no_follower_asleep() {
        let flights = Flights::<Odd, u8>::new();
        let Role::Leader(leader) = flights.join(Odd::new(|| panic!("as the test wants"))) else {
            panic!("not led")
        };
        let Role::Follower(wait) = flights.join(Odd(None)) else {
            panic!("not followed")
        };
        let mut wait = task::spawn(wait);
        assert!(wait.poll().is_pending());
        let completes = || leader.complete(7);
        assert!(catch_unwind(AssertUnwindSafe(completes)).is_err());
        assert!(wait.is_woken() && wait.poll().is_ready());
    }
}

#[test]
fn a_timer_that_could_not_be_set_counts_as_none() {
    let builder = Flights::builder().wait_timeout(Duration::from_secs(1));
    let flights = builder.build::<Key, u32>();
    let _leader = lead(&flights);
    let (mut first, mut second) = (follow(&flights), follow(&flights));
    // Outside of a runtime.
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.poll().is_ready()));
    assert!(polled.is_err());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let waited = runtime.block_on(async {
        let wait = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *second).poll(cx));
        tokio::time::timeout(Duration::from_secs(10), wait).await
    });
    assert!(matches!(waited, Ok(Waited::TimedOut)), "{waited:?}");
}

#[test]
fn everybody_who_was_added_hears() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = |who: &'static str| {
        let told = std::sync::Arc::clone(&told);
        move |event: &Event<'_>| told.lock().unwrap().push((who, event.name()))
    };
    let builder = Flights::builder().observer(hears("first"));
    let flights = builder.observer(hears("second")).build::<Key, u32>();
    drop(lead(&flights));
    assert_eq!(*told.lock().unwrap(), [("first", "led"), ("second", "led")]);
}
