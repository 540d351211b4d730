//! What is measured. Each piece of work is defined once, here.

pub mod cache;
pub mod circuit;
pub mod dedup;
mod http;
pub mod idempotency;
pub mod negotiate;
pub mod trace_ctx;

use crate::kit::Row;

/// The rows that have a budget and nothing to measure yet.
pub const NOT_YET: &[&str] = &["stack/server", "stack/gateway-hit"];

/// Every row, in the order of the budgets.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        circuit::ROWS,
        dedup::ROWS,
        idempotency::ROWS,
        cache::ROWS,
        negotiate::ROWS,
        trace_ctx::ROWS,
    ]
    .concat()
}
