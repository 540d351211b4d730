//! Criterion on `rows/stack.rs`.

mod support;

fn main() {
    support::bench(benches::rows::stack::ROWS);
}
