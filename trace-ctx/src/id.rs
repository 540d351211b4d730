//! The ids of traces and spans: never zero, and read from and written as hex.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use crate::{ascii, hex};

/// The id of a whole trace: 16 bytes, never all zero.
///
/// `Display` is the 32 lower-case hex digits of a header or a log line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The id of one span, one hop of a trace: 8 bytes, never all zero.
///
/// `Display` is the 16 lower-case hex digits of a header or a log line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// The id made of these bytes, or `None` if all are zero.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        NonZeroU128::new(u128::from_be_bytes(bytes)).map(Self)
    }

    /// Reads 32 lower-case hex digits; anything else is `None`.
    #[must_use]
    pub fn from_hex(digits: &[u8; 32]) -> Option<Self> {
        Self::from_bytes(hex::decode(digits)?)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// The 32 lower-case hex digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; 32] {
        hex::encode(self.to_bytes())
    }

    /// The 56 low bits: the part that is random when the trace says so (W3C Trace Context level 2, 3.2.2.3).
    #[must_use]
    pub fn randomness(self) -> u64 {
        let low = self.0.get() & ((1 << 56) - 1);
        low as u64
    }
}

impl SpanId {
    /// The id made of these bytes, or `None` if all are zero.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        NonZeroU64::new(u64::from_be_bytes(bytes)).map(Self)
    }

    /// Reads 16 lower-case hex digits; anything else is `None`.
    #[must_use]
    pub fn from_hex(digits: &[u8; 16]) -> Option<Self> {
        Self::from_bytes(hex::decode(digits)?)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// The 16 lower-case hex digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; 16] {
        hex::encode(self.to_bytes())
    }
}

impl From<NonZeroU128> for TraceId {
    fn from(id: NonZeroU128) -> Self {
        Self(id)
    }
}

impl From<NonZeroU64> for SpanId {
    fn from(id: NonZeroU64) -> Self {
        Self(id)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.to_hex()))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.to_hex()))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_id() {
        assert_eq!(TraceId::from_bytes([0; 16]), None);
        assert_eq!(SpanId::from_bytes([0; 8]), None);
        assert_eq!(TraceId::from_hex(&[b'0'; 32]), None);
    }

    #[test]
    fn an_id_shows_as_its_hex() {
        let id = TraceId::from_bytes([0xab; 16]).unwrap();
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(TraceId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(
            format!("{:?}", SpanId::from_bytes(*b"\0\0\0\0\0\0\0\x01").unwrap()),
            "SpanId(0000000000000001)"
        );
    }

    #[test]
    fn randomness_is_the_low_seven_bytes() {
        let id = TraceId::from_bytes(*b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\x01\x02")
            .unwrap();
        assert_eq!(id.randomness(), 0x0102);
    }
}
