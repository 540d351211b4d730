//! Flights under way, and those who wait for one.

use std::num::NonZeroUsize;

use buttress_dedup::{Flights, Role};

use super::{Curve, Order};
use crate::kit::Work;
use crate::rows::dedup::followers;

pub(super) const CURVES: &[Curve] = &[
    Curve {
        id: "dedup/leader/flights",
        unit: "flights under way",
        // From where no part of the table is empty: a flight that is alone in its own costs a fifth less, and how many are is by chance.
        sizes: &[100, 1000, 10_000, 100_000],
        order: Order::Constant,
        is_filled: true,
        work: leader,
    },
    Curve {
        id: "dedup/followers/waiters",
        unit: "waiters",
        sizes: &[1, 10, 100, 1000, 10_000],
        order: Order::Linear,
        is_filled: false,
        work: followers,
    },
];

/// One more, beside so many others.
fn leader(count: usize) -> Work {
    let flights = Flights::<(), ()>::builder()
        .max_flights(NonZeroUsize::new(count * 4 + 1024).expect("more than none"))
        .build::<u64, u64>();
    let lead = |flights: &Flights<u64, u64>, key| match flights.join(key) {
        Role::Leader(leader) => leader,
        _ => unreachable!("nobody else has this key"),
    };
    let under_way: Vec<_> = (0..count as u64).map(|key| lead(&flights, key)).collect();
    let mut key = count as u64;
    Work::new(move || {
        assert!(!under_way.is_empty());
        key += 1;
        lead(&flights, key).complete(7)
    })
}
