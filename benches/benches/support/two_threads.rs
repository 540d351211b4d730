//! The same work by two threads at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// Measures one call by two threads at once, of which each has what `handle` gives it: clones that share their state.
pub(crate) fn two_threads<F: FnMut() + Send>(
    criterion: &mut Criterion,
    id: &str,
    handle: impl Fn() -> F,
) {
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher.iter_custom(|times| together(times, [handle(), handle()]));
    });
}

/// How long both need for `times` calls each, beginning at the same moment: their mean.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
pub(crate) fn together<F: FnMut() + Send>(times: u64, work: [F; 2]) -> Duration {
    let start = Barrier::new(work.len());
    let threads = work.len() as u32;
    let run = |mut once: F| {
        start.wait();
        let began = Instant::now();
        (0..times).for_each(|_| {
            black_box(&once());
        });
        began.elapsed()
    };
    let total: Duration = std::thread::scope(|scope| {
        let threads = work.map(|once| scope.spawn(|| run(once)));
        threads
            .map(|thread| thread.join().expect("no panic"))
            .iter()
            .sum()
    });
    total / threads
}
