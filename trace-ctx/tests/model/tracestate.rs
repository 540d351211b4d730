//! The list against a reference on vectors of strings.

use buttress_trace_ctx::TraceState;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

type Members = Vec<(String, String)>;

/// Section 3.3.1, word by word. `None`: the list is refused.
fn reference(list: &str) -> Option<Members> {
    let ows = |c| c == ' ' || c == '\t';
    let members: Vec<&str> = list
        .split(',')
        .map(|m| m.trim_matches(ows))
        .filter(|m| !m.is_empty())
        .collect();
    if members.len() > 32 {
        return None;
    }
    let starts = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let continues = |c: char| starts(c) || "_-*/@".contains(c);
    let chr = |c: char| (' '..='~').contains(&c) && c != ',' && c != '=';
    members
        .into_iter()
        .map(|member| {
            let (key, value) = member.split_once('=')?;
            let key_ok = key.starts_with(starts) && key.chars().all(continues) && key.len() <= 256;
            let value_ok = !value.is_empty() && value.chars().all(chr) && value.len() <= 256;
            (key_ok && value_ok).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn parse(list: &str) -> Option<TraceState> {
    TraceState::parse(HeaderValue::from_bytes(list.as_bytes()).ok()?).ok()
}

fn members(state: &TraceState) -> Members {
    state
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn joined_len(members: &Members) -> usize {
    let text: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    text.join(",").len()
}

/// Section 3.3.1.5: whole members, those over 128 characters first, from the end.
fn truncated(mut members: Members, max: usize) -> Members {
    while joined_len(&members) > max {
        let large = members
            .iter()
            .rposition(|(key, value)| key.len() + value.len() + 1 > 128);
        members.remove(large.unwrap_or(members.len() - 1));
    }
    members
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-d][a-d0-9_*/@-]{0,2}=[!-+\\--<>-~]{1,6}",
        2 => "[a-d]=[v]{120,140}",
        1 => "[ \t]{0,2}",
        1 => "[ -~]{0,8}",
    ]
}

fn valid() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(
        prop_oneof![5 => "[a-d][a-d0-9]{0,1}=[!-+\\--<>-~]{1,20}", 1 => "[a-d]=[v]{120,140}"],
        1..=32,
    )
}

proptest! {
    #[test]
    fn it_agrees_on_lists(list in prop::collection::vec(member(), 0..40), space in "[ \t]{0,2}") {
        let list = list.join(&format!("{space},"));
        prop_assert_eq!(parse(&list).as_ref().map(members), reference(&list), "{:?}", list);
    }

    #[test]
    fn it_agrees_on_any_text(list in "[ -~\t]{0,40}") {
        prop_assert_eq!(parse(&list).as_ref().map(members), reference(&list), "{:?}", list);
    }

    #[test]
    fn lines_are_one_list(lines in prop::collection::vec(prop::collection::vec(member(), 0..8), 0..6)) {
        let lines: Vec<String> = lines.iter().map(|members| members.join(",")).collect();
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append("tracestate", HeaderValue::from_str(line).unwrap());
        }
        let split = TraceState::from_headers(&headers).ok();
        prop_assert_eq!(split.as_ref().map(members), reference(&lines.join(",")));
    }

    #[test]
    fn what_comes_in_goes_out_byte_for_byte(list in valid()) {
        let list = list.join(" , ");
        let state = parse(&list).unwrap();
        let sent = state.to_header_value().unwrap();
        prop_assert_eq!(sent.as_bytes(), list.as_bytes());
    }

    #[test]
    fn truncation_drops_the_specified_members(list in valid(), max in 0usize..700) {
        let list = list.join(",");
        let mut state = parse(&list).unwrap();
        state.truncate(max);
        prop_assert_eq!(members(&state), truncated(reference(&list).unwrap(), max));
        prop_assert!(state.as_bytes().len() <= max);
        prop_assert_eq!(state.is_empty(), state.to_header_value().is_none());
        let once = state.clone();
        state.truncate(max);
        prop_assert_eq!(state, once, "truncating twice is truncating once");
    }

    #[test]
    fn a_changed_member_is_first_and_unique(list in valid(), key in "[a-d][a-d0-9]{0,1}", value in "[a-z]{1,5}") {
        let list = list.join(",");
        let mut state = parse(&list).unwrap();
        state.insert(&key, &value).unwrap();
        let mut expected = reference(&list).unwrap();
        expected.retain(|(other, _)| *other != key);
        expected.truncate(31);
        expected.insert(0, (key.clone(), value));
        prop_assert_eq!(members(&state), expected.clone());
        state.remove(&key);
        expected.remove(0);
        prop_assert_eq!(members(&state), expected);
    }
}
