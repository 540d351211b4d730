//! Criterion on `rows/idempotency.rs`.

mod support;

fn main() {
    support::bench(benches::rows::idempotency::ROWS);
}
