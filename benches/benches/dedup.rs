//! Criterion on `rows/dedup.rs`.

mod support;

fn main() {
    support::bench(benches::rows::dedup::ROWS);
}
