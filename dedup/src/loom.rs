//! Small stories of two threads, explored fully.

use ::loom::future::block_on;
use ::loom::sync::Arc;
use ::loom::sync::atomic::AtomicBool;
use ::loom::sync::atomic::Ordering::SeqCst;
use ::loom::thread;

use crate::{Flights, Role, Waited};

/// Two preemptions are where the bugs are; without a bound, a story with wakers in it never ends.
fn explore(story: impl Fn() + Send + Sync + 'static) {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(story);
}

/// Joins, and does the work if nobody else does. Tells whether it did.
fn take_part(flights: &Flights<u8, u8>) -> bool {
    let leader = match flights.join(0) {
        Role::Leader(leader) => leader,
        Role::Follower(wait) => match block_on(wait) {
            Waited::Promoted(leader) => leader,
            Waited::Value(value) => {
                assert_eq!(value, 7);
                return false;
            }
            Waited::TimedOut => unreachable!("there is no timeout"),
        },
        other => unreachable!("{other:?}"),
    };
    leader.complete(7);
    true
}

#[test]
fn loom_a_follower_is_never_left_asleep() {
    explore(|| {
        let flights = Flights::new();
        let theirs = flights.clone();
        let other = thread::spawn(move || take_part(&theirs));
        let one = take_part(&flights);
        let other = other.join().unwrap();
        assert!(one || other);
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_a_leader_that_is_dropped_while_somebody_joins_leaves_nobody_behind() {
    explore(|| {
        let flights = Flights::new();
        let theirs = flights.clone();
        let other = thread::spawn(move || drop(theirs.join(0)));
        take_part(&flights);
        other.join().unwrap();
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_a_leader_that_fails_while_somebody_joins_leaves_nobody_behind() {
    explore(|| {
        let flights = Flights::<u8, u8>::new();
        let Role::Leader(leader) = flights.join(0) else {
            unreachable!("nobody else is here")
        };
        let other = thread::spawn(move || leader.leave_to_retry().is_ok());
        assert!(take_part(&flights), "it leads, or tries again");
        assert!(other.join().unwrap(), "it was the first time");
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_the_baton_is_passed_when_the_leader_and_the_next_leave_at_once() {
    explore(|| {
        let flights = Flights::<u8, u8>::new();
        let Role::Leader(leader) = flights.join(0) else {
            unreachable!("nobody else is here")
        };
        let follow = || match flights.join(0) {
            Role::Follower(wait) => wait,
            other => unreachable!("{other:?}"),
        };
        let (next, last) = (follow(), follow());
        let other = thread::spawn(move || drop(leader));
        drop(next);
        assert!(matches!(block_on(last), Waited::Promoted(_)));
        other.join().unwrap();
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_who_joins_while_the_key_is_forgotten_leads_or_gets_the_value() {
    explore(|| {
        let flights = Flights::<u8, u8>::new();
        let Role::Leader(leader) = flights.join(0) else {
            unreachable!("nobody else is here")
        };
        let theirs = flights.clone();
        let other = thread::spawn(move || {
            theirs.forget(&0);
            leader.complete(7);
        });
        take_part(&flights);
        other.join().unwrap();
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_who_joins_while_a_flight_lands_and_ends_is_not_left_behind() {
    explore(|| {
        let flights = Flights::<u8, u8>::new();
        let Role::Leader(leader) = flights.join(0) else {
            unreachable!("nobody else is here")
        };
        let other = thread::spawn(move || drop(leader.land(7, 7)));
        match flights.join(0) {
            Role::Follower(wait) => assert!(matches!(block_on(wait), Waited::Value(7))),
            Role::Landed(value) => assert_eq!(value, 7),
            Role::Leader(leader) => leader.complete(8),
            Role::Full => unreachable!("there is room"),
        }
        other.join().unwrap();
        assert!(flights.snapshot().is_idle());
    });
}

#[test]
fn loom_who_joins_while_what_has_landed_closes_gets_it_or_leads_the_next() {
    explore(|| {
        let flights = Flights::<u8, u8>::new();
        let Role::Leader(leader) = flights.join(0) else {
            unreachable!("nobody else is here")
        };
        let is_closed = Arc::new(AtomicBool::new(false));
        let closes = Arc::clone(&is_closed);
        let landing = leader.land(7, 7);
        let other = thread::spawn(move || {
            closes.store(true, SeqCst);
            drop(landing);
        });
        match flights.join_by(0, |value| (!is_closed.load(SeqCst)).then_some(*value)) {
            Role::Landed(value) => assert_eq!(value, 7),
            Role::Leader(leader) => {
                other.join().unwrap();
                assert_eq!(
                    flights.snapshot().flights,
                    1,
                    "it is not ended by the other"
                );
                leader.complete(8);
                return assert!(flights.snapshot().is_idle());
            }
            other => unreachable!("{other:?}"),
        }
        other.join().unwrap();
        assert!(flights.snapshot().is_idle());
    });
}
