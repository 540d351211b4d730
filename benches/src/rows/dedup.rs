//! A leader whom nobody follows: what every call pays.

use std::hash::Hash;

use buttress_dedup::{Flights, Role};

use crate::kit::{Budget, Call, Row, Work, Zero};

/// By a number, and by what the key of a small HTTP request looks like.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "dedup/leader/ours",
        budget: Some(Budget::new(80.0, 0)),
        zero: Zero::Over(|| Work::new(|| 42_u64)),
        work: || leader(|| 42_u64),
    }),
    Row::Call(Call {
        id: "dedup/leader/ours-text",
        budget: Some(Budget::new(80.0, 0)),
        zero: Zero::Over(|| Work::new(text)),
        work: || leader(text),
    }),
];

fn text() -> String {
    String::from("GET shop.example/products/42")
}

fn leader<K: Eq + Hash + 'static>(key: impl Fn() -> K + 'static) -> Work {
    let flights = Flights::<K, u64>::new();
    Work::new(move || match flights.join(key()) {
        Role::Leader(leader) => leader.complete(7),
        _ => unreachable!("nobody else is here"),
    })
}
