//! Criterion on the HTTP cache's rows of `rows/cache.rs`.

mod support;

fn main() {
    support::bench(benches::rows::cache::HTTP_ROWS);
}
