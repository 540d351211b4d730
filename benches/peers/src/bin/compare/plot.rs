//! A contest as bars, readable on light and on dark.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};
use crate::table::time;

const BAR: f64 = 16.0;
const GAP: f64 = 10.0;
const LEFT: f64 = 250.0;
const WIDTH: f64 = 420.0;
const RIGHT: f64 = 80.0;

const STYLE: &str = include_str!("../../../../plot.css");

/// One bar for one thread, and a paler one below for two.
pub(crate) fn svg(contest: &Contest) -> String {
    let longest = contest.entries.iter().flat_map(times).fold(1.0, f64::max);
    let mut bars = String::new();
    let mut y = GAP;
    for entry in &contest.entries {
        let class = class(entry);
        label(&mut bars, y, &entry.name);
        for (nanos, two) in [(entry.alone, ""), (entry.two_threads, " two")] {
            let Some(nanos) = nanos else { continue };
            let width = (nanos / longest * WIDTH).max(1.0);
            let (right, base) = (LEFT + width + 6.0, y + BAR - 4.0);
            let _ = writeln!(
                bars,
                r#"<rect class="{class}{two}" x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" rx="2"/>"#
            );
            let _ = writeln!(
                bars,
                r#"<text x="{right:.1}" y="{base}">{}</text>"#,
                time(Some(nanos))
            );
            y += BAR + 2.0;
        }
        y += GAP;
    }
    let (width, height) = (LEFT + WIDTH + RIGHT, y + 2.0 * GAP);
    let id = &contest.id;
    let base = y + GAP;
    let has_two = contest
        .entries
        .iter()
        .any(|entry| entry.two_threads.is_some());
    let paler = if has_two {
        "; paler, with two threads"
    } else {
        ""
    };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{id}">
<style>
{STYLE}</style>
{bars}<text x="{LEFT}" y="{base}">{id}: nanoseconds for a call{paler}</text>
</svg>
"#
    )
}

fn label(bars: &mut String, y: f64, name: &str) {
    let (right, base) = (LEFT - 8.0, y + BAR - 4.0);
    let _ = writeln!(
        bars,
        r#"<text x="{right}" y="{base}" text-anchor="end">{name}</text>"#
    );
}

fn times(entry: &Entry) -> impl Iterator<Item = f64> {
    [entry.alone, entry.two_threads].into_iter().flatten()
}

fn class(entry: &Entry) -> &'static str {
    match entry.part() {
        Part::Ours => "ours",
        Part::Zero => "zero",
        Part::Peer => "peer",
    }
}
