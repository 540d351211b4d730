//! Breakers: how many there are, and how far their windows reach.

use std::num::NonZeroUsize;
use std::time::Duration;

use buttress_circuit::{Breaker, Breakers, CircuitLayer, Clock, Window, failure_rate};
use tower_layer::Layer;

use super::{Curve, Order};
use crate::kit::{Work, call};
use crate::rows::circuit::Echo;

pub(super) const CURVES: &[Curve] = &[
    Curve {
        id: "circuit/keyed/breakers",
        unit: "breakers",
        sizes: &[10, 100, 1000, 10_000, 100_000],
        order: Order::Constant,
        is_filled: true,
        work: keyed,
    },
    Curve {
        id: "circuit/closed/window-calls",
        unit: "calls in the window",
        sizes: &[10, 100, 1000, 10_000, 100_000],
        order: Order::Constant,
        is_filled: false,
        work: |calls| sliding(calls as u32),
    },
    Curve {
        id: "circuit/closed/window-seconds",
        unit: "seconds of window",
        sizes: &[1, 10, 100, 1000, 10_000],
        order: Order::Constant,
        is_filled: false,
        work: |seconds| closed(Window::time(Duration::from_secs(seconds as u64))),
    },
];

fn breaker(window: Window) -> Breaker {
    let builder = Breaker::builder("bench").trip(failure_rate(0.5).over(window));
    let builder = builder.clock(Clock::quanta());
    builder.build().expect("settings that make sense")
}

fn closed(window: Window) -> Work {
    let mut service = CircuitLayer::new(breaker(window)).layer(Echo);
    Work::new(move || call(&mut service, 7))
}

/// A full window in which one call of ten has failed: each call pushes another one out.
fn sliding(calls: u32) -> Work {
    let breaker = breaker(Window::calls(calls));
    let mut made = 0_u32;
    let mut next = move || {
        made = made.wrapping_add(1);
        let permit = breaker.try_acquire().expect("one in ten opens nothing");
        if made.is_multiple_of(10) {
            permit.failure();
        } else {
            permit.success();
        }
    };
    (0..calls).for_each(|_| next());
    Work::new(next)
}

/// One of all of them after the other.
fn keyed(count: usize) -> Work {
    let model = breaker(Window::time(Duration::from_secs(10)));
    let breakers = Breakers::builder(model)
        // They are spread by their hashes, and no part may be too small for its share.
        .capacity(NonZeroUsize::new(count * 2 + 1024).expect("more than none"))
        .build();
    let mut service = CircuitLayer::keyed(breakers.clone(), |key: &u64| *key).layer(Echo);
    let mut key = 0;
    let mut next = move || {
        key = (key + 1) % count as u64;
        call(&mut service, key).is_ok()
    };
    assert!((0..count).all(|_| next()));
    assert_eq!(breakers.len(), count, "each has its own");
    Work::new(next)
}
