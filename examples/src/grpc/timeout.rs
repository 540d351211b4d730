//! `grpc-timeout`: how long a caller waits, on the wire.

use std::time::Duration;

use http::HeaderValue;

/// gRPC over HTTP/2, "Timeout": up to eight digits and a unit.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (number, unit) = value.as_bytes().split_last().map(|(unit, n)| (n, unit))?;
    if !(1..=8).contains(&number.len()) || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// As exact as eight digits allow, and never more than is left.
pub(crate) fn write(left: Duration) -> HeaderValue {
    let (micros, millis) = (left.as_micros(), left.as_millis());
    let text = if micros < 100_000_000 {
        format!("{micros}u")
    } else {
        format!("{}m", millis.min(99_999_999))
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("1s", None),
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(parse(&value), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_never_more() {
        for left in [
            Duration::ZERO,
            Duration::from_nanos(1500),
            Duration::from_millis(99_999),
            Duration::from_secs(100),
            Duration::from_secs(1 << 40),
        ] {
            let read = parse(&write(left)).unwrap();
            assert!(read <= left, "{left:?} {read:?}");
        }
        assert_eq!(write(Duration::from_millis(250)), "250000u");
    }
}
