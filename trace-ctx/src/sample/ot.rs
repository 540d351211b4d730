//! The `ot` member of `tracestate`: the threshold a trace was sampled with, and its explicit randomness (OpenTelemetry,
//! "TraceState: Probability Sampling").

use crate::TraceState;

const KEY: &str = "ot";

/// The `rv` of an `ot` member: `th:c;rv:0123456789abcd`, exactly 14 hex digits.
pub(super) fn rv(ot: &str) -> Option<u64> {
    let digits = ot.split(';').find_map(|part| part.strip_prefix("rv:"))?;
    let is_hex = digits
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && digits.len() == 14)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The `th` of an `ot` member: 1 to 14 hex digits, to which zeros are added on the right.
#[cfg(test)]
pub(super) fn th(ot: &str) -> Option<u64> {
    let digits = ot.split(';').find_map(|part| part.strip_prefix("th:"))?;
    u64::from_str_radix(&format!("{digits:0<14}"), 16).ok()
}

/// Writes, or erases, `th`; what else the member says stays. Where there is no room, the member says nothing of a threshold.
pub(crate) fn set_th(state: &mut TraceState, threshold: Option<u64>) {
    let old = state.get(KEY).unwrap_or_default();
    if threshold.is_none() && !old.split(';').any(is_th) {
        return;
    }
    let old = old.to_owned();
    let is_written = [threshold, None].into_iter().any(|threshold| {
        let member = member(&old, threshold);
        !member.is_empty() && state.insert(KEY, &member).is_ok()
    });
    if !is_written {
        state.remove(KEY);
    }
    state.truncate(TraceState::MAX_LEN);
}

/// What the member says with this threshold, or with none. What was inside of a value may now be at its end, where no space may be.
fn member(old: &str, threshold: Option<u64>) -> String {
    let mut member = threshold.map(shown).unwrap_or_default();
    for part in old
        .split(';')
        .filter(|part| !part.is_empty() && !is_th(part))
    {
        if !member.is_empty() {
            member.push(';');
        }
        member.push_str(part);
    }
    member.truncate(member.trim_end_matches(' ').len());
    member
}

fn is_th(part: &str) -> bool {
    part.starts_with("th:")
}

/// Zeros on the right say nothing.
fn shown(threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    match digits.trim_end_matches('0') {
        "" => "th:0".to_owned(),
        digits => format!("th:{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_threshold_is_written_beside_what_else_is_there() {
        for (state, threshold, expected) in [
            ("", Some(0), "ot=th:0"),
            ("", Some(1 << 55), "ot=th:8"),
            ("", Some(0x123), "ot=th:00000000000123"),
            (
                "a=1,ot=rv:00000000000001;th:c",
                Some(1 << 55),
                "ot=th:8;rv:00000000000001,a=1",
            ),
            (
                "a=1,ot=rv:00000000000001;th:c",
                None,
                "ot=rv:00000000000001,a=1",
            ),
            ("a=1,ot=th:c", None, "a=1"),
            ("a=1,ot=x:y", None, "a=1,ot=x:y"),
            ("ot=x:y", Some(1 << 55), "ot=th:8;x:y"),
        ] {
            let mut state = TraceState::parse(HeaderValue::from_static(state)).unwrap();
            set_th(&mut state, threshold);
            assert_eq!(state.as_bytes(), expected.as_bytes());
            if let Some(threshold) = threshold {
                assert_eq!(state.get(KEY).and_then(th), Some(threshold));
            }
        }
    }

    #[test]
    fn a_space_that_comes_to_the_end_is_left_out() {
        for (state, threshold, expected) in [
            ("ot=x ;th:c", None, "ot=x"),
            ("ot=x ;th:c", Some(1 << 55), "ot=th:8;x"),
            ("ot= ;th:c", None, ""),
            ("ot= ;th:c,a=1", None, "a=1"),
            ("ot= ;th:c", Some(1 << 55), "ot=th:8;"),
        ] {
            let mut state = TraceState::parse(HeaderValue::from_static(state)).unwrap();
            set_th(&mut state, threshold);
            assert_eq!(state.as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn a_part_that_only_ends_like_a_threshold_is_none() {
        let mut state = TraceState::parse(HeaderValue::from_static("a=1,ot=xth:1")).unwrap();
        set_th(&mut state, None);
        assert_eq!(state.as_bytes(), b"a=1,ot=xth:1");
    }

    #[test]
    fn a_full_member_loses_its_threshold_and_nothing_else() {
        let long = format!("ot=x:{}", "y".repeat(253));
        let mut state = TraceState::parse(long.parse().unwrap()).unwrap();
        set_th(&mut state, Some(1 << 55));
        assert_eq!(state.as_bytes(), long.as_bytes());
    }
}
