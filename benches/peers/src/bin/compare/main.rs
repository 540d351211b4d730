//! `cargo compare [FILTER]`: runs the benches beside our peers and writes what came of it to `benches/RESULTS.md`, with a plot for each
//! contest in `benches/plots`. `cargo compare --keep` writes it anew from the last run. What would lose something that stands there is printed, and not written.

mod machine;
mod plot;
mod results;
mod table;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use results::Contest;

/// Each is a bench target of this package.
const CRATES: [&str; 8] = [
    "cache",
    "http_cache",
    "circuit",
    "dedup",
    "idempotency",
    "negotiate",
    "trace_ctx",
    "stack",
];
/// The one that measures no time.
const HITS: &str = "cache_hits";
/// All are gone through so often, each time from the first to the last: a slow minute is then not all that there is of one contest. The best median of each
/// counts.
const ROUNDS: usize = 2;
/// Enough for a table. `cargo bench` by hand measures for longer.
const BRIEFLY: [&str; 7] = [
    "--warm-up-time",
    "0.2",
    "--measurement-time",
    "0.7",
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
    let rounds: Vec<_> = (1..=ROUNDS)
        .map(|n| measured.join(format!("round-{n}")))
        .collect();
    if filter != "--keep" {
        for round in &rounds {
            for name in CRATES {
                run(name, &filter, round)?;
            }
        }
        if HITS.contains(&filter) {
            fs::create_dir_all(&measured)?;
            fs::write(measured.join(HITS), hits()?)?;
        }
    }
    let contests = results::read(&rounds)?;
    if contests.is_empty() {
        return Err("nothing has been measured yet: run `cargo compare`".into());
    }
    let hits = fs::read_to_string(measured.join(HITS)).ok();
    let mut lost = results::unmeasured(&contests);
    lost.extend(hits.is_none().then(|| HITS.to_owned()));
    if !filter.is_empty() {
        // Others may have measured what stands there, and this machine only some of it.
        let known = fs::read_to_string(results_file()?).unwrap_or_default();
        lost.extend(table::lost(&known, &sections(&contests, hits.as_deref())));
    }
    if lost.is_empty() {
        return write(&contests, hits.as_deref());
    }
    show(&sections(&contests, hits.as_deref()));
    let lost = lost.join(", ");
    Err(format!("RESULTS.md and its plots are as they were. This has not been measured here: {lost}. Run `cargo compare`").into())
}

/// This package.
fn peers() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(name: &str, filter: &str, round: &Path) -> Result<(), Box<dyn Error>> {
    eprintln!("── {name}");
    let mut bench = bench(name);
    bench
        .arg("--")
        .args((!filter.is_empty()).then_some(filter))
        .args(BRIEFLY)
        .env("CRITERION_HOME", round);
    if bench.status()?.success() {
        Ok(())
    } else {
        Err(format!("the benches of {name} failed").into())
    }
}

fn bench(name: &str) -> Command {
    let mut bench = Command::new(env!("CARGO"));
    bench.args(["bench", "--bench", name]).current_dir(peers());
    bench
}

/// A table, as it is.
fn hits() -> Result<String, Box<dyn Error>> {
    eprintln!("── {HITS}");
    let output = bench(HITS).stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("{HITS} failed").into())
    }
}

fn results_file() -> Result<PathBuf, Box<dyn Error>> {
    let benches = peers().parent().ok_or("no folder above")?.to_path_buf();
    Ok(benches.join("RESULTS.md"))
}

fn write(contests: &[Contest], hits: Option<&str>) -> Result<(), Box<dyn Error>> {
    let results = results_file()?;
    let plots = results.with_file_name("plots");
    fs::create_dir_all(&plots)?;
    remove_plots(&plots)?;
    for contest in contests {
        fs::write(plots.join(plot_file(contest)), plot::svg(contest))?;
    }
    fs::write(&results, introduction()? + &sections(contests, hits))?;
    eprintln!("written: {}", results.display());
    Ok(())
}

fn sections(contests: &[Contest], hits: Option<&str>) -> String {
    let contests = contests
        .iter()
        .map(|contest| table::section(contest, &format!("plots/{}", plot_file(contest))));
    let mut text: String = contests.collect();
    if let Some(table) = hits {
        text.push_str(HITS_WORDS);
        text.push_str(table);
    }
    text
}

fn plot_file(contest: &Contest) -> String {
    format!("{}.svg", contest.id.replace('/', "-"))
}

/// Those of contests, and not those in folders of their own.
fn remove_plots(plots: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(plots)? {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

const HITS_WORDS: &str = "\n## cache: hits\n\n\
    How much of what is asked for is there, in the same room by bytes: a million look-ups of a hundred thousand keys, with room for 1 % and 10 % of them, in \
    proportion to 1/n^0.9; the same with half of them walking through what is asked for only once. On a miss the value is put in. Not a matter of time.\n\n";

fn introduction() -> Result<String, Box<dyn Error>> {
    Ok(format!(
        "# Beside our peers\n\n\
         Written by `cargo compare`, on {}. What it was not asked for then is from the run before.\n\n\
         Nanoseconds for one call, the better of the medians of {ROUNDS} rounds by criterion, peers used as their documentation shows, all in one process. With two \
         threads, both call the same breaker or table, and this is what each of them waits for a call. *To the best* is the time over that of the \
         fastest peer: less than one is faster. `bare` is the work alone. `dedup/100-waiters-300ms-cpu` is the processor's time, for all hundred calls.\n\n\
         {}\n",
        machine::describe(),
        machine::versions(&peers().join("Cargo.lock"))?,
    ))
}

fn show(sections: &str) {
    println!("{sections}");
}
