use std::{fmt, hint::black_box};

use testkit::alloc::count;

/// A piece of work that can be repeated: what the clock is held against.
///
/// The loop is inside, so that a batch costs one virtual call and a repetition none.
pub struct Work(Box<dyn FnMut(u64)>);

impl Work {
    /// Repeats `once`. Whatever it returns is kept from being optimised away, and dropped, which is measured too.
    #[must_use]
    pub fn new<R>(mut once: impl FnMut() -> R + 'static) -> Self {
        Self(Box::new(move |times| {
            for _ in 0..times {
                // Looked at where it is, as a caller does who matches on it. To move it a moment after it was written is a cost of its own.
                black_box(&once());
            }
        }))
    }

    /// Does it so many times.
    pub fn run(&mut self, times: u64) {
        (self.0)(times);
    }

    /// What one repetition allocates, on average over many and rounded: a cache that tidies up once in a thousand
    /// calls is not charged for it, a call that allocates is, and one that does so every other time.
    ///
    /// Zero for ever unless [`testkit::alloc::Counting`] is the global allocator.
    pub fn allocations(&mut self) -> u64 {
        const TIMES: u64 = 1000;
        // The first ones seed generators, make room in maps and let shared buffers become shared.
        self.run(TIMES);
        (count(|| self.run(TIMES)).0.count + TIMES / 2) / TIMES
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}
