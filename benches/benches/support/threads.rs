//! The same work by one thread, and by two at once.

use criterion::Criterion;

use crate::two_threads::two_threads;

/// Measures one call by one thread, and by two threads at once of which each has what `handle` gives it: clones that share their state.
pub(crate) fn both_ways<F: FnMut() + Send>(
    criterion: &mut Criterion,
    id: &str,
    handle: impl Fn() -> F,
) {
    let mut once = handle();
    criterion.bench_function(id, |bencher| bencher.iter(&mut once));
    two_threads(criterion, id, handle);
}
