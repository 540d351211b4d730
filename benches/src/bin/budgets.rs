//! `cargo budgets`: every budget we promise, measured here and now.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use benches::kit::{Report, Row, Span};
use benches::rows;
use clap::Parser;
use testkit::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures what the design promises: exits with 1 if a promise is broken.
#[derive(Debug, Parser)]
#[command(name = "cargo budgets")]
struct Arguments {
    /// Prints JSON in place of the table.
    #[arg(long)]
    json: bool,
    /// Measures only the rows whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// For how long each row is measured.
    #[arg(long, value_name = "MS", default_value_t = Span::DEFAULT.0.as_millis() as u64,
        value_parser = clap::value_parser!(u64).range(1..))]
    millis: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_wanted = |id: &str| id.contains(&arguments.only);
    let rows: Vec<Row> = rows::all()
        .into_iter()
        .filter(|row| is_wanted(row.id()))
        .collect();
    if rows.is_empty() {
        eprintln!("no row has a name that contains {:?}", arguments.only);
        return ExitCode::from(2);
    }
    let span = Span(Duration::from_millis(arguments.millis));
    let report = Report::measure(&rows, span, tell);
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).expect("plain data")
        );
    } else {
        println!("{report}");
    }
    ExitCode::from(u8::from(!report.is_kept()))
}

/// One line that changes, for a person; one line per row of the first pass, for a log.
fn tell(percent: u32, row: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{percent:>3} %  {row}");
    } else if percent == 0 {
        eprintln!("measuring {row}");
    }
}
