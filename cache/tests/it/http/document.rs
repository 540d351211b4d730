//! `RFC.md` names a test for each sentence: here they all are.

use std::fs;
use std::path::Path;

/// The names and paths of what a line links to as tests.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (path, _) = rest.split_once(')')?;
        Some((name, path))
    })
}

/// Whether a test of this name is in a file.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let name_of = line.trim_start_matches("async ").strip_prefix("fn ");
        name_of
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(is_it) else {
        return false;
    };
    let before = lines[..at].iter().rev().take_while(|line| !line.is_empty());
    before
        .take(5)
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn every_sentence_has_a_test_that_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(folder.join("RFC.md")).unwrap();
    let mut shown = 0;
    for line in document.lines() {
        let is_row = line.starts_with("| ") && !line.starts_with("| § |");
        assert!(
            !is_row || links(line).next().is_some(),
            "nothing shows: {line}"
        );
        for (name, path) in links(line) {
            let text = fs::read_to_string(folder.join(path)).unwrap_or_else(|_| panic!("{path}"));
            assert!(has_test(&text, name), "there is no test {name} in {path}");
            shown += 1;
        }
    }
    assert!(shown > 150, "{shown}");
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    assert!(has_test("    #[test]\n    fn a_b() {", "a_b"));
    assert!(has_test(
        "#[tokio::test(start_paused = true)]\nasync fn a() {}",
        "a"
    ));
    assert!(!has_test("fn a() {}", "a"));
    assert!(!has_test("#[test]\nfn ab() {}", "a"));
    assert!(!has_test("#[test]\nfn b() {}\n\nfn a() {}", "a"));
}
