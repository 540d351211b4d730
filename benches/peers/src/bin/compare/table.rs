//! A contest as a table.

use std::fmt::Write;

use crate::results::{Contest, Entry, Part};
use crate::times::{Adds, Times};

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
    for entry in &contest.entries {
        row(&mut text, contest, entry, has_two);
    }
    let _ = writeln!(text, "\n![{}]({plot})", contest.id);
    text
}

fn row(text: &mut String, contest: &Contest, entry: &Entry, has_two: bool) {
    let name = match entry.part() {
        Part::Ours => format!("**{}**", entry.name),
        Part::Peer | Part::Zero => entry.name.clone(),
    };
    let _ = write!(text, "| {name} |");
    let columns: [fn(&Entry) -> &Times; 2] = [|entry| &entry.alone, |entry| &entry.two_threads];
    for of in columns.into_iter().take(1 + usize::from(has_two)) {
        let (time, ratio) = (time(of(entry).best()), to_the_best(contest, entry, of));
        let _ = write!(text, " {time} | {ratio} |");
    }
    text.push('\n');
}

/// What it adds, over what the fastest peer does.
pub(crate) fn to_the_best(contest: &Contest, entry: &Entry, of: fn(&Entry) -> &Times) -> String {
    let (own, best) = (contest.own(entry, of), contest.best(of));
    let (Some(own), Some((peer, best))) = (own, best) else {
        return String::new();
    };
    if entry.part() == Part::Zero {
        return String::new();
    }
    if peer.name == entry.name {
        return "1.00".to_owned();
    }
    let is_open = own.reaches_into(&best);
    let about = if is_open { "≈ " } else { "" };
    // Less than nothing is noise, and nothing to divide by.
    if own.middle() <= 0.0 || best.middle() <= 0.0 {
        let is_slower = own.middle() > best.middle();
        let known = if is_slower { "slower" } else { "faster" };
        return if is_open { "≈" } else { known }.to_owned();
    }
    format!("{about}{:.2}", own.middle() / best.middle())
}

/// What has to be known of a contest whose entries do not all do the same.
fn words(contest: &str) -> Option<&'static str> {
    Some(match contest {
        "circuit/closed" | "circuit/closed-filled" => {
            "`ours-permit` is taken and given back by hand, without a service. recloser counts calls and reads no clock. `failsafe-time` is its default, two rules at once: a share of successes, and so many failures in a row."
        }
        "circuit/half-open" => {
            "failsafe closes with the first success, and so has no such state. Two threads at tower-resilience's would wait for each other by a timer of a millisecond, as where it is open."
        }
        "cache/get" | "cache/get-or-set" => {
            "`bare` is the way through the keys, without a look-up."
        }
        "dedup/64-waiters" | "dedup/1000-waiters" => {
            "Two threads are those of one runtime, which share the tasks: who asks when the others have been answered begins anew, or finds what a cache has kept."
        }
        "http-cache/hit-1k" | "http-cache/hit-64k" => {
            "tower-resilience-cache knows nothing of HTTP: it keeps a value under a key."
        }
        "idempotency/first" => {
            "The stores are new every 4096 keys, and grow. axum-idempotent compares no bodies, and asks for a session: `bare-session` is its router with that alone, and what is taken away from its time."
        }
        "idempotency/replay" => {
            "axum-idempotent compares no bodies, and asks for a session: `bare-session` is its router with that alone, and what is taken away from its time."
        }
        "negotiate/1000-ranges" | "negotiate/browser" | "negotiate/json" => {
            "`bare` looks at the field. `mime` and `mediatype` read ranges and choose nothing: the loop around them is ours, and takes the heaviest range that covers an offer, the first of equals, whatever RFC 9110 says of more specific ones. So does the one for actix-web's."
        }
        "negotiate/reply" => {
            "`bare` writes JSON, whatever is asked for. Ours says by `Vary` that there was a choice; the others leave that to the handler."
        }
        "stack/hello" => "Nobody else has all of these layers: what stands beside them does less.",
        "trace-ctx/quiet" => {
            "Nobody listens: what makes a span of `tracing` finds it switched off."
        }
        "trace-ctx/round-trip" => {
            "`bare` clears the table that is written to, as all of them do. `ours-policy` decides about trust, sampling and the request id as well."
        }
        "trace-ctx/json" => "`ours-access-log` needs no subscriber; the others write through one.",
        _ => return None,
    })
}

/// Everything of ours beside the best peer, by one thread, each without the call that it is around.
pub(crate) fn summary(contests: &[Contest]) -> String {
    let mut text = "\n## All of ours, and the best peer of each\n\n\
        | | adds | best peer | adds | to it |\n|---|--:|---|--:|--:|\n"
        .to_owned();
    let of: fn(&Entry) -> &Times = |entry| &entry.alone;
    let adds = |adds: Option<Adds>| time(adds.map(|adds| adds.middle()));
    for contest in contests {
        let (name, best) = match contest.best(of) {
            Some((peer, best)) => (&*peer.name, Some(best)),
            None => ("none", None),
        };
        let ours = contest.entries.iter();
        for entry in ours.filter(|entry| entry.part() == Part::Ours) {
            let _ = writeln!(
                text,
                "| {}/{} | {} | {name} | {} | {} |",
                contest.id,
                entry.name,
                adds(contest.own(entry, of)),
                adds(best.clone()),
                to_the_best(contest, entry, of),
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
        let _ = write!(
            text,
            "| {}{of} | {} |",
            entry.name,
            time(entry.alone.best())
        );
        if has_two {
            let _ = write!(text, " {} |", time(entry.two_threads.best()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> String {
        let entry = |name: &&str| {
            let mut entry = Entry {
                name: (*name).to_owned(),
                ..Entry::default()
            };
            entry.alone.add(0, 1.0);
            entry
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
