//! A response of which only parts are known (RFC 9111, sections 3.3 and 3.4; RFC 9110, section 15.3.7.3).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use http::response;

use super::range::DIGESTS;

/// Parts of a representation of `total` bytes: in order, and none touches another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pieces {
    pub(super) total: u64,
    held: Vec<(u64, Bytes)>,
}

/// How many parts of one response are kept.
const MAX_PIECES: usize = 64;

impl Pieces {
    pub(super) fn new(total: u64, start: u64, bytes: Bytes) -> Self {
        Self {
            total,
            held: vec![(start, bytes)],
        }
    }

    /// What is kept, if it is all there. A part of a part is not given: it may be that nobody has the rest.
    pub(super) fn slice(&self, part: &Range<u64>) -> Option<Bytes> {
        self.held.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(part.start.checked_sub(*start)?).ok()?;
            let to = usize::try_from(part.end - start).ok()?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        })
    }

    /// All of it, if it is there.
    pub(super) fn whole(&self) -> Option<Bytes> {
        self.slice(&(0..self.total))
    }

    pub(super) fn len(&self) -> usize {
        self.held.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// With those of an earlier response with the same strong validator. Where both have a byte it is the same. What would be more
    /// than `limit` bytes, or too many parts, is the newer one alone.
    pub(super) fn with(self, earlier: &Self, limit: usize) -> Self {
        if earlier.total != self.total || self.len() + earlier.len() > limit {
            return self;
        }
        let mut all: Vec<_> = self.held.iter().chain(&earlier.held).cloned().collect();
        all.sort_by_key(|(start, _)| *start);
        let mut held: Vec<(u64, Bytes)> = Vec::with_capacity(all.len());
        for (start, bytes) in all {
            match held.last_mut() {
                Some((first, known)) if start <= *first + known.len() as u64 => {
                    let overlap = (*first + known.len() as u64 - start) as usize;
                    if overlap < bytes.len() {
                        let mut joined = BytesMut::with_capacity(known.len() + bytes.len());
                        joined.extend_from_slice(known);
                        joined.extend_from_slice(&bytes[overlap..]);
                        *known = joined.freeze();
                    }
                }
                _ => held.push((start, bytes)),
            }
        }
        if held.len() > MAX_PIECES {
            return self;
        }
        Self { held, ..self }
    }
}

/// Which part a 206 has, and of how many bytes. `None` for what cannot be put together with others: without a strong entity tag, of several
/// parts, or of unknown length.
pub(super) fn part_of(head: &response::Parts) -> Option<(Range<u64>, u64)> {
    if head.status != StatusCode::PARTIAL_CONTENT || !has_strong_tag(&head.headers) {
        return None;
    }
    let mut lines = head.headers.get_all(header::CONTENT_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let (range, total) = line
        .to_str()
        .ok()?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first..last + 1, total))
}

fn has_strong_tag(headers: &HeaderMap) -> bool {
    let tag = headers.get(header::ETAG).map(HeaderValue::as_bytes);
    tag.is_some_and(|tag| tag.starts_with(b"\""))
}

/// The head that the whole would have had.
pub(super) fn whole_head(head: &response::Parts, total: u64) -> response::Parts {
    let mut whole = http::Response::new(()).into_parts().0;
    whole.headers = head.headers.clone();
    whole.extensions = head.extensions.clone();
    whole.headers.remove(header::CONTENT_RANGE);
    // Of the part's bytes.
    for name in DIGESTS {
        whole.headers.remove(name);
    }
    whole.headers.insert(header::CONTENT_LENGTH, total.into());
    whole
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn piece(start: u64, text: &'static str) -> Pieces {
        Pieces::new(10, start, Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn parts_that_meet_or_overlap_become_one() {
        let two = piece(0, "012").with(&piece(5, "567"), 100);
        assert_eq!(two.slice(&(0..3)).unwrap(), "012");
        assert_eq!(two.slice(&(6..8)).unwrap(), "67");
        assert_eq!(two.slice(&(2..6)), None);
        assert_eq!(two.slice(&(4..6)), None);
        assert_eq!(two.whole(), None);
        let three = piece(2, "2345").with(&two, 100);
        assert_eq!(three.slice(&(0..8)).unwrap(), "01234567");
        assert_eq!(three.len(), 8);
        let all = piece(7, "789").with(&three, 100);
        assert_eq!(all.whole().unwrap(), "0123456789");
        let inside = piece(3, "34").with(&all, 100);
        assert_eq!(inside, all);
    }

    #[test]
    fn what_does_not_fit_is_the_newer_one_alone() {
        assert_eq!(piece(0, "01").with(&piece(5, "56"), 3), piece(0, "01"));
        let other = Pieces::new(11, 5, Bytes::from_static(b"56"));
        assert_eq!(piece(0, "01").with(&other, 100), piece(0, "01"));
        let mut many = Pieces::new(1000, 0, Bytes::from_static(b"x"));
        for n in 1..MAX_PIECES as u64 {
            many = Pieces::new(1000, n * 2, Bytes::from_static(b"x")).with(&many, 1000);
        }
        assert_eq!(many.len(), MAX_PIECES);
        let one = Pieces::new(1000, 999, Bytes::from_static(b"x"));
        assert_eq!(one.clone().with(&many, 1000), one);
    }

    #[track_caller]
    fn check(range: &str, tag: &str, expected: Option<(Range<u64>, u64)>) {
        let head = Response::builder().status(206).header("etag", tag);
        let head = head.header("content-range", range).body(()).unwrap();
        assert_eq!(part_of(&head.into_parts().0), expected, "{range} {tag}");
    }

    /// RFC 9110, 14.4.
    #[test]
    fn only_what_can_be_put_together_is_a_part() {
        check("bytes 0-4/10", "\"1\"", Some((0..5, 10)));
        check("bytes 9-9/10", "\"1\"", Some((9..10, 10)));
        check("bytes 0-4/10", "W/\"1\"", None);
        for broken in [
            "bytes 0-4/*",
            "bytes */10",
            "bytes 4-0/10",
            "bytes 0-10/10",
            "lines 0-4/10",
            "bytes=0-4/10",
            "bytes +0-4/10",
            "bytes 0-4/",
            "",
        ] {
            check(broken, "\"1\"", None);
        }
    }
}
