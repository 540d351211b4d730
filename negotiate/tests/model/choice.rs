//! The choice itself.

use buttress_negotiate::{Offers, vary};
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, VARY};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::reference;

const OFFERS: [&str; 13] = [
    "a/b",
    "a/c",
    "A/b;x=1",
    "a/b;x=1;y=2",
    "a/b;y=\"2\"",
    "b/b;charset=UTF-8",
    "b/*x",
    "b/x*",
    "c/d",
    "c/e",
    "c/f",
    "b/a;x=\"p, q\"",
    "b/c",
];
const PLAIN: [&str; 5] = ["a/b", "a/c", "b/b", "c/d", "c/e"];

fn weight() -> impl Strategy<Value = String> {
    let spellings = [
        "",
        ";q=0",
        ";q=0.5",
        "; Q=0.001",
        " ;q=1.000",
        ";q=0.25",
        ";q=\"0.5\"",
        ";q=.7",
        ";q=0.99999",
    ];
    select(spellings.to_vec()).prop_map(str::to_owned)
}

/// A range that says something, without commas outside of quotes.
fn range() -> impl Strategy<Value = String> {
    let essence = [
        "*/*", "*", "a/*", "A/B", "a/b", "a/c", "b/*", "b/b", "b/*x", "b/x*", "c/d", "b/a", "z/z",
    ];
    let parameters = [
        "",
        ";x=1",
        ";X=\"1\"",
        ";y=2",
        ";x=1;y=2",
        ";;x=2",
        ";charset=utf-8",
        ";x=\"p, q\"",
        ";x=1;x=1",
    ];
    let (essence, parameters) = (select(essence.to_vec()), select(parameters.to_vec()));
    (essence, parameters, weight(), any::<bool>()).prop_map(
        |(essence, parameters, weight, first)| {
            if first {
                format!("{essence}{weight}{parameters}")
            } else {
                format!("{essence}{parameters}{weight}")
            }
        },
    )
}

fn malformed() -> impl Strategy<Value = String> {
    let bad = [
        "a/b;q=2",
        "a/b;q=x",
        "a/b;x",
        "*/b",
        "a",
        "a/b/c",
        "a b/c",
        "a/b;q = 1",
        "a/b;x=\u{e9}",
        "/b",
        "a/",
        "a/b;q=1.1",
        ";q=1",
        "\"a/b\"",
    ];
    select(bad.to_vec()).prop_map(str::to_owned)
}

/// Anything that almost means something.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        range().prop_map(String::into_bytes),
        malformed().prop_map(String::into_bytes),
        select(b"ab/*;=,\"\\ \tqQ.015x\x7f\xe9".to_vec()).prop_map(|b| vec![b]),
        Just(b",".to_vec()),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn offers(types: &[&str]) -> Offers<()> {
    Offers::new(types.iter().map(|t| (*t, ()))).unwrap()
}

fn headers<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
    let lines = lines.into_iter();
    lines
        .filter_map(|l| Some((ACCEPT, HeaderValue::from_bytes(l).ok()?)))
        .collect()
}

/// Weights by offer, and the winner.
fn choose(offers: &Offers<()>, headers: &HeaderMap) -> (Vec<u16>, Option<usize>) {
    let mut weights = vec![0; offers.len()];
    for found in offers.ranked(headers) {
        weights[found.index()] = found.weight().thousandths();
    }
    let best = offers.select(headers).ok().map(|found| found.index());
    assert_eq!(
        best,
        offers.ranked(headers).next().map(|found| found.index())
    );
    (weights, best)
}

fn of(types: &[&str], field: &str) -> (Vec<u16>, Option<usize>) {
    choose(&offers(types), &headers([field.as_bytes()]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_is_what_the_plain_rules_say(field in noise(), types in subsequence(OFFERS.to_vec(), 1..13)) {
        let expected = reference::choose(&field, &types);
        let best = offers(&types).select_field(&field).ok().map(|found| found.index());
        prop_assert_eq!(best, expected.1);
        if let Ok(value) = HeaderValue::from_bytes(&field) {
            let found = choose(&offers(&types), &HeaderMap::from_iter([(ACCEPT, value)]));
            prop_assert_eq!(found, expected);
        }
    }

    /// Long ones are read in another way, and many ranges have places far from each other.
    #[test]
    fn of_a_long_field_too(
        ranges in vec(range(), 1..4), filler in 60_usize..130, at in 0_usize..130, types in subsequence(OFFERS.to_vec(), 1..13)
    ) {
        let mut all = vec!["z/not-offered;q=0.5".to_owned(); filler];
        for (place, range) in ranges.into_iter().enumerate() {
            all.insert((at + 64 * place) % (all.len() + 1), range);
        }
        let field = all.join(",");
        let found = of(&types, &field);
        prop_assert_eq!(found, reference::choose(field.as_bytes(), &types));
    }

    #[test]
    fn no_bytes_panic(field: Vec<u8>) {
        let found = offers(&OFFERS).select_field(&field).ok().map(|found| found.index());
        prop_assert_eq!(found, reference::choose(&field, &OFFERS).1);
    }

    #[test]
    fn the_order_of_ranges_never_changes_a_weight(
        (ranges, shuffled) in vec(range(), 1..9).prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle()))
    ) {
        let (there, back) = (of(&OFFERS, &ranges.join(",")), of(&OFFERS, &shuffled.join(",")));
        prop_assert_eq!(there.0, back.0);
    }

    #[test]
    fn spelling_never_changes_anything(
        ranges in vec((range(), select(vec!["", " ", "\t", ",", ", ,"]), any::<bool>()), 1..9)
    ) {
        let plain: Vec<_> = ranges.iter().map(|(range, ..)| range.as_str()).collect();
        let mut lines = vec![String::new()];
        for (range, filler, new_line) in &ranges {
            let line = lines.last_mut().unwrap();
            *line += &format!("{filler}{range}{filler},");
            if *new_line {
                lines.push(String::new());
            }
        }
        let spread = headers(lines.iter().map(String::as_bytes));
        prop_assert_eq!(choose(&offers(&OFFERS), &spread), of(&OFFERS, &plain.join(",")));
    }

    #[test]
    fn quoting_a_value_never_changes_anything(
        ranges in vec((select(vec!["a/b", "b/a", "b/b"]), select(vec!["x=1", "y=2", "charset=utf-8", "q=0.5", "q=0"])), 1..9)
    ) {
        let plain = ranges.iter().map(|(essence, parameter)| format!("{essence};{parameter},"));
        let quoted = ranges.iter().map(|(essence, parameter)| {
            let (name, value) = parameter.split_once('=').unwrap();
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            format!("{essence};{name}=\"{escaped}\",")
        });
        prop_assert_eq!(of(&OFFERS, &plain.collect::<String>()), of(&OFFERS, &quoted.collect::<String>()));
    }

    #[test]
    fn the_case_of_names_never_changes_anything(ranges in vec((select(PLAIN.to_vec()), weight()), 1..9)) {
        let field: String = ranges.iter().map(|(essence, weight)| format!("{essence}{weight},")).collect();
        prop_assert_eq!(of(&PLAIN, &field.to_uppercase()), of(&PLAIN, &field));
    }

    #[test]
    fn a_malformed_element_changes_nothing(ranges in vec(range(), 1..6), bad in malformed(), at: prop::sample::Index) {
        let mut with = ranges.clone();
        with.insert(at.index(ranges.len() + 1), bad);
        prop_assert_eq!(of(&OFFERS, &with.join(",")), of(&OFFERS, &ranges.join(",")));
    }

    #[test]
    fn nothing_is_chosen_exactly_where_nothing_is_wanted_and_the_best_otherwise(field in noise()) {
        let value = HeaderValue::from_bytes(&field);
        prop_assume!(value.is_ok());
        let (weights, best) = choose(&offers(&OFFERS), &HeaderMap::from_iter([(ACCEPT, value.unwrap())]));
        let most = weights.iter().copied().max().unwrap();
        prop_assert_eq!(best.map_or(0, |best| weights[best]), most);
    }

    #[test]
    fn what_is_refused_by_name_is_never_chosen(ranges in vec((select(PLAIN.to_vec()), weight()), 0..6), refused in 0..PLAIN.len()) {
        let others = ranges.iter().filter(|(essence, _)| *essence != PLAIN[refused]);
        let field: String = others.map(|(essence, weight)| format!("{essence}{weight},")).collect();
        let (_, best) = of(&PLAIN, &format!("{field}*/*;q=0.9,{};q=0", PLAIN[refused]));
        prop_assert_ne!(best, Some(refused));
    }

    #[test]
    fn a_last_resort_never_changes_the_winner(ranges in vec(range(), 1..9)) {
        let field = ranges.join(",");
        let (weights, best) = of(&OFFERS, &field);
        prop_assume!(best.is_some_and(|best| weights[best] > 1));
        prop_assert_eq!(of(&OFFERS, &format!("{field},*/*;q=0.001")).1, best);
    }

    #[test]
    fn vary_is_merged_once_and_loses_nothing(lines in vec("[A-Za-z, *-]{0,20}", 0..4), name in "[a-z]{1,8}") {
        let name = HeaderName::try_from(name).unwrap();
        let mut headers: HeaderMap = lines.iter().map(|l| (VARY, HeaderValue::try_from(l).unwrap())).collect();
        let list = |headers: &HeaderMap| -> Vec<String> {
            let lines = headers.get_all(VARY).iter().map(|l| l.to_str().unwrap());
            let elements = lines.flat_map(|l| l.split(',')).map(|e| e.trim().to_lowercase());
            elements.filter(|e| !e.is_empty()).collect()
        };
        let before = list(&headers);
        vary::merge(&mut headers, &name);
        let after = list(&headers);
        prop_assert!(before.iter().all(|name| after.contains(name)));
        prop_assert!(after.iter().any(|n| n == "*" || n == name.as_str()));
        let once = headers.clone();
        vary::merge(&mut headers, &name);
        prop_assert_eq!(headers, once);
    }
}
