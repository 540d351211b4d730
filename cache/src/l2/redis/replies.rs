//! What comes back from Redis, read with suspicion.

use super::script::{HEADER, MAGIC};
use crate::clock::Depth;
use crate::l2::{Head, L2Error, Moved, News};

pub(super) const OTHER_CLOCK: &str = "a clock with another number of slots, or none of ours";

/// The head of a clock; `None` if there is none.
pub(super) fn head(clock: &[u8], kind: &[u8; 4]) -> Result<Option<Head>, L2Error> {
    if clock.is_empty() {
        return Ok(None);
    }
    let header = clock
        .get(..HEADER)
        .filter(|header| header.starts_with(kind));
    let head = header.and_then(|header| three(&header[MAGIC.len() + 1..]));
    head.map(Some).ok_or(L2Error::Corrupt(OTHER_CLOCK))
}

/// The other way round.
pub(super) fn header(head: &Head, kind: &[u8; 4]) -> Vec<u8> {
    let numbers = [head.epoch, head.seq, head.tip].map(u64::to_be_bytes);
    [&kind[..], numbers.as_flattened()].concat()
}

pub(super) fn moved(head: &[u8], previous: &[u8], depth: Depth, slots: Vec<u32>) -> Option<Moved> {
    Some(Moved {
        head: three(head)?,
        previous: number(previous)?,
        slots,
        depth,
    })
}

/// A message on the channel. What is not ours to understand may be of a version to come: then a look at the head tells.
pub(super) fn news(message: &[u8]) -> News {
    step(message).map_or(News::Unclear, News::Moved)
}

/// `'m' head previous plane slots`.
fn step(message: &[u8]) -> Option<Moved> {
    let message = message.strip_prefix(b"m")?;
    let (head, message) = message.split_at_checked(24)?;
    let (previous, message) = message.split_at_checked(8)?;
    let (plane, slots) = message.split_first()?;
    let depth = match plane {
        b'0' => Depth::Expire,
        b'1' => Depth::Remove,
        _ => return None,
    };
    let (slots, []) = slots.as_chunks::<4>() else {
        return None;
    };
    let slots = slots.iter().map(|slot| u32::from_be_bytes(*slot)).collect();
    moved(head, previous, depth, slots)
}

fn three(bytes: &[u8]) -> Option<Head> {
    let (numbers, []) = bytes.as_chunks::<8>() else {
        return None;
    };
    let [epoch, seq, tip] = *numbers else {
        return None;
    };
    let [epoch, seq, tip] = [epoch, seq, tip].map(u64::from_be_bytes);
    // A slot holds six bytes of it. Nobody gets there by counting.
    (seq < 1 << 48).then_some(Head { epoch, seq, tip })
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: [u8; 4] = *b"bcc\x14";
    const HEAD: Head = Head {
        epoch: 1,
        seq: 2,
        tip: 3,
    };

    #[test]
    fn a_head_is_read_as_it_was_written_and_nothing_else_is() {
        let written = header(&HEAD, &KIND);
        assert_eq!(written.len(), HEADER);
        assert_eq!(head(&written, &KIND).unwrap(), Some(HEAD));
        assert_eq!(head(b"", &KIND).unwrap(), None);
        let endless = Head {
            seq: 1 << 48,
            ..HEAD
        };
        assert!(head(&header(&endless, &KIND), &KIND).is_err());
        head(&written, b"bcc\x15").unwrap_err();
        head(&written[..HEADER - 1], &KIND).unwrap_err();
    }

    #[test]
    fn a_step_is_read_and_everything_else_is_unclear() {
        let mut message = b"m".to_vec();
        message.extend(&header(&HEAD, &KIND)[4..]);
        message.extend(9_u64.to_be_bytes());
        message.push(b'1');
        message.extend([0, 0, 0, 7, 0, 0, 1, 0]);
        let expected = Moved {
            head: HEAD,
            previous: 9,
            slots: vec![7, 256],
            depth: Depth::Remove,
        };
        assert_eq!(news(&message), News::Moved(expected));
        for broken in [
            &b""[..],
            b"b",
            b"x",
            &message[..message.len() - 1],
            &message[..30],
        ] {
            assert_eq!(news(broken), News::Unclear);
        }
    }
}
