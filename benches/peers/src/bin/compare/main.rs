//! `cargo compare [FILTER]`: runs the benches beside our peers and writes what came of it to `benches/RESULTS.md`, with a plot for each
//! contest in `benches/plots`. `cargo compare --keep` writes it anew from the last run.

mod machine;
mod plot;
mod results;
mod table;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use results::Contest;

/// Each is a bench target of this package.
const CRATES: [&str; 6] = ["cache", "circuit", "dedup", "idempotency", "negotiate", "trace_ctx"];
/// Enough for a table. `cargo bench` by hand measures for longer.
const BRIEFLY: [&str; 7] = [
    "--warm-up-time",
    "0.3",
    "--measurement-time",
    "1",
    "--sample-size",
    "20",
    "--noplot",
];

fn main() -> Result<(), Box<dyn Error>> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let measured = peers().join("target/criterion");
    if filter.is_empty() && measured.exists() {
        // What is not measured any more is not shown either.
        fs::remove_dir_all(&measured)?;
    }
    if filter != "--keep" {
        for name in CRATES {
            run(name, &filter)?;
        }
    }
    let contests = results::read(&measured)?;
    if contests.is_empty() {
        return Err("nothing has been measured yet: run `cargo compare`".into());
    }
    write(&contests)
}

/// This package.
fn peers() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(name: &str, filter: &str) -> Result<(), Box<dyn Error>> {
    eprintln!("── {name}");
    let mut bench = Command::new(env!("CARGO"));
    bench
        .args(["bench", "--bench", name, "--"])
        .args((!filter.is_empty()).then_some(filter))
        .args(BRIEFLY)
        .current_dir(peers());
    if bench.status()?.success() {
        Ok(())
    } else {
        Err(format!("the benches of {name} failed").into())
    }
}

fn write(contests: &[Contest]) -> Result<(), Box<dyn Error>> {
    let benches = peers().parent().ok_or("no folder above")?.to_path_buf();
    let plots = benches.join("plots");
    if plots.exists() {
        fs::remove_dir_all(&plots)?;
    }
    fs::create_dir_all(&plots)?;
    let mut text = introduction()?;
    for contest in contests {
        let file = format!("{}.svg", contest.id.replace('/', "-"));
        fs::write(plots.join(&file), plot::svg(contest))?;
        text.push_str(&table::section(contest, &format!("plots/{file}")));
    }
    let results = benches.join("RESULTS.md");
    fs::write(&results, text)?;
    show(&results);
    Ok(())
}

fn introduction() -> Result<String, Box<dyn Error>> {
    Ok(format!(
        "# Beside our peers\n\n\
         Written by `cargo compare`, on {}.\n\n\
         Nanoseconds for one call, the median of criterion's samples, peers used as their documentation shows, all in one process. With two \
         threads, both call the same breaker or table, and this is what each of them waits for a call. *To the best* is the time over that of the \
         fastest peer: less than one is faster. `bare` is the work alone.\n\n\
         {}\n",
        machine::describe(),
        machine::versions(&peers().join("Cargo.lock"))?,
    ))
}

fn show(results: &Path) {
    eprintln!("written: {}", results.display());
}
