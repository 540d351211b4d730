//! What there is, before and after: the checker.

use std::fmt::Write;

use examples::under_way::{Kept, UnderWay};

/// What there is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Census {
    pub(crate) programs: [Counted; 3],
    /// What is kept on purpose.
    pub(crate) kept: Kept,
    /// Bytes that are allocated, in the whole process.
    pub(crate) held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) name: &'static str,
    /// Those of its runtime.
    pub(crate) tasks: usize,
    pub(crate) under_way: UnderWay,
}

/// By how much memory may have grown, beside what is kept on purpose: tables that have once been large stay as large as they were.
pub(crate) const SLACK: usize = 8 << 20;
/// What an order takes, and what a key takes beside what the response that is recorded under it weighs: its entry, and the table of the fields. It is 3.2 KB, over
/// eighteen thousand of them.
const ORDER: usize = 256;
const KEY: usize = 3400;

impl Census {
    /// What there is now and was not before; nothing, if all is well.
    pub(crate) fn complaints(&self, now: &Self) -> String {
        let mut complaints = String::new();
        for (before, now) in self.programs.iter().zip(&now.programs) {
            for (what, before, now) in before.figures(now) {
                if before != now.1 {
                    let _ = writeln!(complaints, "{}: {what}: {before}, and now {}", now.0, now.1);
                }
            }
        }
        let may = self.held + SLACK + self.kept.growth(now.kept);
        if now.held > may {
            let _ = writeln!(
                complaints,
                "memory: {} bytes, and no more than {may} may be; kept: {:?}, and before: {:?}",
                now.held, now.kept, self.kept
            );
        }
        complaints
    }
}

impl Counted {
    fn figures(&self, now: &Self) -> [(&'static str, usize, (&'static str, usize)); 7] {
        let (one, other) = (&self.under_way, &now.under_way);
        let pair = |what, before, after| (what, before, (now.name, after));
        [
            pair("tasks of its runtime", self.tasks, now.tasks),
            pair("requests", one.requests, other.requests),
            pair("permits", one.permits as usize, other.permits as usize),
            pair("flights", one.flights, other.flights),
            pair("waiters", one.waiters, other.waiters),
            pair("claims", one.claims, other.claims),
            pair("tasks", one.tasks, other.tasks),
        ]
    }
}

trait Growth {
    fn growth(self, now: Self) -> usize;
}

impl Growth for Kept {
    /// How many bytes more may be kept.
    fn growth(self, now: Self) -> usize {
        let orders = now.orders.saturating_sub(self.orders) as usize;
        let keys = now.keys.saturating_sub(self.keys);
        let clocks = now.clocks.saturating_sub(self.clocks) as usize;
        clocks + orders * ORDER + keys * KEY + now.recorded.saturating_sub(self.recorded)
    }
}
