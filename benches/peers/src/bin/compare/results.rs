//! What criterion has left of its last run.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::times::{Adds, Times};

const TWO_THREADS: &str = "2-threads";

/// All that there are. What is not found where criterion is thought to leave it would be lost without a word.
const CONTESTS: [&str; 25] = [
    "cache/get",
    "cache/get-or-set",
    "circuit/closed",
    "circuit/closed-filled",
    "circuit/half-open",
    "circuit/open",
    "dedup/100-waiters-300ms-cpu",
    "dedup/1000-waiters",
    "dedup/64-waiters",
    "dedup/run",
    "http-cache/hit-1k",
    "http-cache/hit-64k",
    "idempotency/first",
    "idempotency/replay",
    "negotiate/1000-ranges",
    "negotiate/browser",
    "negotiate/browser-layer",
    "negotiate/json",
    "negotiate/reply",
    "stack/hello",
    "trace-ctx/denied",
    "trace-ctx/json",
    "trace-ctx/quiet",
    "trace-ctx/round-trip",
    "trace-ctx/spans",
];

/// Those who did the same work.
#[derive(Debug)]
pub(crate) struct Contest {
    /// As in `circuit/closed`.
    pub(crate) id: String,
    /// Ours first, then by time.
    pub(crate) entries: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) alone: Times,
    pub(crate) two_threads: Times,
}

/// How an entry takes part.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    Ours,
    /// The work alone, or something of tower's to compare with.
    Zero,
    Peer,
}

impl Entry {
    pub(crate) fn part(&self) -> Part {
        match self.name.split('-').next() {
            Some("ours") => Part::Ours,
            Some("bare") => Part::Zero,
            // What a layer of tower's own costs, to compare with: it does another job.
            _ if self.name == "tower-concurrency-limit" => Part::Zero,
            _ => Part::Peer,
        }
    }
}

impl Contest {
    pub(crate) fn has_two(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| !entry.two_threads.is_empty())
    }

    /// What an entry adds to the call without it. Where those who wait share one work that `bare` has each of them do, and where there is no such call: all of its time.
    pub(crate) fn own(&self, entry: &Entry, of: fn(&Entry) -> &Times) -> Option<Adds> {
        let is_shared = self.id.ends_with("-waiters") || self.id.ends_with("-cpu");
        let zero = self.zero(entry).filter(|_| !is_shared);
        of(entry).over(zero.map(of).filter(|zero| !zero.is_empty()))
    }

    /// The fastest peer, and what it adds.
    pub(crate) fn best(&self, of: fn(&Entry) -> &Times) -> Option<(&Entry, Adds)> {
        let is_peer = |entry: &&Entry| entry.part() == Part::Peer;
        let peers = self.entries.iter().filter(is_peer);
        let own = peers.filter_map(|entry| Some((entry, self.own(entry, of)?)));
        own.min_by(|(_, one), (_, other)| one.middle().total_cmp(&other.middle()))
    }

    /// The call without the entry: there are two where a peer asks for a frame of its own.
    fn zero(&self, entry: &Entry) -> Option<&Entry> {
        let name = match entry.name.as_str() {
            "axum-idempotent" => "bare-session",
            _ => "bare",
        };
        let named = |name| self.entries.iter().find(|zero| zero.name == name);
        named(name).or_else(|| named("bare"))
    }
}

type Contests = BTreeMap<String, BTreeMap<String, Entry>>;

/// All contests that have been measured in these rounds.
pub(crate) fn read(rounds: &[PathBuf]) -> Result<Vec<Contest>, Box<dyn Error>> {
    let mut contests = Contests::new();
    for (number, round) in rounds.iter().enumerate() {
        if round.exists() {
            look(round, number, &mut contests)?;
        }
    }
    Ok(contests.into_iter().map(sorted).collect())
}

/// Whether something was measured since `file` was written.
pub(crate) fn is_newer_than(file: &Path, folder: &Path) -> Result<bool, Box<dyn Error>> {
    let since = fs::metadata(file)?.modified()?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_newer = if path.is_dir() {
            is_newer_than(file, &path)?
        } else {
            path.ends_with("estimates.json") && fs::metadata(&path)?.modified()? >= since
        };
        if is_newer {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those that there are, and are not among these.
pub(crate) fn unmeasured(contests: &[Contest]) -> Vec<String> {
    let is_missing = |id: &&str| contests.iter().all(|contest| contest.id != *id);
    let missing = CONTESTS.into_iter().filter(is_missing);
    missing.map(str::to_owned).collect()
}

/// A group of benchmarks has a folder of its own, with one for each of them in it.
fn look(folder: &Path, round: usize, contests: &mut Contests) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("new") && path.join("estimates.json").exists() {
            add(contests, &id(&path)?, round, median(&path)?);
        } else if path.is_dir() {
            look(&path, round, contests)?;
        }
    }
    Ok(())
}

fn add(contests: &mut Contests, id: &str, round: usize, nanos: f64) {
    let mut parts: Vec<&str> = id.split('/').collect();
    let two_threads = parts.pop_if(|last| *last == TWO_THREADS).is_some();
    let Some(name) = parts.pop() else { return };
    let calls = parts.last_mut().map_or(1.0, calls);
    let contest = contests.entry(parts.join("/")).or_default();
    let entry = contest.entry(name.to_owned()).or_insert_with(|| Entry {
        name: name.to_owned(),
        ..Entry::default()
    });
    let times = if two_threads {
        &mut entry.two_threads
    } else {
        &mut entry.alone
    };
    times.add(round, nanos / calls);
}

fn sorted((id, entries): (String, BTreeMap<String, Entry>)) -> Contest {
    let mut entries: Vec<Entry> = entries.into_values().collect();
    let time = |entry: &Entry| {
        let best = entry.alone.best().or(entry.two_threads.best());
        best.unwrap_or(f64::MAX)
    };
    entries.sort_by(|a, b| {
        (a.part(), time(a))
            .partial_cmp(&(b.part(), time(b)))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Contest { id, entries }
}

/// How many calls one measurement is, as the name of the contest says: `closed-x1000`. It is left without that, as what is measured call by call has it.
fn calls(contest: &mut &str) -> f64 {
    let Some((name, times)) = contest.rsplit_once("-x") else {
        return 1.0;
    };
    let Ok(times) = times.parse() else { return 1.0 };
    *contest = name;
    times
}

fn id(new: &Path) -> Result<String, Box<dyn Error>> {
    let benchmark = json(&new.join("benchmark.json"))?;
    let id = benchmark["full_id"]
        .as_str()
        .ok_or("a benchmark without a name")?;
    Ok(id.to_owned())
}

fn median(new: &Path) -> Result<f64, Box<dyn Error>> {
    let estimates = json(&new.join("estimates.json"))?;
    let median = estimates["median"]["point_estimate"].as_f64();
    Ok(median.ok_or("a benchmark without a median")?)
}

fn json(file: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_in_a_group_is_found_as_well() {
        let round = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
        let benchmarks = [
            ("dedup_run_ours", "dedup/run/ours"),
            ("trace-ctx_round-trip/ours", "trace-ctx/round-trip/ours"),
        ];
        for (folder, id) in benchmarks {
            for kind in ["base", "new"] {
                let folder = round.join(folder).join(kind);
                fs::create_dir_all(&folder).unwrap();
                let name = format!(r#"{{"full_id":"{id}"}}"#);
                fs::write(folder.join("benchmark.json"), name).unwrap();
                let median = match kind {
                    "new" => r#"{"median":{"point_estimate":7.0}}"#,
                    _ => r#"{"median":{"point_estimate":5.0}}"#,
                };
                fs::write(folder.join("estimates.json"), median).unwrap();
            }
        }
        let contests = read(std::slice::from_ref(&round));
        fs::remove_dir_all(round).unwrap();
        let contests = contests.unwrap();
        let ids: Vec<_> = contests.iter().map(|contest| &*contest.id).collect();
        assert_eq!(ids, ["dedup/run", "trace-ctx/round-trip"]);
        assert_eq!(contests[1].entries[0].alone.best(), Some(7.0));
        let missing = unmeasured(&contests);
        assert_eq!(missing.len(), CONTESTS.len() - 2, "{missing:?}");
    }

    #[test]
    fn what_is_compared_is_what_is_added_to_the_call() {
        let contest = |id: &str, times: &[(&str, f64)]| {
            let entry = |(name, time): &(&str, f64)| {
                let name = (*name).to_owned();
                let mut entry = Entry {
                    name,
                    ..Entry::default()
                };
                entry.alone.add(0, *time);
                entry
            };
            Contest {
                id: id.to_owned(),
                entries: times.iter().map(entry).collect(),
            }
        };
        let own = |contest: &Contest, n: usize| {
            let own = contest.own(&contest.entries[n], |entry| &entry.alone);
            own.unwrap().middle()
        };
        let best = |contest: &Contest| {
            let best = contest.best(|entry| &entry.alone);
            best.map(|(peer, adds)| (peer.name.clone(), adds.middle()))
                .unwrap()
        };
        let times = [
            ("ours", 30.0),
            ("bare", 10.0),
            ("bare-session", 50.0),
            ("axum-idempotent", 90.0),
            ("peer", 35.0),
        ];
        let framed = contest("idempotency/first", &times);
        assert_eq!((own(&framed, 0), own(&framed, 3)), (20.0, 40.0));
        assert_eq!(best(&framed), ("peer".to_owned(), 25.0));
        // Who shares work may need less than who does it himself.
        let times = [("ours", 5.0), ("bare", 10.0), ("peer", 15.0)];
        let shared = contest("dedup/64-waiters", &times);
        assert_eq!((own(&shared, 0), best(&shared).1), (5.0, 15.0));
    }

    #[test]
    fn the_best_round_is_told() {
        let mut contests = Contests::new();
        for (round, nanos) in [30.0, 20.0, 40.0].into_iter().enumerate() {
            add(&mut contests, "circuit/closed/ours", round, nanos);
        }
        add(&mut contests, "circuit/closed/ours/2-threads", 0, 50.0);
        let ours = &contests["circuit/closed"]["ours"];
        let told = (ours.alone.best(), ours.two_threads.best());
        assert_eq!(told, (Some(20.0), Some(50.0)));
    }

    #[test]
    fn a_thousand_calls_are_among_the_single_ones() {
        let mut contests = Contests::new();
        add(&mut contests, "circuit/closed/ours", 0, 20.0);
        add(&mut contests, "circuit/closed-x1000/peer", 0, 70_000.0);
        let closed = &contests["circuit/closed"];
        assert_eq!(
            (closed["ours"].alone.best(), closed["peer"].alone.best()),
            (Some(20.0), Some(70.0))
        );
    }
}
