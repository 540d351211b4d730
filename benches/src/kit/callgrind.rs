//! Instructions, counted by callgrind: exact where time is noise.
//!
//! A program runs itself again under valgrind, and the child repeats each piece of work in batches. Callgrind counts inside of [`collected`] and nowhere else,
//! and writes what it has counted each time that is left. The cheapest batch counts: a clock that moves on to another bucket, or a table that is tidied up, is
//! in one batch and not in all of them.

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::{env, fmt};

use super::Work;

/// Set in the child.
const CHILD: &str = "BUTTRESS_COUNTED";
const BATCHES: u32 = 5;
/// As callgrind calls it.
const COLLECTED: &str = concat!(module_path!(), "::collected");

/// Work whose instructions are to be counted.
pub struct Counted<'a> {
    make: Box<dyn Fn() -> Work + 'a>,
    times: u64,
}

impl<'a> Counted<'a> {
    /// Counts `times` repetitions at once. What is done once in so many is in every batch, and its share in each repetition.
    pub fn new(times: u64, make: impl Fn() -> Work + 'a) -> Self {
        Self {
            make: Box::new(make),
            times,
        }
    }
}

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

/// Why nothing was counted.
#[derive(Debug)]
pub enum Uncounted {
    /// There is no valgrind here.
    NoValgrind,
    /// It was there, and something went wrong.
    Failed(io::Error),
}

impl fmt::Display for Uncounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValgrind => f.write_str("no valgrind"),
            Self::Failed(error) => write!(f, "callgrind failed: {error}"),
        }
    }
}

impl std::error::Error for Uncounted {}

impl From<io::Error> for Uncounted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The instructions of one repetition of each.
///
/// Starts this program again under callgrind, with these arguments; there, this call does the work and ends the process. So a program
/// calls it once, and with the same work for the same arguments.
///
/// # Errors
///
/// Without valgrind, and where it fails.
pub fn count_instructions(
    works: &[Counted<'_>],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Vec<f64>, Uncounted> {
    if env::var_os(CHILD).is_some() {
        works.iter().for_each(repeat);
        process::exit(0);
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    run_counted(&out, arguments)?;
    let mut dumps = 1..;
    let cheapest = |work: &Counted<'_>| {
        let dumps = dumps.by_ref().take(BATCHES as usize);
        let totals = dumps.map(|part| total(&out.with_extension(format!("out.{part}"))));
        let totals: io::Result<Vec<u64>> = totals.collect();
        let least = totals?.into_iter().min().unwrap_or_default();
        Ok(least as f64 / work.times as f64)
    };
    works.iter().map(cheapest).collect()
}

fn repeat(counted: &Counted<'_>) {
    let mut work = (counted.make)();
    work.run(counted.times);
    for _ in 0..BATCHES {
        collected(&mut work, counted.times);
    }
}

/// What callgrind looks for by its name.
#[inline(never)]
fn collected(work: &mut Work, times: u64) {
    work.run(times);
    // Something is left to do, so that the call above is one and not a jump.
    black_box(times);
}

fn run_counted(out: &Path, arguments: impl IntoIterator<Item = OsString>) -> Result<(), Uncounted> {
    let program = env::current_exe()?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .arg("--tool=callgrind")
        .args(["-q", "--collect-atstart=no", "--compress-strings=yes"])
        .arg(format!("--toggle-collect={COLLECTED}"))
        .arg(format!("--dump-after={COLLECTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .args(arguments)
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env(CHILD, padding(&program))
        .stdout(Stdio::null());
    let output = valgrind.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Uncounted::NoValgrind,
        _ => error.into(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(words).into())
}

/// What the environment is and where the program lies moves its stack, and how its bytes are aligned there decides by which way they are copied: up to 3 % of
/// a path that copies much. So both are made as long as they are everywhere.
fn padding(program: &Path) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    // The program's path is there as its first argument, and as its own name.
    let taken = 2 * program.as_os_str().len() + path.len();
    "x".repeat(8192_usize.saturating_sub(taken))
}

/// What one dump has counted.
fn total(dump: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(dump)?;
    let line = text.lines().rev().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    });
    line.and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| io::Error::other("a dump without a sum"))
}
