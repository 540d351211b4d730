//! Looks for what was served though it was invalidated.

use std::collections::HashMap;
use std::fmt;

/// For how long other processes may serve what was invalidated.
pub(crate) const MAX_LAG: u64 = 300_000;
/// Clocks are set.
const SLACK: u64 = 20_000;

/// What a process wrote down. Times are microseconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Line {
    /// `I name version told at`: it was invalidated here, and in all processes if they were told.
    Invalidated {
        name: String,
        version: u64,
        told: bool,
        at: u64,
    },
    /// `R name version hit at`: this version of what the name stands for was served to a call that began then.
    Read {
        name: String,
        version: u64,
        hit: bool,
        at: u64,
    },
}

/// Everything that was invalidated so far, in the order in which it was done.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    by_name: HashMap<String, Vec<Done>>,
    pub(crate) told: Told,
}

#[derive(Debug)]
struct Done {
    version: u64,
    at: u64,
    process: u32,
    told: bool,
}

/// How much there was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) reads: usize,
    pub(crate) hits: usize,
    pub(crate) changes: usize,
    pub(crate) untold: usize,
    pub(crate) faults: usize,
}

impl Checker {
    /// One process's lines of one round. All that was invalidated has to be known before what was read is looked at.
    pub(crate) fn learn(&mut self, process: u32, lines: &[Line]) {
        for line in lines {
            if let Line::Invalidated {
                name,
                version,
                told,
                at,
            } = line
            {
                self.told.changes += 1;
                self.told.untold += usize::from(!told);
                let done = Done {
                    version: *version,
                    at: *at,
                    process,
                    told: *told,
                };
                self.by_name.entry(name.clone()).or_default().push(done);
            }
        }
    }

    pub(crate) fn check(&mut self, process: u32, lines: &[Line]) -> Result<(), String> {
        for line in lines {
            let Line::Read {
                name,
                version,
                hit,
                at,
            } = line
            else {
                continue;
            };
            // Each read has two names.
            let counts = name.starts_with('k');
            self.told.reads += usize::from(counts);
            self.told.hits += usize::from(counts && *hit);
            let Some(floor) = self.floor(process, name, *at) else {
                continue;
            };
            if *version < floor.version {
                return Err(format!(
                    "process {process} was served version {version} of {name} (a hit: {hit}), though {} was invalidated {} us before by process {}",
                    floor.version,
                    at - floor.at,
                    floor.process,
                ));
            }
        }
        Ok(())
    }

    /// What was invalidated last of what may not be served to a call of this process that begins then.
    fn floor(&self, process: u32, name: &str, at: u64) -> Option<&Done> {
        let done = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let binds = |done: &&Done| {
            let others = done.told && done.at + MAX_LAG + SLACK <= at;
            others || (done.process == process && done.at <= at)
        };
        done.iter().filter(binds).max_by_key(|done| done.version)
    }
}

impl Line {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let name = words.next()?.to_owned();
        let version = words.next()?.parse().ok()?;
        let flag = words.next()? == "true";
        let at = words.next()?.parse().ok()?;
        match kind {
            "I" => Some(Self::Invalidated {
                name,
                version,
                told: flag,
                at,
            }),
            "R" => Some(Self::Read {
                name,
                version,
                hit: flag,
                at,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalidated {
                name,
                version,
                told,
                at,
            } => {
                write!(f, "I {name} {version} {told} {at}")
            }
            Self::Read {
                name,
                version,
                hit,
                at,
            } => write!(f, "R {name} {version} {hit} {at}"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reads,
            hits,
            changes,
            untold,
            faults,
        } = self;
        write!(
            f,
            "{reads} reads ({hits} hits), {changes} invalidations ({untold} told later), {faults} faults: nothing stale"
        )
    }
}

/// The checker proves itself first.
#[test]
fn what_may_not_be_served_is_found_and_nothing_else() {
    let changed = |told| Line::Invalidated {
        name: "a".into(),
        version: 5,
        told,
        at: 1_000_000,
    };
    let read = |version, at| Line::Read {
        name: "a".into(),
        version,
        hit: true,
        at,
    };
    let late = 1_000_000 + MAX_LAG + SLACK;
    for (told, process, version, at, allowed) in [
        (true, 1, 4, 999_999, true),
        (true, 1, 4, 1_000_000, false),
        (true, 1, 5, 1_000_000, true),
        (false, 1, 4, 1_000_000, false),
        (true, 2, 4, late - 1, true),
        (true, 2, 4, late, false),
        (false, 2, 4, late, true),
        (true, 2, 6, late, true),
    ] {
        let mut checker = Checker::default();
        checker.learn(1, &[changed(told)]);
        let found = checker.check(process, &[read(version, at)]);
        assert_eq!(found.is_ok(), allowed, "{told} {process} {version} {at}");
    }
}

#[test]
fn a_line_is_read_as_it_was_written() {
    for line in ["I t1 5 false 7", "R k3 0 true 9"] {
        assert_eq!(Line::parse(line).unwrap().to_string(), line);
    }
    for broken in ["", "I", "I a b true 1", "X a 1 true 1"] {
        assert_eq!(Line::parse(broken), None);
    }
}
