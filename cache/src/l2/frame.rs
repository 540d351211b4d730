//! An entry as it is kept in the second level.
//!
//! ```text
//! "bce1" epoch:8 born:8 ttl:8 grace:8 codec:1 kind:1 slots:2 key:4 length:4  slot:4…  key…  payload…
//! ```
//!
//! Numbers have their most significant byte first, times are milliseconds, `length` is that of the payload when it is unpacked. Whatever else is found is a
//! miss: another version, another codec, another key of the same hash, bytes of a stranger.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Written;
use super::compress::{Compression, Packing, unpack};
use crate::clock::Slot;

const MAGIC: &[u8; 4] = b"bce1";
const HEADER: usize = 4 + 8 + 8 + 8 + 8 + 1 + 1 + 2 + 4 + 4;
/// Of a source that said that there is no such value: in `kind`, beside the [`Packing`].
const NOTHING: u8 = 0x80;
/// No payload is longer when it is unpacked.
const MAX_PAYLOAD: usize = 1 << 30;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) written: Written,
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) slots: Vec<Slot>,
    pub(crate) codec: u8,
    /// `None`: the source has no such value.
    pub(crate) payload: Option<Bytes>,
}

impl Frame {
    /// `None` if it has more slots, a longer key or payload than a frame can tell.
    pub(crate) fn encode(&self, key: &[u8], compression: Compression) -> Option<Bytes> {
        let payload = self.payload.clone().unwrap_or_default();
        let length = payload.len();
        if length > MAX_PAYLOAD {
            return None;
        }
        let (packing, packed) = compression.pack(payload);
        let nothing = if self.payload.is_none() { NOTHING } else { 0 };
        let mut frame =
            BytesMut::with_capacity(HEADER + self.slots.len() * 4 + key.len() + packed.len());
        frame.put_slice(MAGIC);
        frame.put_u64(self.written.epoch);
        frame.put_u64(self.written.born);
        frame.put_u64(millis(self.ttl));
        frame.put_u64(millis(self.grace));
        frame.put_u8(self.codec);
        frame.put_u8(packing as u8 | nothing);
        frame.put_u16(self.slots.len().try_into().ok()?);
        frame.put_u32(key.len().try_into().ok()?);
        frame.put_u32(length.try_into().ok()?);
        self.slots.iter().for_each(|slot| frame.put_u32(*slot));
        frame.put_slice(key);
        frame.put_slice(&packed);
        Some(frame.freeze())
    }

    /// The payload shares the frame's memory, unless it was compressed.
    pub(crate) fn decode(mut frame: Bytes, key: &[u8]) -> Option<Self> {
        if frame.len() < HEADER || !frame.starts_with(MAGIC) {
            return None;
        }
        frame.advance(MAGIC.len());
        let written = Written {
            epoch: frame.get_u64(),
            born: frame.get_u64(),
        };
        let ttl = Duration::from_millis(frame.get_u64());
        let grace = Duration::from_millis(frame.get_u64());
        let (codec, kind) = (frame.get_u8(), frame.get_u8());
        let slots = usize::from(frame.get_u16());
        let (key_length, length) = (frame.get_u32() as usize, frame.get_u32() as usize);
        if frame.len() < slots * 4 + key_length || length > MAX_PAYLOAD {
            return None;
        }
        let slots = (0..slots).map(|_| frame.get_u32()).collect();
        if frame.split_to(key_length) != key {
            return None;
        }
        let packing = Packing::from_number(kind & !NOTHING)?;
        let payload = unpack(packing, frame, length)?;
        let nothing = kind & NOTHING != 0;
        if nothing && !payload.is_empty() {
            return None;
        }
        Some(Self {
            written,
            ttl,
            grace,
            slots,
            codec,
            payload: (!nothing).then_some(payload),
        })
    }
}

/// What an entry that is kept in the second level says of itself there.
#[cfg(feature = "redis")]
pub(super) const WRITTEN_AT: usize = MAGIC.len();

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: Option<&'static [u8]>) -> Frame {
        Frame {
            written: Written { epoch: 7, born: 9 },
            ttl: Duration::from_secs(60),
            grace: Duration::from_millis(1500),
            slots: vec![1, 2, 70_000],
            codec: 3,
            payload: payload.map(Bytes::from_static),
        }
    }

    #[test]
    fn what_is_encoded_is_read_again_under_its_key_only() {
        for payload in [None, Some(&b""[..]), Some(b"value")] {
            let frame = frame(payload);
            let encoded = frame.encode(b"key", Compression::Off).unwrap();
            assert_eq!(Frame::decode(encoded.clone(), b"key"), Some(frame));
            assert_eq!(Frame::decode(encoded, b"kex"), None);
        }
    }

    #[test]
    fn a_payload_is_not_copied() {
        let encoded = frame(Some(&[7; 65536])).encode(b"key", Compression::Off);
        let encoded = encoded.unwrap();
        let end = encoded.as_ptr_range().end;
        let payload = Frame::decode(encoded, b"key").unwrap().payload.unwrap();
        assert_eq!(payload.as_ptr_range().end, end);
    }

    #[cfg(feature = "lz4")]
    #[test]
    fn what_gets_smaller_is_compressed_and_what_does_not_is_not() {
        let compression = Compression::Lz4 { over: 100 };
        let zeros = frame(Some(&[0; 4096]));
        let encoded = zeros.encode(b"key", compression).unwrap();
        assert!(encoded.len() < 200, "{}", encoded.len());
        assert_eq!(Frame::decode(encoded, b"key"), Some(zeros));
        let small = frame(Some(&[0; 100]));
        assert!(small.encode(b"key", compression).unwrap().len() > 150);
    }

    #[cfg(feature = "lz4")]
    #[test]
    fn a_length_that_cannot_be_gets_no_memory() {
        let encoded = frame(Some(&[0; 4096])).encode(b"key", Compression::Lz4 { over: 0 });
        let mut encoded = encoded.unwrap().to_vec();
        encoded[HEADER - 4..HEADER].copy_from_slice(&(1_u32 << 30).to_be_bytes());
        assert_eq!(Frame::decode(encoded.into(), b"key"), None);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn what_gets_much_smaller_is_read_again() {
        let compression = Compression::Zstd { over: 0, level: 1 };
        for length in [1, 1 << 10, 1 << 17, (1 << 17) + 1, 1 << 24] {
            let zeros = Frame {
                payload: Some(vec![0; length].into()),
                ..frame(None)
            };
            let encoded = zeros.encode(b"key", compression).unwrap();
            assert!(length < 1 << 10 || encoded.len() < length / 8);
            assert_eq!(Frame::decode(encoded, b"key"), Some(zeros), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_a_miss(bytes: Vec<u8>, magic: bool, key: Vec<u8>) {
            let mut frame = if magic { MAGIC.to_vec() } else { vec![] };
            frame.extend(bytes);
            let _ = Frame::decode(frame.into(), &key);
        }

        #[test]
        fn a_bit_that_flips_never_panics(at in 0_usize..70, bit in 0_u8..8) {
            let mut encoded = frame(Some(b"value")).encode(b"key", Compression::Off).unwrap().to_vec();
            let at = at % encoded.len();
            encoded[at] ^= 1 << bit;
            let _ = Frame::decode(encoded.into(), b"key");
        }
    }
}
