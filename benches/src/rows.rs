//! What is measured. Each piece of work is defined once, here.

pub mod cache;
pub mod circuit;
pub mod dedup;
pub mod fleeting;
pub mod http;
pub mod idempotency;
pub mod negotiate;
pub mod stack;
pub mod trace_ctx;

use crate::kit::Row;

/// Every row, in the order of the budgets.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        circuit::ROWS,
        dedup::ROWS,
        idempotency::ROWS,
        cache::ROWS,
        cache::HTTP_ROWS,
        negotiate::ROWS,
        trace_ctx::ROWS,
        stack::ROWS,
    ]
    .concat()
}
