//! Criterion on the rows of a crate, with the minimum of short batches beside its estimate.
#![expect(
    clippy::print_stdout,
    reason = "the minimum belongs beside what criterion prints"
)]

use benches::kit::{Contest, Row, Span, Work, time};
use criterion::Criterion;
use testkit::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures each row and its bare service.
pub(crate) fn bench(rows: &[Row]) {
    let mut criterion = Criterion::default().configure_from_args();
    for row in rows {
        if let Row::Call(call) = row {
            one(
                &mut criterion,
                &format!("{}/bare", call.id),
                call.zero.work(),
            );
            one(&mut criterion, call.id, (call.work)());
        }
    }
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
