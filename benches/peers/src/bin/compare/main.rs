//! `cargo compare [FILTER]`: runs the benches beside our peers, and those of our own configurations, and writes what came of it to `benches/RESULTS.md`, with a plot for each
//! contest in `benches/plots`. `cargo budgets` is run as well, and each of its rows told beside the best peer. `cargo compare configurations` runs those of our own alone, `cargo compare budgets` what we promise. `cargo compare --keep` writes it anew from the last run. A run of some that would lose something which
//! stands there is printed, and not written; a whole one is written, and says what is not there any more.

mod budgets;
#[path = "../../../../src/machine.rs"]
mod machine;
mod plot;
mod results;
mod table;
mod times;
mod versions;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use budgets::Budgets;
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
/// What we promise, as JSON.
const BUDGETS: &str = "budgets";
/// Those of our own package that have no peer. Servers that are not installed are left out.
const CONFIGURATIONS: [&str; 4] = [
    "configurations",
    "idempotency-stores",
    "cache-l2",
    "dedup-coordinators",
];
/// On what, and when, it was measured, by each run.
const MEASURED_ON: &str = "measured-on";
/// All are gone through so often, each time from the first to the last: a slow minute is then not all that there is of one contest. The best median of each
/// is told, and what it adds to a call is taken round by round.
const ROUNDS: usize = 3;
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
    if filter != "--keep" {
        fs::create_dir_all(&measured)?;
        measure(&filter, &measured)?;
    }
    let found = Found::read(&measured)?;
    let known = fs::read_to_string(results_file()?).unwrap_or_default();
    let gone = table::lost(&known, &sections(&found));
    let mut lost = found.lacks();
    if filter.is_empty() {
        // Servers that are not installed, or names that are others now.
        gone.iter()
            .for_each(|gone| eprintln!("not there any more: {gone}"));
    } else {
        // Others may have measured what stands there, and this machine only some of it.
        lost.extend(gone);
    }
    if lost.is_empty() {
        return write(&found);
    }
    show(&sections(&found));
    let lost = lost.join(", ");
    Err(format!("RESULTS.md and its plots are as they were. This has not been measured here: {lost}. Run `cargo compare`").into())
}

/// Runs what `filter` names, all of it without one. On what, is noted first: a run may be broken off.
fn measure(filter: &str, measured: &Path) -> Result<(), Box<dyn Error>> {
    let noted = measured.join(MEASURED_ON);
    let before = fs::read_to_string(&noted).unwrap_or_default();
    fs::write(&noted, note(filter, &before)?)?;
    if filter.is_empty() || filter == BUDGETS {
        fs::write(measured.join(BUDGETS), promised()?)?;
    }
    if filter == BUDGETS {
        return Ok(());
    }
    if filter != table::CONFIGURATIONS {
        for round in rounds(measured) {
            for name in CRATES {
                run(bench(name), name, filter, &round)?;
            }
        }
        if HITS.contains(filter) {
            fs::write(measured.join(HITS), hits()?)?;
        }
    }
    if filter.is_empty() || filter == table::CONFIGURATIONS {
        let into = configurations(measured);
        if into.exists() {
            fs::remove_dir_all(&into)?;
        }
        for name in CONFIGURATIONS {
            run(our_bench(name)?, name, "", &into)?;
        }
    }
    if HITS.contains(filter) || results::is_newer_than(&noted, measured)? {
        return Ok(());
    }
    fs::write(noted, before)?;
    Err(format!("nothing is called {filter:?}").into())
}

/// What is to stand there of this run, after what stood there before.
fn note(filter: &str, before: &str) -> Result<String, Box<dyn Error>> {
    let on = machine::describe();
    if filter.is_empty() {
        let versions = versions::of(&peers().join("Cargo.lock"))?;
        return Ok(format!("{on}.\n\nOf {versions}."));
    }
    let what = match filter {
        table::CONFIGURATIONS => "The configurations were".to_owned(),
        BUDGETS => "The budgets were".to_owned(),
        _ => format!("What has `{filter}` in its name was"),
    };
    Ok(format!("{before} {what} measured again: {on}."))
}

fn rounds(measured: &Path) -> Vec<PathBuf> {
    let round = |n| measured.join(format!("round-{n}"));
    (1..=ROUNDS).map(round).collect()
}

fn configurations(measured: &Path) -> PathBuf {
    measured.join(table::CONFIGURATIONS)
}

/// All that was measured, now and before.
struct Found {
    contests: Vec<Contest>,
    configurations: Vec<Contest>,
    hits: Option<String>,
    budgets: Option<Budgets>,
    on: String,
}

impl Found {
    fn read(measured: &Path) -> Result<Self, Box<dyn Error>> {
        let contests = results::read(&rounds(measured))?;
        let configurations = results::read(&[configurations(measured)])?;
        if contests.is_empty() && configurations.is_empty() {
            return Err("nothing has been measured yet: run `cargo compare`".into());
        }
        let budgets = fs::read_to_string(measured.join(BUDGETS)).ok();
        let budgets = budgets.map(|json| Budgets::read(&json));
        Ok(Self {
            contests,
            configurations,
            budgets: budgets.transpose()?,
            hits: fs::read_to_string(measured.join(HITS)).ok(),
            on: fs::read_to_string(measured.join(MEASURED_ON)).unwrap_or_default(),
        })
    }

    /// What has to stand there.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = results::unmeasured(&self.contests);
        lacks.extend(self.hits.is_none().then(|| HITS.to_owned()));
        lacks.extend(self.budgets.is_none().then(|| BUDGETS.to_owned()));
        // Only a whole run says that.
        lacks.extend(self.on.is_empty().then(|| MEASURED_ON.to_owned()));
        lacks
    }
}

/// This package.
fn peers() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(mut bench: Command, name: &str, filter: &str, into: &Path) -> Result<(), Box<dyn Error>> {
    eprintln!("── {name}");
    bench
        .arg("--")
        .args((!filter.is_empty()).then_some(filter))
        .args(BRIEFLY)
        .env("CRITERION_HOME", into);
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

/// One of the package beside, which is in the workspace of the crates.
fn our_bench(name: &str) -> Result<Command, Box<dyn Error>> {
    let mut bench = ours()?;
    bench.args(["bench", "-p", "benches", "--bench", name]);
    Ok(bench)
}

fn ours() -> Result<Command, Box<dyn Error>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(results_file()?.parent().ok_or("no folder above")?);
    Ok(cargo)
}

/// What `cargo budgets` has measured. That a promise is broken is told in the table, and is no reason to stop.
fn promised() -> Result<String, Box<dyn Error>> {
    eprintln!("── {BUDGETS}");
    let mut budgets = ours()?;
    budgets.args(["run", "--profile", "bench", "-p", "benches"]);
    budgets.args(["--bin", "budgets", "--", "--json"]);
    let output = budgets.stderr(Stdio::inherit()).output()?;
    let json = String::from_utf8(output.stdout)?;
    match Budgets::read(&json) {
        Ok(_) => Ok(json),
        Err(why) => Err(format!("`cargo budgets` has told nothing: {why}").into()),
    }
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

fn write(found: &Found) -> Result<(), Box<dyn Error>> {
    let results = results_file()?;
    let plots = results.with_file_name("plots");
    fs::create_dir_all(&plots)?;
    remove_plots(&plots)?;
    for contest in &found.contests {
        fs::write(plots.join(plot_file(contest)), plot::svg(contest))?;
    }
    fs::write(&results, introduction(found) + &sections(found))?;
    eprintln!("written: {}", results.display());
    Ok(())
}

fn sections(found: &Found) -> String {
    let summary = table::summary(&found.contests);
    let contests = found
        .contests
        .iter()
        .map(|contest| table::section(contest, &format!("plots/{}", plot_file(contest))));
    let budgets = found.budgets.as_ref();
    let budgets = budgets.map(|budgets| budgets.section(&found.contests));
    let mut text = budgets.unwrap_or_default() + &summary + &contests.collect::<String>();
    if let Some(table) = &found.hits {
        text.push_str(HITS_WORDS);
        text.push_str(table);
    }
    text.extend(found.configurations.iter().map(table::configurations));
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

fn introduction(found: &Found) -> String {
    let configurations = if found.configurations.is_empty() {
        ""
    } else {
        CONFIGURATIONS_WORDS
    };
    format!(
        "# Beside our peers\n\n\
         Written by `cargo compare`. Measured on {}\n\n\
         Nanoseconds for one call, the best of the medians of {ROUNDS} rounds by criterion, peers used as their documentation shows, all in one process. With two \
         threads, both call the same breaker or table, and this is what each of them waits for a call. `bare` is the call alone, or the work. *To the best* is what a call adds to that in the same round, the median of all rounds, over what the \
         fastest peer adds to it: less than one is faster, and where the rounds of one reach into those of the other (≈) nobody knows which is. Where those who wait share one work that `bare` has each of them do (`dedup/*-waiters*`), and where there is no such call, it is the whole time over the whole time. `dedup/100-waiters-300ms-cpu` is the processor's time, for all hundred calls.{configurations}\n",
        found.on
    )
}

const CONFIGURATIONS_WORDS: &str = " What begins with *configurations* is ours alone, in one round: what can be chosen, and stores and the second level over servers on this machine. \
    There the time is that of all clients together over the number of their calls, so that less of it is more calls a second; each client waits as many times as long as there are clients.";

fn show(sections: &str) {
    println!("{sections}");
}
