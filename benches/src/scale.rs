//! How a cost grows with what there is much of.
//!
//! Each [`Curve`] is one piece of work at several sizes, and says how its cost may grow. That is decided by instructions, which are exact; time is for the
//! plots, and shows what instructions do not: memory that is far away.

mod cache;
mod circuit;
mod dedup;
mod idempotency;
mod negotiate;
mod plot;
mod trace_ctx;

use crate::kit::Work;

pub use plot::svg;

/// A cost, at several sizes.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// `crate/path/what there is much of`.
    pub id: &'static str,
    /// What is counted along, as in "keys".
    pub unit: &'static str,
    /// From few to many.
    pub sizes: &'static [usize],
    /// How the cost may grow at most.
    pub order: Order,
    /// Whether to prepare the work at a size is as much as the size, so that big ones take long where everything is slow.
    pub is_filled: bool,
    /// The work at a size.
    pub work: fn(usize) -> Work,
}

/// An order of growth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The dearest is at most a quarter above the cheapest.
    Constant,
    /// From one size to the next, never faster than n to the power of 0.35.
    Logarithmic,
    /// From one size to the next, never faster than n to the power of 1.1.
    Linear,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Curve> {
    [
        circuit::CURVES,
        dedup::CURVES,
        idempotency::CURVES,
        cache::CURVES,
        negotiate::CURVES,
        trace_ctx::CURVES,
    ]
    .concat()
}

impl Curve {
    /// How many repetitions are counted at once: as many as are the same amount of work at every size.
    #[must_use]
    pub fn times(&self, size: usize) -> u64 {
        match self.order {
            Order::Constant | Order::Logarithmic => 1000,
            Order::Linear => (20_000 / size.max(1)).clamp(2, 1000) as u64,
        }
    }
}

impl Order {
    /// Whether these costs, by ascending size, grow no faster.
    #[must_use]
    pub fn holds(self, costs: &[(usize, f64)]) -> bool {
        match self {
            Self::Constant => spread(costs) <= 1.25,
            Self::Logarithmic => steepest(costs) <= 0.35,
            Self::Linear => steepest(costs) <= 1.1,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Logarithmic => "logarithmic",
            Self::Linear => "linear",
        }
    }
}

/// The dearest over the cheapest.
fn spread(costs: &[(usize, f64)]) -> f64 {
    let costs = costs.iter().map(|&(_, cost)| cost);
    costs.clone().fold(0.0, f64::max) / costs.fold(f64::INFINITY, f64::min)
}

/// The greatest power of the size by which the cost grows from one size to the next.
#[must_use]
pub fn steepest(costs: &[(usize, f64)]) -> f64 {
    let power = |pair: &[(usize, f64)]| {
        let [(few, cheap), (many, dear)] = [pair[0], pair[1]];
        (dear / cheap).ln() / (many as f64 / few as f64).ln()
    };
    costs.windows(2).map(power).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(cost: fn(f64) -> f64) -> Vec<(usize, f64)> {
        let sizes = [10, 100, 1000, 10_000];
        sizes.map(|size| (size, cost(size as f64))).to_vec()
    }

    #[test]
    fn each_order_takes_its_own_and_what_is_slower_and_nothing_else() {
        let flat = costs(|n| 200.0 + n.sin() * 10.0);
        let log = costs(|n| 20.0 * n.ln());
        let linear = costs(|n| 500.0 + 30.0 * n);
        let square = costs(|n| 1000.0 + n * n);
        for (order, kept) in [
            (Order::Constant, [true, false, false, false]),
            (Order::Logarithmic, [true, true, false, false]),
            (Order::Linear, [true, true, true, false]),
        ] {
            let found = [&flat, &log, &linear, &square].map(|costs| order.holds(costs));
            assert_eq!(found, kept, "{order:?}");
        }
    }
}
