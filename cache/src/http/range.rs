//! Parts of a stored response (RFC 9110, section 14).

use std::ops::Range;

use buttress_wire::lex::elements;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::conditional::if_range_holds;

/// What says something of the bytes of one message, and nothing of those of another (RFC 9530, 2; RFC 2616, 14.15).
pub(super) const DIGESTS: [HeaderName; 2] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// What is to be sent of a whole that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// None of the parts that are asked for is in it: 416.
    Nothing,
    /// Some: 206.
    Parts(Vec<Range<u64>>),
    /// All of it. A `Range` that is broken, of another unit, or for too many parts is as if it were not there (14.2).
    Whole,
}

/// How many parts one response has at most. Each costs more than its bytes.
const MAX_PARTS: usize = 16;
/// How many are read of a field, before parts that meet are put together.
const MAX_ASKED: usize = 256;
/// Parts that are no farther apart than what stands between them in a multipart body are sent as one (14.2).
const MEETING: u64 = 80;

/// What `request` wants of a stored response with these fields and so many bytes.
pub(super) fn wanted(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Wanted {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(field), None) = (lines.next(), lines.next()) else {
        return Wanted::Whole;
    };
    if !if_range_holds(request, stored) {
        return Wanted::Whole;
    }
    let Some(asked) = parse(field.as_bytes(), length) else {
        return Wanted::Whole;
    };
    // It can be satisfied, and there is no way to say what part of nothing it is.
    if length == 0 && asked.contains(&Some(0..0)) {
        return Wanted::Whole;
    }
    let parts = meet(asked.into_iter().flatten().collect());
    match parts.len() {
        0 => Wanted::Nothing,
        n if n > MAX_PARTS => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// The ranges of a field; an inner `None` is one that is not within `length`. The outer one is a field that is not for us.
fn parse(field: &[u8], length: u64) -> Option<Vec<Option<Range<u64>>>> {
    let equals = field.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = field.split_at(equals);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let ranges = elements(&set[1..])
        .take(MAX_ASKED + 1)
        .map(|range| one(range, length));
    let ranges: Vec<_> = ranges.collect::<Option<_>>()?;
    (!ranges.is_empty() && ranges.len() <= MAX_ASKED).then_some(ranges)
}

/// `first-last`, `first-` or `-suffix` (14.1.2).
fn one(range: &[u8], length: u64) -> Option<Option<Range<u64>>> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    let range = match (first, last) {
        (b"", suffix) => {
            let suffix = number(suffix)?;
            // Of an empty representation, a suffix is all of it.
            if length == 0 && suffix > 0 {
                return Some(Some(0..0));
            }
            length.saturating_sub(suffix)..length
        }
        (first, b"") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some((range.start < range.end).then_some(range))
}

/// One too large for us is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(digits.iter().fold(0, add))
}

/// Puts together what overlaps or almost meets. What is left stays in the order of the request (RFC 9110, 15.3.7.2).
fn meet(asked: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = asked.into_iter().enumerate().collect();
    sorted.sort_unstable_by_key(|(_, range)| range.start);
    let mut met: Vec<(usize, Range<u64>)> = Vec::with_capacity(sorted.len());
    for (place, range) in sorted {
        match met.last_mut() {
            Some((first, last)) if range.start <= last.end.saturating_add(MEETING) => {
                *first = place.min(*first);
                last.end = last.end.max(range.end);
            }
            _ => met.push((place, range)),
        }
    }
    met.sort_unstable_by_key(|(place, _)| *place);
    met.into_iter().map(|(_, range)| range).collect()
}

/// The head and the body of a 206: `headers` become those of the parts. `None` where `slice` does not have them all; then they are as they were.
pub(super) fn cut(
    headers: &mut HeaderMap,
    total: u64,
    parts: &[Range<u64>],
    slice: impl Fn(&Range<u64>) -> Option<Bytes>,
) -> Option<Vec<Bytes>> {
    let slices: Option<Vec<_>> = parts.iter().map(slice).collect();
    let slices = slices?;
    let chunks = match parts {
        [part] => {
            headers.insert(header::CONTENT_RANGE, content_range(part, total));
            slices
        }
        parts => multipart(headers, total, parts, slices),
    };
    for name in DIGESTS {
        headers.remove(name);
    }
    let length: usize = chunks.iter().map(Bytes::len).sum();
    headers.insert(header::CONTENT_LENGTH, length.into());
    Some(chunks)
}

/// `multipart/byteranges` (14.6).
fn multipart(
    headers: &mut HeaderMap,
    total: u64,
    parts: &[Range<u64>],
    slices: Vec<Bytes>,
) -> Vec<Bytes> {
    // Nobody who wrote the body could know it.
    let boundary = format!("{:032x}", fastrand::u128(..));
    let own_type = headers.get(header::CONTENT_TYPE).cloned();
    let mut chunks = Vec::with_capacity(2 * parts.len() + 1);
    for (part, slice) in parts.iter().zip(slices) {
        let mut between = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(own_type) = &own_type {
            between.extend_from_slice(b"content-type: ");
            between.extend_from_slice(own_type.as_bytes());
            between.extend_from_slice(b"\r\n");
        }
        between.extend_from_slice(b"content-range: ");
        between.extend_from_slice(content_range(part, total).as_bytes());
        between.extend_from_slice(b"\r\n\r\n");
        chunks.push(between.into());
        chunks.push(slice);
    }
    chunks.push(format!("\r\n--{boundary}--\r\n").into());
    let kind = format!("multipart/byteranges; boundary={boundary}");
    if let Ok(kind) = HeaderValue::try_from(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    chunks
}

/// A part of a body that is there.
pub(super) fn slice(body: &Bytes, part: &Range<u64>) -> Option<Bytes> {
    let part = usize::try_from(part.start).ok()?..usize::try_from(part.end).ok()?;
    (part.end <= body.len()).then(|| body.slice(part))
}

fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// `Content-Range` of a 416 (14.4).
pub(super) fn unsatisfied(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}"))
        .unwrap_or(HeaderValue::from_static("bytes */*"))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(field: &'static str, length: u64) -> Wanted {
        let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(field))]);
        wanted(&request, &HeaderMap::new(), length)
    }

    #[track_caller]
    fn check(field: &'static str, expected: &[Range<u64>]) {
        assert_eq!(of(field, 1000), Wanted::Parts(expected.to_vec()), "{field}");
    }

    /// RFC 9110, 14.1.2.
    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        check("bytes=0-0", &[0..1]);
        check("bytes=0-499", &[0..500]);
        check("bytes=500-", &[500..1000]);
        check("bytes=-500", &[500..1000]);
        check("bytes=-5000", &[0..1000]);
        check("bytes=900-99999999999999999999999", &[900..1000]);
        check("Bytes=0-1", &[0..2]);
        check("bytes=0-1, 500-501 ,, 900-", &[0..2, 500..502, 900..1000]);
        check("bytes=2000-, 0-1", &[0..2]);
    }

    #[test]
    fn what_is_not_within_is_not_there_and_what_is_broken_is_not_asked() {
        for none in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(none, 1000), Wanted::Nothing, "{none}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Nothing);
        for broken in [
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1",
            "bytes 0-1",
            "bytes=0-1;2-3",
            "lines=0-1",
            "bytes=0 - 1",
            "bytes=+1-2",
            "bytes=0-1,x",
        ] {
            assert_eq!(of(broken, 1000), Wanted::Whole, "{broken}");
        }
        let line = || (header::RANGE, HeaderValue::from_static("bytes=0-1"));
        let twice = HeaderMap::from_iter([line(), line()]);
        assert_eq!(wanted(&twice, &HeaderMap::new(), 1000), Wanted::Whole);
    }

    /// RFC 9110, 14.2 and 17.15.
    #[test]
    fn parts_that_meet_are_one_and_too_many_are_none() {
        check("bytes=0-99,100-199", &[0..200]);
        check("bytes=500-599,0-99,50-150", &[500..600, 0..151]);
        check("bytes=50-150,500-599,0-99", &[0..151, 500..600]);
        check("bytes=0-9,500-599,20-29", &[0..30, 500..600]);
        check("bytes=0-9,90-99", &[0..100]);
        check("bytes=500-509,0-9", &[500..510, 0..10]);
        let many = |count: u64, step: u64| {
            let ranges: Vec<_> = (0..count)
                .map(|n| format!("{}-{}", n * step, n * step))
                .collect();
            let field = HeaderValue::try_from(format!("bytes={}", ranges.join(","))).unwrap();
            let request = HeaderMap::from_iter([(header::RANGE, field)]);
            wanted(&request, &HeaderMap::new(), 1_000_000)
        };
        assert!(matches!(many(16, 1000), Wanted::Parts(parts) if parts.len() == 16));
        assert_eq!(many(17, 1000), Wanted::Whole);
        assert!(matches!(many(256, 1), Wanted::Parts(parts) if parts == [0..256]));
        assert_eq!(many(257, 1), Wanted::Whole);
    }

    #[test]
    fn several_parts_are_a_multipart_body() {
        let body = Bytes::from_static(b"0123456789");
        let mut headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("a/b"))]);
        let chunks = cut(&mut headers, 10, &[0..2, 8..10], |part| slice(&body, part)).unwrap();
        let kind = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\ncontent-type: a/b\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\ncontent-type: a/b\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(chunks.concat(), expected.as_bytes());
        assert_eq!(headers[header::CONTENT_LENGTH], expected.len().to_string());
        assert!(!headers.contains_key(header::CONTENT_RANGE));
    }

    #[test]
    fn one_part_is_sent_as_it_is() {
        let body = Bytes::from_static(b"0123456789");
        let mut headers = HeaderMap::new();
        let part = [3..5];
        let cut = cut(&mut headers, 10, &part, |part| slice(&body, part));
        assert_eq!(cut.unwrap(), ["34"]);
        assert_eq!(headers[header::CONTENT_RANGE], "bytes 3-4/10");
        assert_eq!(headers[header::CONTENT_LENGTH], "2");
    }

    proptest! {
        /// Whatever is asked for, what is given is within the whole, and bounded.
        #[test]
        fn parts_are_within_the_whole(field in "bytes=[0-9,\\- ]{0,60}", length in 0_u64..2000) {
            let value = HeaderValue::try_from(field).unwrap();
            let request = HeaderMap::from_iter([(header::RANGE, value)]);
            if let Wanted::Parts(parts) = wanted(&request, &HeaderMap::new(), length) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
                prop_assert!(total <= length, "nothing is sent twice");
            }
        }
    }
}
