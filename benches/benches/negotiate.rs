//! Criterion on `rows/negotiate.rs`.

mod support;

fn main() {
    support::bench(benches::rows::negotiate::ROWS);
}
