//! What came of it.

use std::fmt::Write;
use std::time::Duration;

use crate::contest::{Contest, Entry};
use crate::process::can_pin;

pub(crate) fn text(contests: &[Contest], missing: &[String], load: &str) -> String {
    let mut text = format!(
        "asked by {load} over 32 connections; {}\n\n{:<24} {:<18} {:>10} {:>9} {:>9} {:>17}\n",
        if can_pin() {
            "each on a core of its own"
        } else {
            "NOT PINNED, so these figures say little"
        },
        "what",
        "who",
        "a second",
        "p50",
        "p99",
        "to hyper"
    );
    for contest in contests {
        let hyper = contest.entries.iter().find(|entry| entry.server == "hyper");
        for entry in &contest.entries {
            row(&mut text, contest.id, entry, hyper);
        }
        text.push('\n');
    }
    for what in missing {
        let _ = writeln!(text, "left out: {what}");
    }
    text
}

fn row(text: &mut String, contest: &str, entry: &Entry, hyper: Option<&Entry>) {
    let Some(best) = entry.best() else {
        let _ = writeln!(text, "{contest:<24} {:<18} failed", entry.server);
        return;
    };
    let ratio = hyper.map_or_else(String::new, |hyper| spread(&entry.ratios(hyper)));
    let _ = writeln!(
        text,
        "{contest:<24} {:<18} {:>10.0} {:>9} {:>9} {ratio:>17}",
        entry.server,
        best.per_second,
        short(best.p50),
        short(best.p99)
    );
}

/// The middle one, and from where to where they go.
fn spread(ordered: &[f64]) -> String {
    let Some((low, high)) = ordered.first().zip(ordered.last()) else {
        return String::new();
    };
    let half = ordered.len() / 2;
    let middle = if ordered.len().is_multiple_of(2) {
        f64::midpoint(ordered[half - 1], ordered[half])
    } else {
        ordered[half]
    };
    if high - low < 0.005 {
        return format!("{middle:.2}");
    }
    format!("{middle:.2} ({low:.2}-{high:.2})")
}

/// As in `311 µs`, `1.24 ms`.
fn short(span: Duration) -> String {
    match span.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        _ => format!("{:.2} ms", span.as_secs_f64() * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_what_is_left_is_told_with_its_ends() {
        assert_eq!(spread(&[0.5, 0.6, 0.9]), "0.60 (0.50-0.90)");
        assert_eq!(spread(&[0.5, 0.9]), "0.70 (0.50-0.90)");
        assert_eq!(spread(&[0.5]), "0.50");
        assert_eq!(spread(&[]), "");
    }
}
