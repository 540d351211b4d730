//! What `cargo budgets` says in the same run, and beside each of its rows the best peer of the contest for the same path.

use std::error::Error;
use std::fmt::Write;

use serde_json::Value;

use crate::results::{Contest, Entry};
use crate::table::{time, to_the_best};

/// All that `cargo budgets --json` has measured, and what it could not.
#[derive(Debug)]
pub(crate) struct Budgets {
    rows: Vec<Row>,
    /// What the machine was found to be, beside the one that the budgets were set on.
    calibration: String,
}

/// As a table has it.
#[derive(Debug, Default, PartialEq)]
struct Row {
    id: String,
    measured: String,
    budget: String,
    verdict: String,
    allocations: String,
}

/// Rows whose path has another name beside peers, who need another frame for it: the contest, and who is ours in it.
const ELSEWHERE: [(&str, &str, &str); 4] = [
    ("dedup/leader/ours", "dedup/run", "ours"),
    ("dedup/followers/64", "dedup/64-waiters", "ours"),
    ("dedup/followers/1000", "dedup/1000-waiters", "ours"),
    ("dedup/layer/ours", "dedup/run", "ours-layer"),
];

/// Why nobody stands beside a row, by what its name begins with.
const ALONE: [(&str, &str); 8] = [
    (
        "circuit/made-of/",
        "a part: what a machine takes for it, whoever asks",
    ),
    ("circuit/memory/", "bytes: contests are about time"),
    ("stack/server", "whole processes: `cargo e2e`"),
    ("stack/gateway-", "whole processes: `cargo e2e`"),
    ("cache/invalidate/", "no peer does this"),
    ("dedup/http/", "no peer does this"),
    ("negotiate/stream-1000-records/", "no peer does this"),
    ("trace-ctx/told/", "no peer does this"),
];
/// Of all others.
const UNMEASURED: &str = "not measured beside peers";

impl Budgets {
    pub(crate) fn read(json: &str) -> Result<Self, Box<dyn Error>> {
        let report: Value = serde_json::from_str(json)?;
        let list = |name: &str| {
            let list = report[name].as_array();
            list.ok_or_else(|| format!("`cargo budgets` tells no {name}"))
        };
        let mut rows: Vec<Row> = list("lines")?.iter().map(Row::measured).collect();
        rows.extend(
            list("not_here")?
                .iter()
                .map(|row| Row::bare(row, "not here")),
        );
        rows.extend(list("failed")?.iter().map(|row| Row::bare(row, "FAILED")));
        let nanos = |name: &str| report[name].as_f64().unwrap_or_default();
        let calibration = format!(
            "The calibration took {:.1} ns, where the budgets were set {:.1}: those of time are × {:.2}.",
            nanos("calibration_nanos"),
            nanos("reference_nanos"),
            nanos("scale"),
        );
        Ok(Self { rows, calibration })
    }

    /// A heading and a table.
    pub(crate) fn section(&self, contests: &[Contest]) -> String {
        let mut text = format!(
            "\n## {HEADING}\n\n{WORDS} {}\n\n\
             | | measured | budget | verdict | allocations | best peer | adds | ours adds | to it |\n\
             |---|--:|--:|---|--:|---|--:|--:|--:|\n",
            self.calibration
        );
        for row in &self.rows {
            let Row {
                id,
                measured,
                budget,
                verdict,
                allocations,
            } = row;
            let beside = beside(id, contests).map_or_else(
                |why| format!("– ({why}) | | | –"),
                |(contest, ours)| cells(contest, ours),
            );
            let _ = writeln!(
                text,
                "| {id} | {measured} | {budget} | {verdict} | {allocations} | {beside} |"
            );
        }
        text
    }
}

const HEADING: &str = "Budgets, and the best peer of each";

const WORDS: &str = "Every row of `cargo budgets`, measured in the same run: by itself, and without the bare service where the promise is \"over\" it. The best peer is that of the contest below for the \
    same path, and what it adds, what ours adds there, and the ratio are of that contest, where both are in one process, in a frame that the peer can be put into, and each without its own `bare`: so \
    what ours adds there need not be what is measured here. `dedup/leader` is `dedup/run` there, `dedup/followers` are tasks that wait.";

impl Row {
    fn measured(line: &Value) -> Self {
        let unit = line["unit"].as_str().unwrap_or_default();
        let amount = |name: &str| match line[name].as_f64() {
            None => "–".to_owned(),
            Some(bytes) if unit == "B" => format!("{bytes:.0} B"),
            Some(amount) => format!("{} {unit}", time(Some(amount))),
        };
        let count = |name: &str| line[name].as_u64().map(|count| count.to_string());
        let verdict = match line["verdict"].as_str() {
            Some("pass") => "pass",
            Some("miss") => "**MISS**",
            _ => "–",
        };
        Self {
            id: line["id"].as_str().unwrap_or_default().to_owned(),
            measured: amount("measured"),
            budget: amount("budget"),
            verdict: verdict.to_owned(),
            allocations: match (count("allocations"), count("allocation_budget")) {
                (Some(asked), Some(may)) => format!("{asked} of {may}"),
                (Some(asked), None) => asked,
                (None, _) => "–".to_owned(),
            },
        }
    }

    /// A row without figures: its name, and why it has none.
    fn bare(row: &Value, verdict: &str) -> Self {
        let word = |n: usize| row[n].as_str().unwrap_or_default();
        Self {
            id: word(0).to_owned(),
            measured: "–".to_owned(),
            budget: "–".to_owned(),
            verdict: format!("{verdict}: {}", one_line(word(1))),
            allocations: "–".to_owned(),
        }
    }
}

/// What can stand in a cell.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

/// The contest for the path of a row, and ours in it. Or why there is none.
fn beside<'a>(id: &str, contests: &'a [Contest]) -> Result<(&'a Contest, &'a Entry), &'static str> {
    let elsewhere = ELSEWHERE.into_iter().find(|(row, ..)| *row == id);
    let (path, name) = match elsewhere {
        Some((_, contest, ours)) => (contest, ours),
        None => id.rsplit_once('/').unwrap_or((id, "")),
    };
    let contest = contests.iter().find(|contest| contest.id == path);
    let found = contest.and_then(|contest| {
        let ours = contest.entries.iter().find(|entry| entry.name == name)?;
        contest.best(alone)?;
        Some((contest, ours))
    });
    found.ok_or_else(|| {
        let known = ALONE.iter().find(|(begin, _)| id.starts_with(begin));
        known.map_or(UNMEASURED, |(_, why)| why)
    })
}

/// The best peer, what it adds, what ours adds, and how much of the former the latter is.
fn cells(contest: &Contest, ours: &Entry) -> String {
    let best = contest.best(alone);
    let (peer, adds) = best.map_or(("–", None), |(peer, adds)| (&*peer.name, Some(adds)));
    let own = contest.own(ours, alone);
    format!(
        "{peer} | {} | {} | {}",
        time(adds.map(|adds| adds.middle())),
        time(own.map(|adds| adds.middle())),
        to_the_best(contest, ours, alone)
    )
}

fn alone(entry: &Entry) -> &crate::times::Times {
    &entry.alone
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "calibration_nanos": 83.0, "reference_nanos": 41.5, "scale": 2.0,
        "lines": [
            {"id": "circuit/closed/ours-time", "unit": "ns", "measured": 17.25, "budget": 40.0, "bare": 1.0,
             "is_over_bare": false, "allocations": 0, "allocation_budget": 0, "verdict": "pass"},
            {"id": "circuit/made-of/quanta", "unit": "ns", "measured": 7.0, "budget": null, "bare": 1.0,
             "is_over_bare": false, "allocations": 0, "allocation_budget": null, "verdict": "shown"},
            {"id": "circuit/memory/breaker", "unit": "B", "measured": 900.0, "budget": 1024.0, "bare": null,
             "is_over_bare": false, "allocations": null, "allocation_budget": null, "verdict": "pass"},
            {"id": "dedup/followers/64", "unit": "ns", "measured": 9700.0, "budget": 9600.0, "bare": 50.0,
             "is_over_bare": true, "allocations": 7, "allocation_budget": 8, "verdict": "miss"}
        ],
        "not_here": [["stack/server", "the kernel does not\n count"]],
        "failed": [["stack/gateway-hit", "it was not built"]]
    }"#;

    fn contest(id: &str, times: &[(&str, f64)]) -> Contest {
        let entry = |(name, time): &(&str, f64)| {
            let mut entry = Entry {
                name: (*name).to_owned(),
                ..Entry::default()
            };
            entry.alone.add(0, *time);
            entry
        };
        Contest {
            id: id.to_owned(),
            entries: times.iter().map(entry).collect(),
        }
    }

    fn contests() -> [Contest; 2] {
        let closed = [
            ("ours-time", 20.0),
            ("bare", 10.0),
            ("slow", 90.0),
            ("peer", 50.0),
        ];
        let waiters = [("ours", 30.0), ("bare", 100.0), ("peer", 60.0)];
        [
            contest("circuit/closed", &closed),
            contest("dedup/64-waiters", &waiters),
        ]
    }

    #[test]
    fn each_row_stands_there_with_the_best_peer_of_its_path_or_with_why_there_is_none() {
        let budgets = Budgets::read(REPORT).unwrap();
        let text = budgets.section(&contests());
        for line in [
            "| circuit/closed/ours-time | 17.2 ns | 40.0 ns | pass | 0 of 0 | peer | 40.0 | 10.0 | 0.25 |",
            "| circuit/made-of/quanta | 7.00 ns | – | – | 0 | – (a part: what a machine takes for it, whoever asks) | | | – |",
            "| circuit/memory/breaker | 900 B | 1024 B | pass | – | – (bytes: contests are about time) | | | – |",
            "| dedup/followers/64 | 9700 ns | 9600 ns | **MISS** | 7 of 8 | peer | 60.0 | 30.0 | 0.50 |",
            "| stack/server | – | – | not here: the kernel does not count | – | – (whole processes: `cargo e2e`) | | | – |",
            "| stack/gateway-hit | – | – | FAILED: it was not built | – | – (whole processes: `cargo e2e`) | | | – |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("× 2.00"), "{text}");
    }

    #[test]
    fn a_row_is_beside_nobody_where_its_contest_lacks_ours_or_a_peer() {
        let why = |id, contests: &[Contest]| beside(id, contests).err();
        let contests = contests();
        assert_eq!(why("circuit/closed/ours-time", &contests), None);
        assert_eq!(why("circuit/closed/another", &contests), Some(UNMEASURED));
        assert_eq!(why("circuit/open/ours", &contests), Some(UNMEASURED));
        let lonely = [contest("circuit/open", &[("ours", 1.0), ("bare", 0.5)])];
        assert_eq!(why("circuit/open/ours", &lonely), Some(UNMEASURED));
        assert_eq!(why("dedup/http/ours", &lonely), Some("no peer does this"));
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        assert!(Budgets::read("measuring").is_err());
        assert!(Budgets::read("{}").is_err());
    }
}
