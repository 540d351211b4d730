//! The minimum of many short batches.
//!
//! On a shared machine the mean of a benchmark says who else was there. Interruptions only ever add time, and a batch of 25 µs
//! is often not interrupted at all: the fastest batch is what the code costs. The competitors take turns, batch by batch, so
//! that a slow second is slow for all of them.

use std::time::{Duration, Instant};

use super::Work;

/// Long against reading the clock, short against a time slice.
const BATCH: Duration = Duration::from_micros(25);

/// How long to measure for.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

/// Several pieces of work that are measured in turns.
#[derive(Debug)]
pub struct Contest(Vec<Competitor>);

#[derive(Debug)]
struct Competitor {
    work: Work,
    /// How often in one batch.
    times: u64,
    fastest: Duration,
}

/// What one repetition of something costs.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// In the fastest batch.
    pub nanos: f64,
    /// How many times it asked the allocator.
    pub allocations: u64,
}

impl Contest {
    /// Warms each of them up and finds out how many make a batch.
    #[must_use]
    pub fn new(works: impl IntoIterator<Item = Work>) -> Self {
        Self(works.into_iter().map(Competitor::new).collect())
    }

    /// Measures on, in turns, for about this long. The figures can only get better.
    pub fn run(&mut self, span: Span) {
        let rounds = span.0.div_duration_f64(BATCH) / self.0.len() as f64;
        for _ in 0..rounds.ceil() as u64 {
            self.0.iter_mut().for_each(Competitor::compete);
        }
    }

    /// What they cost, in their order.
    pub fn figures(&mut self) -> Vec<Figures> {
        self.0.iter_mut().map(Competitor::figures).collect()
    }
}

impl Competitor {
    fn new(mut work: Work) -> Self {
        let times = per_batch(&mut work);
        Self {
            work,
            times,
            fastest: Duration::MAX,
        }
    }

    fn compete(&mut self) {
        let took = time(|| self.work.run(self.times));
        self.fastest = self.fastest.min(took);
    }

    fn figures(&mut self) -> Figures {
        Figures {
            nanos: self.fastest.as_nanos() as f64 / self.times as f64,
            allocations: self.work.allocations(),
        }
    }
}

/// How many make a batch, found out in forty batches: the first calls are slow, and one that is interrupted must not decide.
fn per_batch(work: &mut Work) -> u64 {
    let mut times = 1;
    loop {
        let took = time(|| work.run(times));
        if took >= BATCH * 40 {
            let batches = took.div_duration_f64(BATCH);
            return (times as f64 / batches).ceil() as u64;
        }
        times *= 2;
    }
}

/// How long it takes.
#[expect(
    clippy::disallowed_methods,
    reason = "measuring time is what this package is for, and this is where it does"
)]
pub fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
