//! A contest as a table.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};

/// Its heading, its table, its plot.
pub(crate) fn section(contest: &Contest, plot: &str) -> String {
    let mut text = format!("\n## {}\n\n", contest.id);
    text.push_str(
        "| | one thread | to the best | two threads | to the best |\n|---|--:|--:|--:|--:|\n",
    );
    let best = (
        contest.best(|entry| entry.alone),
        contest.best(|entry| entry.two_threads),
    );
    for entry in &contest.entries {
        row(&mut text, entry, best);
    }
    let _ = writeln!(text, "\n![{}]({plot})", contest.id);
    text
}

fn row(text: &mut String, entry: &Entry, best: (Option<f64>, Option<f64>)) {
    let name = match entry.part() {
        Part::Ours => format!("**{}**", entry.name),
        Part::Peer | Part::Zero => entry.name.clone(),
    };
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} |",
        time(entry.alone),
        ratio(entry.alone, best.0),
        time(entry.two_threads),
        ratio(entry.two_threads, best.1),
    );
}

/// Three digits.
pub(crate) fn time(nanos: Option<f64>) -> String {
    match nanos {
        None => String::new(),
        Some(nanos) if nanos < 10.0 => format!("{nanos:.2}"),
        Some(nanos) if nanos < 100.0 => format!("{nanos:.1}"),
        Some(nanos) => format!("{nanos:.0}"),
    }
}

fn ratio(nanos: Option<f64>, best: Option<f64>) -> String {
    let ratio = nanos.zip(best).map(|(nanos, best)| nanos / best);
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}
