//! A contest as bars, readable on light and on dark.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};
use crate::table::time;

const BAR: f64 = 16.0;
const GAP: f64 = 10.0;
const TOP: f64 = 34.0;
const MARGIN: f64 = 10.0;
/// How wide a letter is, at the widest of the usual fonts.
const LETTER: f64 = 7.2;
const WIDTH: f64 = 420.0;
const RIGHT: f64 = 80.0;

const STYLE: &str = include_str!("../../../../plot.css");

/// One bar for one thread, and a paler one below for two.
pub(crate) fn svg(contest: &Contest) -> String {
    let frame = Frame::of(contest);
    let mut bars = String::new();
    let mut y = TOP;
    for entry in &contest.entries {
        frame.label(&mut bars, y, &entry.name);
        y = frame.bars(&mut bars, y, entry) + GAP;
    }
    let (width, height) = (frame.left + WIDTH + RIGHT, y);
    let id = &contest.id;
    let of = if id.ends_with("-cpu") {
        "of the processor for all of them"
    } else {
        "for a call"
    };
    let paler = if contest.has_two() {
        "; paler, with two threads"
    } else {
        ""
    };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{id}">
<style>
{STYLE}</style>
<text x="{MARGIN}" y="18">{id}: nanoseconds {of}{paler}</text>
{bars}</svg>
"#
    )
}

/// Where the bars begin, and what the longest stands for.
struct Frame {
    left: f64,
    longest: f64,
}

impl Frame {
    fn of(contest: &Contest) -> Self {
        let letters = contest.entries.iter().map(|entry| entry.name.len()).max();
        Self {
            left: MARGIN + LETTER * letters.unwrap_or(0) as f64 + 8.0,
            longest: contest.entries.iter().flat_map(times).fold(1.0, f64::max),
        }
    }

    fn label(&self, bars: &mut String, y: f64, name: &str) {
        let (right, base) = (self.left - 8.0, y + BAR - 4.0);
        let _ = writeln!(
            bars,
            r#"<text x="{right}" y="{base}" text-anchor="end">{name}</text>"#
        );
    }

    /// Where the next one begins.
    fn bars(&self, bars: &mut String, mut y: f64, entry: &Entry) -> f64 {
        let (class, left) = (class(entry), self.left);
        for (nanos, two) in [(&entry.alone, ""), (&entry.two_threads, " two")] {
            let Some(nanos) = nanos.best() else {
                continue;
            };
            let width = (nanos / self.longest * WIDTH).max(1.0);
            let (right, base) = (left + width + 6.0, y + BAR - 4.0);
            let _ = writeln!(
                bars,
                r#"<rect class="{class}{two}" x="{left}" y="{y}" width="{width:.1}" height="{BAR}" rx="2"/>"#
            );
            let time = time(Some(nanos));
            let _ = writeln!(bars, r#"<text x="{right:.1}" y="{base}">{time}</text>"#);
            y += BAR + 2.0;
        }
        y
    }
}

fn times(entry: &Entry) -> impl Iterator<Item = f64> {
    [&entry.alone, &entry.two_threads]
        .into_iter()
        .filter_map(|times| times.best())
}

fn class(entry: &Entry) -> &'static str {
    match entry.part() {
        Part::Ours => "ours",
        Part::Zero => "zero",
        Part::Peer => "peer",
    }
}
