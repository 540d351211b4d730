//! Small stories of two threads, explored fully.

use ::loom::future::block_on;
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
