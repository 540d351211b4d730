//! The cases of `tests/vectors`: what the RFCs decide, and our answers where they leave it open.

use buttress_negotiate::{Charsets, Codings, Languages, Offers, TieBreak};
use http::header::{
    ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue,
};
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

/// The names on offer that this field wants, the winner alone.
fn name(case: &Value) -> Option<String> {
    let names = strings(case["offers"].as_array().unwrap());
    match (case["kind"].as_str().unwrap(), case["scheme"].as_str()) {
        ("charset", _) => Charsets::new(names)
            .select(&headers(ACCEPT_CHARSET, case))
            .map(|c| c.name.to_owned()),
        ("encoding", _) => Codings::new(names)
            .select(&headers(ACCEPT_ENCODING, case))
            .map(|c| c.name.to_owned()),
        (_, Some("lookup")) => Languages::new(names)
            .lookup(&headers(ACCEPT_LANGUAGE, case))
            .map(|c| c.name.to_owned()),
        _ => Languages::new(names)
            .filter(&headers(ACCEPT_LANGUAGE, case))
            .map(|c| c.name.to_owned()),
    }
}

/// What each name gets when it is offered alone.
fn check_weights(case: &Value) {
    for (offer, quality) in case["expected"]["quality"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let (codings, charsets) = (Codings::new([&**offer]), Charsets::new([&**offer]));
        let languages = Languages::new([&**offer]);
        let chosen = match case["kind"].as_str().unwrap() {
            "charset" => charsets.select(&headers(ACCEPT_CHARSET, case)),
            "encoding" => codings.select(&headers(ACCEPT_ENCODING, case)),
            _ => languages.filter(&headers(ACCEPT_LANGUAGE, case)),
        };
        let found = match chosen {
            None => Value::from(0),
            Some(chosen) => chosen
                .weight
                .map_or("default".into(), |weight| weight.thousandths().into()),
        };
        assert_eq!(found, *quality, "{offer}: {case}");
    }
}

#[test]
fn every_coding_charset_and_language_case_gets_its_weights_and_its_winner() {
    for (kind, count) in [("encoding", 31), ("charset", 12), ("language", 37)] {
        let cases: Vec<_> = cases(DECIDED, kind).collect();
        assert_eq!(cases.len(), count);
        for case in cases {
            assert_eq!(
                name(&case).as_deref(),
                case["expected"]["best"].as_str(),
                "{case}"
            );
            check_weights(&case);
        }
    }
}

#[test]
fn every_open_coding_charset_and_language_case_gets_the_recommended_answer() {
    for case in ["encoding", "charset", "language"]
        .iter()
        .flat_map(|kind| cases(POLICY, kind))
    {
        assert_eq!(
            name(&case).as_deref(),
            case["recommended"].as_str(),
            "{case}"
        );
    }
}
