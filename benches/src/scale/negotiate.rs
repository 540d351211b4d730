//! The ranges of an `Accept`.

use std::hint::black_box;

use buttress_negotiate::{Limits, Offers};

use super::{Curve, Order};
use crate::kit::Work;

pub(super) const CURVES: &[Curve] = &[Curve {
    id: "negotiate/accept/ranges",
    unit: "ranges",
    sizes: &[1, 10, 100, 1000, 10_000],
    order: Order::Linear,
    is_filled: false,
    work: ranges,
}];

fn ranges(count: usize) -> Work {
    let types = ["application/json", "text/csv", "text/html"];
    let offers = Offers::new(types.into_iter().zip(0..)).expect("media types");
    let offers = offers.limits(Limits {
        bytes: usize::MAX,
        ranges: usize::MAX,
    });
    let others = (1..count).map(|n| format!("text/x-{n:05};q=0.{}", n % 10));
    let field: Vec<_> = others.chain(["text/html".to_owned()]).collect();
    let field = field.join(",");
    Work::new(move || {
        let found = offers.select_field(black_box(field.as_bytes()));
        found.expect("the last one fits").index()
    })
}
