//! The cases of `tests/vectors`: what the RFCs decide, and our answers where they leave it open.

use buttress_negotiate::{Offers, TieBreak};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

const DECIDED: &str = include_str!("../vectors/negotiate.json");
const POLICY: &str = include_str!("../vectors/negotiate-policy.json");

#[test]
fn every_media_case_gets_its_weights_and_its_winner() {
    let mut checked = 0;
    for case in cases(DECIDED, "media") {
        let (offers, headers) = (offers(&case), headers(http::header::ACCEPT, &case));
        let expected = &case["expected"];
        let best = offers.select(&headers).map(|m| m.media_type()).ok();
        assert_eq!(best, expected["best"].as_str(), "{case}");
        let ranked: Vec<_> = offers.ranked(&headers).map(|m| m.media_type()).collect();
        if let Some(expected) = expected["ranked"].as_array() {
            assert_eq!(ranked, strings(expected), "{case}");
        }
        for (offer, quality) in expected["quality"].as_object().unwrap() {
            let found = offers.ranked(&headers).find(|m| m.media_type() == offer);
            let found = found.map_or(0, |m| m.weight().thousandths());
            assert_eq!(Some(u64::from(found)), quality.as_u64(), "{offer}: {case}");
        }
        for (rule, winner) in expected["tie"].as_object().into_iter().flatten() {
            let offers = offers.clone().tie_break(rule_of(rule));
            let best = offers.select(&headers).unwrap().media_type();
            assert_eq!(Some(best), winner.as_str(), "{rule}: {case}");
        }
        checked += 1;
    }
    assert_eq!(checked, 104);
}

#[test]
fn every_open_media_case_gets_the_recommended_answer() {
    let mut checked = 0;
    for case in cases(POLICY, "media") {
        let (offers, headers) = (offers(&case), headers(http::header::ACCEPT, &case));
        let best = |offers: Offers<()>| {
            let best = offers.select(&headers).map(|m| m.media_type().to_owned());
            best.map_or(Value::Null, Value::from)
        };
        match &case["recommended"] {
            Value::Object(by_rule) => {
                for (rule, expected) in by_rule {
                    let offers = offers.clone().tie_break(rule_of(rule));
                    assert_eq!(best(offers), *expected, "{rule}: {case}");
                }
            }
            expected => assert_eq!(best(offers), *expected, "{case}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 42);
}

fn cases(file: &str, kind: &str) -> impl Iterator<Item = Value> {
    let cases: Vec<Value> = serde_json::from_str(file).unwrap();
    cases.into_iter().filter(move |case| case["kind"] == kind)
}

fn rule_of(name: &str) -> TieBreak {
    match name {
        "server" | "server_order" => TieBreak::Server,
        "client" | "client_order" => TieBreak::Client,
        "specificity" | "specificity_then_server" => TieBreak::SpecificityThenServer,
        "specificity_then_client" => TieBreak::SpecificityThenClient,
        other => panic!("no rule is called {other}"),
    }
}

fn offers(case: &Value) -> Offers<()> {
    let offers = strings(case["offers"].as_array().unwrap());
    Offers::new(offers.into_iter().map(|offer| (offer, ()))).unwrap()
}

/// The field of a case: absent, one line, or several.
fn headers(name: HeaderName, case: &Value) -> HeaderMap {
    let lines = match &case["header"] {
        Value::Null => vec![],
        Value::Array(lines) => strings(lines),
        line => vec![line.as_str().unwrap()],
    };
    lines
        .into_iter()
        .map(|line| {
            (
                name.clone(),
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            )
        })
        .collect()
}

fn strings(values: &[Value]) -> Vec<&str> {
    values.iter().map(|value| value.as_str().unwrap()).collect()
}
