//! The parser against a reference that splits strings.

use std::sync::LazyLock;

use buttress_trace_ctx::TraceParent;
use proptest::prelude::*;
use regex::bytes::Regex;

/// Section 3.2.2 and 4.3.1, word by word: trace id, span id, flags.
fn reference(value: &[u8]) -> Option<(String, String, u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let (known, rest) = match text.char_indices().nth(55) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let fields: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = fields[..] else {
        return None;
    };
    let is_hex = |field: &str, len| {
        field.len() == len && field.chars().all(|c| "0123456789abcdef".contains(c))
    };
    let shape = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    let suffix = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let zero = |field: &str| field.chars().all(|c| c == '0');
    (shape && suffix && version != "ff" && !zero(trace) && !zero(span)).then(|| {
        let flags = u8::from_str_radix(flags, 16).unwrap() & 0b11;
        (trace.to_owned(), span.to_owned(), flags)
    })
}

/// The same grammar once more, as a regular expression over bytes.
fn matches(value: &[u8]) -> bool {
    static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
        let grammar = "(?s-u)^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$";
        Regex::new(grammar).unwrap()
    });
    GRAMMAR.captures(value).is_some_and(|fields| {
        let is_zero = |field: usize| fields[field].iter().all(|byte| *byte == b'0');
        let is_allowed = match &fields[1] {
            b"00" => fields.get(4).is_none(),
            version => version != b"ff",
        };
        is_allowed && !is_zero(2) && !is_zero(3)
    })
}

fn agree(value: &[u8]) -> Result<(), TestCaseError> {
    let ours = TraceParent::parse(value).ok();
    prop_assert_eq!(
        ours.is_some(),
        matches(value),
        "{}",
        String::from_utf8_lossy(value)
    );
    let seen = ours.map(|p| {
        (
            p.trace_id.to_string(),
            p.span_id.to_string(),
            p.flags.bits(),
        )
    });
    // The reference reads text only; what follows the dash of a higher version may be any bytes.
    let text = match std::str::from_utf8(value) {
        Ok(_) => value,
        Err(_) if value.len() > 56 => &value[..56],
        Err(_) => value,
    };
    prop_assert_eq!(seen, reference(text), "{}", String::from_utf8_lossy(value));
    if let Some(parent) = ours {
        let written = parent.to_bytes();
        prop_assert_eq!(&written[..3], b"00-");
        prop_assert_eq!(TraceParent::parse(&written), Ok(parent));
        if value.len() == 55 && value.starts_with(b"00") && value[53..] <= b"03"[..] {
            prop_assert_eq!(&written[..], value, "a round trip changes nothing");
        }
    }
    Ok(())
}

fn valid() -> impl Strategy<Value = String> {
    (
        "(00|01|cc|fe|ff|[0-9a-f]{2})",
        "([0-9a-f]{32}|0{32}|0{31}1)",
        "([0-9a-f]{16}|0{16})",
        "[0-9a-f]{2}",
        "(|-|-[ -~]{0,9}|[ -~]{0,3})",
    )
        .prop_map(|(v, t, s, f, rest)| format!("{v}-{t}-{s}-{f}{rest}"))
}

proptest! {
    #[test]
    fn it_agrees_on_any_bytes(value in prop::collection::vec(any::<u8>(), 0..70)) {
        agree(&value)?;
    }

    #[test]
    fn it_agrees_on_what_is_nearly_valid(value in valid()) {
        agree(value.as_bytes())?;
    }

    #[test]
    fn it_agrees_when_one_byte_is_changed(value in valid(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut value = value.into_bytes();
        let at = at.index(value.len());
        value[at] = byte;
        agree(&value)?;
    }

    #[test]
    fn it_agrees_when_one_byte_is_missing_or_doubled(value in valid(), at in any::<prop::sample::Index>(), twice in any::<bool>()) {
        let mut value = value.into_bytes();
        let at = at.index(value.len());
        if twice { value.insert(at, value[at]); } else { value.remove(at); }
        agree(&value)?;
    }
}
