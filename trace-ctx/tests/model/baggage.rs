//! What goes out of a baggage is what came in and what was added, and nothing that hid in a value.

use std::collections::HashSet;

use buttress_trace_ctx::Baggage;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

fn read(lines: &[Vec<u8>]) -> Option<Baggage> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("baggage", HeaderValue::from_bytes(line).ok()?);
    }
    Some(Baggage::from_headers(&headers))
}

fn again(baggage: &Baggage) -> Baggage {
    let mut headers = HeaderMap::new();
    if let Some(value) = baggage.to_header_value() {
        headers.insert("baggage", value);
    }
    Baggage::from_headers(&headers)
}

fn raw(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Lines that are nearly lists, and any bytes.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let member = prop_oneof![
        6 => "[a-c]{1,3}=[!-~&&[^,;\"\\\\]]{0,12}",
        1 => "[a-c]=%2[cC0-9]%0[dD]%0[aA];p=%2C",
        1 => "[a-c ,;=%\"\\\\\t]{0,12}",
        1 => "[a-c]=[é\u{1F600}]{1,3}",
        1 => (500usize..900).prop_map(|len| format!("big={}", "v".repeat(len))),
    ];
    let nearly =
        prop::collection::vec(member, 0..40).prop_map(|members| members.join(",").into_bytes());
    prop_oneof![4 => nearly, 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_comes_out_as_it_went_in(values in prop::collection::vec(any::<String>(), 1..8)) {
        let mut baggage = Baggage::default();
        for (place, value) in values.iter().enumerate() {
            baggage.insert(&format!("k{place}"), value).unwrap();
        }
        let sent = again(&baggage);
        for (place, value) in values.iter().enumerate() {
            let key = format!("k{place}");
            for baggage in [&baggage, &sent] {
                let read = baggage.get(&key).unwrap();
                prop_assert_eq!(&*read, &**value);
            }
        }
        prop_assert_eq!(sent.iter().count(), values.len(), "none of them became two");
    }

    #[test]
    fn nothing_goes_out_that_did_not_come_in(
        lines in prop::collection::vec(line(), 0..5), value in any::<String>(),
    ) {
        let Some(mut baggage) = read(&lines) else { return Ok(()) };
        let came: HashSet<_> = lines.iter().flat_map(|line| raw(line)).collect();
        for member in raw(baggage.as_bytes()) {
            prop_assert!(member.is_empty() || came.contains(member), "{:?}", String::from_utf8_lossy(member));
        }
        // What is read goes in again under another key, decoded.
        let first = baggage.iter().next().map(|member| member.value().into_owned());
        let before: Vec<_> = baggage.iter().map(|member| member.key().to_owned()).collect();
        for value in [Some(value), first].into_iter().flatten() {
            if baggage.insert("added", &value).is_err() {
                continue;
            }
            let value_back = baggage.get("added").map(std::borrow::Cow::into_owned);
            prop_assert_eq!(value_back, Some(value));
            let keys: Vec<_> = baggage.iter().map(|member| member.key().to_owned()).collect();
            prop_assert!(keys.iter().filter(|key| *key != "added").eq(before.iter().filter(|key| *key != "added")));
        }
        prop_assert!(baggage.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
    }

    #[test]
    fn the_limits_hold_over_all_lines_and_cut_no_member(lines in prop::collection::vec(line(), 0..24)) {
        let Some(baggage) = read(&lines) else { return Ok(()) };
        prop_assert!(baggage.as_bytes().len() <= Baggage::MAX_LEN);
        prop_assert!(baggage.iter().count() <= Baggage::MAX_MEMBERS);
        prop_assert_eq!(&again(&baggage), &baggage, "what is sent is read the same");
    }

    #[test]
    fn what_is_not_touched_stays_byte_for_byte(
        members in prop::collection::vec("[a-z]{1,8}[ \t]?=[ \t]?[!-~&&[^,;\"\\\\]]{0,12}(;[a-z]{1,4}(=[a-z0-9]{1,4})?)?", 1..20),
    ) {
        let line = members.join(" ,\t");
        let baggage = read(&[line.clone().into_bytes()]).unwrap();
        prop_assert_eq!(baggage.as_bytes(), line.as_bytes());
    }
}
