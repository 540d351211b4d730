//! States that calls end: a thousand calls on one that is made for them, by one thread, and by two.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};

use crate::two_threads::together;

/// Measures a thousand calls on something that `fresh` makes for them and that is not measured; and with two threads a thousand each on clones of the same one.
pub(crate) fn thousand<S: Clone + Send>(
    criterion: &mut Criterion,
    id: &str,
    fresh: impl Fn() -> S,
    once: impl Fn(&mut S) + Sync,
) {
    criterion.bench_function(id, |bencher| {
        bencher.iter_batched_ref(
            &fresh,
            |subject| {
                for _ in 0..1000 {
                    black_box(&once(subject));
                }
            },
            BatchSize::PerIteration,
        );
    });
    let calls = |mut subject: S| {
        let once = &once;
        move || once(&mut subject)
    };
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher.iter_custom(|times| {
            let one = |_| {
                let subject = fresh();
                together(1000, [calls(subject.clone()), calls(subject)])
            };
            (0..times).map(one).sum::<Duration>()
        });
    });
}
