//! Criterion on `rows/circuit.rs`.

mod support;

fn main() {
    support::bench(benches::rows::circuit::ROWS);
}
