//! Criterion on `rows/trace_ctx.rs`.

mod support;

fn main() {
    support::bench(benches::rows::trace_ctx::ROWS);
}
