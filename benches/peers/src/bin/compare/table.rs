//! A contest as a table.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};

/// Its heading, its table, its plot.
pub(crate) fn section(contest: &Contest, plot: &str) -> String {
    let mut text = format!("\n## {}\n\n", contest.id);
    let has_two = contest.has_two();
    text.push_str(if has_two {
        "| | one thread | to the best | two threads | to the best |\n|---|--:|--:|--:|--:|\n"
    } else {
        "| | one thread | to the best |\n|---|--:|--:|\n"
    });
    let best = (
        contest.best(|entry| entry.alone),
        contest.best(|entry| entry.two_threads),
    );
    for entry in &contest.entries {
        row(&mut text, entry, best, has_two);
    }
    let _ = writeln!(text, "\n![{}]({plot})", contest.id);
    text
}

fn row(text: &mut String, entry: &Entry, best: (Option<f64>, Option<f64>), has_two: bool) {
    let name = match entry.part() {
        Part::Ours => format!("**{}**", entry.name),
        Part::Peer | Part::Zero => entry.name.clone(),
    };
    let _ = write!(text, "| {name} |");
    let _ = write!(
        text,
        " {} | {} |",
        time(entry.alone),
        ratio(entry.alone, best.0)
    );
    if has_two {
        let _ = write!(
            text,
            " {} | {} |",
            time(entry.two_threads),
            ratio(entry.two_threads, best.1)
        );
    }
    text.push('\n');
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
