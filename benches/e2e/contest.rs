//! What is asked, and of whom.

use crate::load::{Answered, Asked, Load};
use crate::process::ask;
use crate::servers::Servers;

/// Those who answer the same.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) id: &'static str,
    /// The first is what the others are compared with.
    pub(crate) entries: Vec<Entry>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) server: &'static str,
    asked: Asked,
    /// What its answer begins with, behind the version.
    status: &'static str,
    /// What has to be in its answer, in small letters.
    has: &'static str,
    /// What came of each, where it counts.
    rounds: Vec<Option<Answered>>,
}

const GET: Asked = Asked {
    method: "GET",
    path: "/",
    headers: &[],
    body: "",
};
/// What the origin's pages have.
const KNOWN: &[(&str, &str)] = &[(
    "if-none-match",
    "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
)];
const ORDER: Asked = Asked {
    method: "POST",
    path: "/orders",
    headers: &[
        ("content-type", "application/json"),
        ("idempotency-key", "\"order-4711\""),
    ],
    body: "{\"product\":\"lamp\",\"quantity\":1}",
};

pub(crate) fn all() -> Vec<Contest> {
    let hello = |server| get(server, "/hello", "200", "hello, world");
    let hit = |server| get(server, "/cached", "200", "\r\n\r\nxxxx");
    // It says whether it was one.
    let our_hit = get("gateway", "/cached", "200", "; hit");
    let miss = |server| get(server, "/miss/{n}", "200", "\r\n\r\nxxxx");
    let known = |server| with(get(server, "/cached", "304", ""), KNOWN);
    let plain = |server| get(server, "/plain", "200", "\r\n\r\nxxxx");
    let open = |server, status| get(server, "/open", status, "");
    let order = |server| Entry {
        asked: ORDER,
        ..get(server, "", "201", "idempotency-replayed")
    };
    let json = |server| {
        let entry = get(server, "/reports/sales", "200", "application/json");
        with(entry, &[("accept", "application/json, */*;q=0.1")])
    };
    let csv = |server| {
        let entry = get(server, "/reports/sales", "200", "text/csv");
        with(entry, &[("accept", "text/csv, application/json;q=0.5")])
    };
    let of = |id, entries| Contest { id, entries };
    vec![
        of(
            "hello, all layers",
            vec![
                hello("hyper"),
                hello("all layers"),
                hello("nginx"),
                hello("express"),
            ],
        ),
        of(
            "cached hit, 1 KiB",
            vec![
                hit("hyper"),
                our_hit,
                hit("nginx"),
                hit("varnish"),
                hit("express"),
            ],
        ),
        of(
            "miss, 1 KiB",
            vec![
                miss("hyper"),
                miss("gateway"),
                miss("nginx"),
                miss("varnish"),
                miss("express"),
            ],
        ),
        of(
            "304",
            vec![
                known("hyper"),
                known("gateway"),
                known("nginx"),
                known("varnish"),
                known("express"),
            ],
        ),
        of(
            "breaker closed, 1 KiB",
            vec![
                plain("hyper"),
                plain("gateway, circuit"),
                plain("nginx"),
                plain("varnish"),
                plain("express"),
            ],
        ),
        of(
            "breaker open",
            vec![
                hello("hyper"),
                open("gateway, open", "503"),
                open("nginx", "502"),
                open("varnish", "503"),
                open("express", "503"),
            ],
        ),
        of(
            "replayed order",
            vec![hello("hyper"), order("storefront"), order("express")],
        ),
        of(
            "negotiated JSON",
            vec![hello("hyper"), json("storefront"), json("express")],
        ),
        of(
            "negotiated CSV",
            vec![hello("hyper"), csv("storefront"), csv("express")],
        ),
    ]
}

fn get(server: &'static str, path: &'static str, status: &'static str, has: &'static str) -> Entry {
    Entry {
        server,
        asked: Asked { path, ..GET },
        status,
        has,
        rounds: Vec::new(),
    }
}

fn with(entry: Entry, headers: &'static [(&'static str, &'static str)]) -> Entry {
    let asked = Asked {
        headers,
        ..entry.asked
    };
    Entry { asked, ..entry }
}

impl Contest {
    /// Takes those out that do not run, or answer something else, and says so.
    pub(crate) fn check(&mut self, servers: &Servers, missing: &mut Vec<String>) {
        self.entries.retain(|entry| match entry.check(servers) {
            Ok(()) => true,
            Err(why) => {
                if let Some(why) = why {
                    missing.push(format!("{} of {}: {why}", self.id, entry.server));
                }
                false
            }
        });
    }

    pub(crate) fn run(&mut self, servers: &Servers, load: &Load) {
        for entry in &mut self.entries {
            entry.run(servers, load);
        }
    }
}

impl Entry {
    /// Asks a few times, which fills caches and opens breakers, and looks at the last answer.
    fn check(&self, servers: &Servers) -> Result<(), Option<String>> {
        // Whoever does not run has been told of.
        let address = servers.address(self.server).ok_or(None)?;
        let path = self.asked.path.replace("{n}", "first");
        let request = self.asked.text(&path);
        let mut last = String::new();
        for _ in 0..20 {
            last = ask(address, &request).map_err(|error| Some(error.to_string()))?;
        }
        let small = last.to_ascii_lowercase();
        if last.get(9..12) == Some(self.status) && small.contains(self.has) {
            return Ok(());
        }
        let head = last.split("\r\n\r\n").next().unwrap_or_default();
        Err(Some(format!("it answered {head:?}")))
    }

    fn run(&mut self, servers: &Servers, load: &Load) {
        let Some(address) = servers.address(self.server) else {
            return;
        };
        let is_refusal = self.status.starts_with(['4', '5']);
        self.rounds.push(match load.run(address, &self.asked) {
            Ok(now) if now.broken > 0 => {
                eprintln!(
                    "{}: {} broken connections; this round does not count",
                    self.server, now.broken
                );
                None
            }
            // Quick as it is, it is not what was asked for.
            Ok(now) if now.refused > 0 && !is_refusal => {
                eprintln!(
                    "{}: {} refusals; this round does not count",
                    self.server, now.refused
                );
                None
            }
            Ok(now) => Some(now),
            Err(error) => {
                eprintln!("{}: {error}", self.server);
                None
            }
        });
    }

    pub(crate) fn best(&self) -> Option<&Answered> {
        let rounds = self.rounds.iter().flatten();
        rounds.max_by(|one, other| one.per_second.total_cmp(&other.per_second))
    }

    /// How many times as many answers it gave as `other` in the same round; in order.
    pub(crate) fn ratios(&self, other: &Self) -> Vec<f64> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratio = |(own, other): (&Option<Answered>, &Option<Answered>)| {
            Some(own.as_ref()?.per_second / other.as_ref()?.per_second)
        };
        let mut ratios: Vec<f64> = rounds.filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        let entry = |rounds: &[Option<f64>]| {
            let answered = |per_second: f64| Answered {
                per_second,
                p50: Duration::ZERO,
                p99: Duration::ZERO,
                refused: 0,
                broken: 0,
            };
            let rounds = rounds.iter().map(|round| round.map(answered)).collect();
            Entry {
                rounds,
                ..get("hyper", "/", "200", "")
            }
        };
        let hyper = entry(&[Some(100.0), Some(50.0), Some(80.0)]);
        let ours = entry(&[Some(90.0), Some(30.0), None]);
        assert_eq!(ours.ratios(&hyper), [0.6, 0.9]);
        assert_eq!(ours.best().unwrap().per_second, 90.0);
        assert!(entry(&[None]).best().is_none());
    }
}
