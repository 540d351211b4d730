//! What a flight allocates, as an assertion. A binary of its own, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used)]

use buttress_dedup::{Flights, Role};
use testkit::alloc::{Counting, count};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_leader_without_followers_allocates_nothing() {
    let flights = Flights::<u64, u64>::new();
    let fly = |key| match flights.join(key) {
        Role::Leader(leader) => leader.complete(key),
        other => panic!("{other:?}"),
    };
    // The first in each part of the table makes room for more.
    (0..1000).for_each(fly);
    let (allocations, ()) = count(|| (0..1000).for_each(fly));
    assert_eq!(allocations.count, 0);
}
