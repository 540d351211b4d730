//! A contest as a table.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};

/// What their headings begin with.
pub(crate) const CONFIGURATIONS: &str = "configurations";

/// Its heading, its table, its plot.
pub(crate) fn section(contest: &Contest, plot: &str) -> String {
    let mut text = format!("\n## {}\n\n", contest.id);
    let has_two = contest.has_two();
    if let Some(words) = words(&contest.id) {
        let _ = write!(text, "{words}\n\n");
    }
    text.push_str(if has_two {
        "| | one thread | to the best | two threads | to the best |\n|---|--:|--:|--:|--:|\n"
    } else {
        "| | one thread | to the best |\n|---|--:|--:|\n"
    });
    let best = (
        contest.best(|entry| entry.alone).map(|(_, own)| own),
        contest.best(|entry| entry.two_threads).map(|(_, own)| own),
    );
    for entry in &contest.entries {
        row(&mut text, contest, entry, best, has_two);
    }
    let _ = writeln!(text, "\n![{}]({plot})", contest.id);
    text
}

fn row(
    text: &mut String,
    contest: &Contest,
    entry: &Entry,
    best: (Option<f64>, Option<f64>),
    has_two: bool,
) {
    let is_zero = entry.part() == Part::Zero;
    let ratio = |of: fn(&Entry) -> Option<f64>, best| {
        let own = contest.own(entry, of).filter(|_| !is_zero);
        ratio(own, best)
    };
    let name = match entry.part() {
        Part::Ours => format!("**{}**", entry.name),
        Part::Peer | Part::Zero => entry.name.clone(),
    };
    let _ = write!(text, "| {name} |");
    let _ = write!(
        text,
        " {} | {} |",
        time(entry.alone),
        ratio(|entry| entry.alone, best.0)
    );
    if has_two {
        let _ = write!(
            text,
            " {} | {} |",
            time(entry.two_threads),
            ratio(|entry| entry.two_threads, best.1)
        );
    }
    text.push('\n');
}

/// What has to be known of a contest whose entries do not all do the same.
fn words(contest: &str) -> Option<&'static str> {
    Some(match contest {
        "circuit/half-open" => "failsafe closes with the first success, and so has no such state.",
        "http-cache/hit-1k" | "http-cache/hit-64k" => {
            "tower-resilience-cache knows nothing of HTTP: it keeps a value under a key."
        }
        "idempotency/first" => {
            "The stores are new every 4096 keys, and grow. axum-idempotent compares no bodies, and asks for a session: `bare-session` is its router with that alone, and what is taken away from its time."
        }
        "idempotency/replay" => {
            "axum-idempotent compares no bodies, and asks for a session: `bare-session` is its router with that alone, and what is taken away from its time."
        }
        "negotiate/reply" => {
            "`bare` writes JSON, whatever is asked for. Ours says by `Vary` that there was a choice; the others leave that to the handler."
        }
        "stack/hello" => "Nobody else has all of these layers: what stands beside them does less.",
        "trace-ctx/json" => "`ours-access-log` needs no subscriber; the others write through one.",
        _ => return None,
    })
}

/// Everything of ours beside the best peer, by one thread, each without the call that it is around.
pub(crate) fn summary(contests: &[Contest]) -> String {
    let mut text = "\n## All of ours, and the best peer of each\n\n\
        | | adds | best peer | adds | to it |\n|---|--:|---|--:|--:|\n"
        .to_owned();
    let of = |entry: &Entry| entry.alone;
    for contest in contests {
        let best = contest.best(of);
        let ours = contest.entries.iter();
        for entry in ours.filter(|entry| entry.part() == Part::Ours) {
            let (own, name) = (contest.own(entry, of), best.map(|(peer, _)| &*peer.name));
            let _ = writeln!(
                text,
                "| {}/{} | {} | {} | {} | {} |",
                contest.id,
                entry.name,
                time(own),
                name.unwrap_or("none"),
                time(best.map(|(_, own)| own)),
                ratio(own, best.map(|(_, own)| own)),
            );
        }
    }
    text
}

/// The same of what has no peer: configurations, and stores under so many clients.
pub(crate) fn configurations(contest: &Contest) -> String {
    let mut text = format!("\n## {CONFIGURATIONS}: {}\n\n", contest.id);
    let has_two = contest.has_two();
    text.push_str(if has_two {
        "| | one thread | two threads |\n|---|--:|--:|\n"
    } else {
        "| | |\n|---|--:|\n"
    });
    let mut entries: Vec<_> = contest.entries.iter().collect();
    let clients = |entry: &&Entry| entry.name.parse::<u32>().unwrap_or(0);
    entries.sort_by_key(clients);
    for entry in entries {
        let of = if clients(&entry) > 0 { " clients" } else { "" };
        let _ = write!(text, "| {}{of} | {} |", entry.name, time(entry.alone));
        if has_two {
            let _ = write!(text, " {} |", time(entry.two_threads));
        }
        text.push('\n');
    }
    text
}

/// What stands in one text and not in the other, as `contest: entry`.
pub(crate) fn lost(before: &str, after: &str) -> Vec<String> {
    let after = entries(after);
    let mut lost = entries(before);
    lost.retain(|entry| !after.contains(entry));
    lost
}

fn entries(text: &str) -> Vec<String> {
    let (mut contest, mut entries) = ("", Vec::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            contest = heading;
        }
        let name = line
            .strip_prefix("| ")
            .and_then(|row| row.split(" |").next());
        // The heading of a table has none.
        if let Some(name) = name.filter(|name| !name.starts_with('|')) {
            entries.push(format!("{contest}: {}", name.trim_matches('*')));
        }
    }
    entries
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
    let nanos = nanos.filter(|nanos| *nanos > 0.0);
    let ratio = nanos.zip(best).map(|(nanos, best)| nanos / best);
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> String {
        let entry = |name: &&str| Entry {
            name: (*name).to_owned(),
            alone: Some(1.0),
            two_threads: None,
        };
        let contest = Contest {
            id: "circuit/open".to_owned(),
            entries: names.iter().map(entry).collect(),
        };
        section(&contest, "a.svg")
    }

    #[test]
    fn what_would_be_lost_is_named() {
        let (before, after) = (of(&["ours", "peer"]), of(&["ours", "another"]));
        assert_eq!(lost(&before, &after), ["circuit/open: peer"]);
        assert!(lost(&before, &before).is_empty());
        assert!(lost("", &after).is_empty());
    }
}
