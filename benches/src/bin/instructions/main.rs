//! `cargo instructions`: the instructions of the hottest paths, beside those on record.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]

mod machine;
mod record;

use std::process::ExitCode;

use benches::kit::{Call, Counted, Row, Uncounted, count_instructions};
use benches::rows;
use clap::Parser;

use machine::Machine;
use record::Record;

/// Paths that many requests go through, by the names that they have in `cargo budgets`.
const HOTTEST: &[&str] = &[
    "circuit/closed/ours-time",
    "circuit/closed/ours-time-std",
    "circuit/open/ours",
    "dedup/leader/ours",
    "dedup/leader/ours-text",
    "idempotency/first/ours",
    "idempotency/replay/ours",
    "cache/get-or-set/ours",
    "cache/get-or-set/ours-moka",
    "http-cache/hit-1k/ours",
    "http-cache/hit-1k/ours-moka",
    "http-cache/miss-1k/ours",
    "http-cache/miss-1k/ours-moka",
    "negotiate/browser/ours",
    "negotiate/json/ours",
    "trace-ctx/round-trip/ours",
    "trace-ctx/quiet/ours",
    "trace-ctx/client/ours",
    "stack/hello/ours",
];
/// Enough that what is done once in some hundred calls is in every batch.
const TIMES: u64 = 1000;
/// By how much a path may grow before its record has to.
const MAY_GROW: f64 = 0.05;

/// Counts the instructions of the hottest paths. Exits with 1 if one has grown by more than 5 %, or has no record.
///
/// On another toolchain, processor or libc than that of the record, and without valgrind, nothing is compared.
#[derive(Debug, Parser)]
#[command(name = "cargo instructions")]
struct Arguments {
    /// Puts what is counted on record.
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo instructions: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (here, record) = (Machine::here()?, Record::read()?);
    if !arguments.write && record.machine != here {
        println!(
            "skipped: on record is {}, and this is {here}",
            record.machine
        );
        return Ok(ExitCode::SUCCESS);
    }
    let counted = match count() {
        Err(Uncounted::NoValgrind) if !arguments.write => {
            println!("skipped: no valgrind");
            return Ok(ExitCode::SUCCESS);
        }
        counted => counted?,
    };
    let has_grown = compare(&counted, &record);
    if arguments.write {
        Record::new(here, counted).write()?;
    } else if has_grown {
        println!("\nif that is worth it, `cargo instructions --write` puts it on record");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Each path with the instructions of one call: without those of the bare service where there is one.
fn count() -> Result<Vec<(&'static str, u64)>, Uncounted> {
    let calls = hottest();
    let mut works = Vec::new();
    for call in &calls {
        works.push(Counted::new(TIMES, call.work));
        if call.zero.is_over() {
            works.push(Counted::new(TIMES, move || call.zero.work()));
        }
    }
    let mut counts = count_instructions(&works, [])?.into_iter();
    let mut next = || counts.next().unwrap_or_default();
    let path = |call: &Call| {
        let all = next();
        let bare = if call.zero.is_over() { next() } else { 0.0 };
        (call.id, (all - bare).round() as u64)
    };
    Ok(calls.iter().map(path).collect())
}

fn hottest() -> Vec<Call> {
    let rows = rows::all().into_iter();
    let calls = rows.filter_map(|row| match row {
        Row::Call(call) => Some(call),
        _ => None,
    });
    let hottest: Vec<_> = calls.filter(|call| HOTTEST.contains(&call.id)).collect();
    assert_eq!(hottest.len(), HOTTEST.len(), "a name is of no row");
    hottest
}

/// Prints them beside the record. Tells whether one has grown.
fn compare(counted: &[(&str, u64)], record: &Record) -> bool {
    println!(
        "{:<34} {:>8} {:>8} {:>8}",
        "path", "now", "record", "change"
    );
    let mut has_grown = false;
    for &(id, now) in counted {
        let before = record.rows.get(id).copied();
        let (verdict, change) = judge(now, before);
        has_grown |= verdict.is_bad();
        let before = before.map_or_else(|| "-".into(), |before| before.to_string());
        println!("{id:<34} {now:>8} {before:>8} {change:>8}  {verdict:?}");
    }
    has_grown
}

/// What is to be said of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Same,
    Grown,
    Shrunk,
    Unrecorded,
}

impl Verdict {
    fn is_bad(self) -> bool {
        matches!(self, Self::Grown | Self::Unrecorded)
    }
}

fn judge(now: u64, before: Option<u64>) -> (Verdict, String) {
    let Some(before) = before else {
        return (Verdict::Unrecorded, "-".into());
    };
    let (now, before) = (now as f64, before.max(1) as f64);
    let verdict = match now {
        _ if now > before * (1.0 + MAY_GROW) => Verdict::Grown,
        _ if now < before * (1.0 - MAY_GROW) => Verdict::Shrunk,
        _ => Verdict::Same,
    };
    (verdict, format!("{:+.1} %", 100.0 * (now / before - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_five_per_cent_is_grown_and_what_is_not_on_record_is_bad_too() {
        let verdict = |now, before| judge(now, before).0;
        assert_eq!(verdict(105, Some(100)), Verdict::Same);
        assert_eq!(verdict(106, Some(100)), Verdict::Grown);
        assert_eq!(verdict(94, Some(100)), Verdict::Shrunk);
        assert_eq!(verdict(1, Some(0)), Verdict::Same);
        assert_eq!(verdict(7, None), Verdict::Unrecorded);
        assert!(Verdict::Grown.is_bad() && Verdict::Unrecorded.is_bad());
        assert!(!Verdict::Same.is_bad() && !Verdict::Shrunk.is_bad());
    }
}
