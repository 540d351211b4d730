//! Criterion on the rows of a crate, with the minimum of short batches beside its estimate; and on what else of ours stands beside peers.
#![expect(
    clippy::print_stdout,
    reason = "the minimum belongs beside what criterion prints"
)]

use std::collections::BTreeSet;

use benches::kit::{Contest, Row, Span, Work, time};
use criterion::Criterion;
use testkit::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures each row, and before it its bare service where no row before has had the same; then what has no row, under the names that it has beside peers.
pub(crate) fn bench(rows: &[Row], more: impl FnOnce(&mut Criterion)) {
    let mut criterion = Criterion::default().configure_from_args();
    let mut bares = BTreeSet::new();
    for row in rows {
        let Row::Call(call) = row else { continue };
        let bare = call.bare();
        if !bares.contains(&bare) {
            one(&mut criterion, &bare, call.zero.work());
            bares.insert(bare);
        }
        one(&mut criterion, call.id, (call.work)());
    }
    more(&mut criterion);
    criterion.final_summary();
}

fn one(criterion: &mut Criterion, id: &str, mut work: Work) {
    let mut was_run = false;
    criterion.bench_function(id, |bencher| {
        was_run = true;
        bencher.iter_custom(|times| time(|| work.run(times)));
    });
    // Not where a filter left it out.
    if was_run {
        let mut contest = Contest::new([work]);
        contest.run(Span::DEFAULT);
        for figures in contest.figures() {
            let (nanos, allocations) = (figures.nanos, figures.allocations);
            println!("{id:<32} minimum {nanos:.1} ns, {allocations} allocations\n");
        }
    }
}
