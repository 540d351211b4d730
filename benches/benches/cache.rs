//! Criterion on `rows/cache.rs`.

mod support;

fn main() {
    support::bench(benches::rows::cache::ROWS);
}
