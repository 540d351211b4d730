//! `traceparent`, to the letter of W3C Trace Context level 2.

use std::error::Error;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderValue;

use crate::{SpanId, TraceId, ascii, hex};

/// The `trace-flags` we know: sampled and random. Bits reserved by the specification are never stored and never sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// The caller may have recorded this trace (3.2.2.5.1).
    pub const SAMPLED: Self = Self(0b01);
    /// The low seven bytes of the trace id were drawn at random (3.2.2.5.2).
    pub const RANDOM: Self = Self(0b10);
    const KNOWN: u8 = Self::SAMPLED.0 | Self::RANDOM.0;

    /// The known flags among these bits; the others are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::KNOWN)
    }

    /// The bits as sent.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// These flags and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether [`SAMPLED`](Self::SAMPLED) is set.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// Whether [`RANDOM`](Self::RANDOM) is set.
    #[must_use]
    pub const fn is_random(self) -> bool {
        self.0 & Self::RANDOM.0 != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:02x})", self.0)
    }
}

/// A `traceparent` field value ([W3C Trace Context level 2], 3.2).
///
/// ```text
/// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
/// version  trace id                    parent span id  flags
/// ```
///
/// Reading and writing allocate nothing, and no input panics. A higher version is read by the rules for
/// unknown versions (4.3.1) and is written as version `00`, the one we speak.
///
/// [W3C Trace Context level 2]: https://www.w3.org/TR/trace-context-2/
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span of the sender: the parent of whatever the receiver starts.
    pub span_id: SpanId,
    /// Sampled, random.
    pub flags: Flags,
}

/// Why a `traceparent` was refused. Whoever meets one starts a new trace (3.2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceParentError {
    /// Not `version-traceid-parentid-flags` in lower-case hex of the right lengths.
    Malformed,
    /// Version `ff`, which the specification forbids.
    Version,
    /// A trace id or a span id of zeros.
    ZeroId,
    /// The field stands in the request more than once.
    Repeated,
}

impl TraceParent {
    /// The length of what [`to_bytes`](Self::to_bytes) writes.
    pub const LEN: usize = 55;
    const TEMPLATE: &[u8; Self::LEN] = b"00-................................-................-00";

    /// Reads a field value.
    ///
    /// # Errors
    ///
    /// When the value is not exactly what section 3.2.2 allows. Nothing is trimmed: an HTTP parser has removed
    /// the white space that may surround a field value.
    pub fn parse(value: &[u8]) -> Result<Self, TraceParentError> {
        let (known, suffix) = value
            .split_first_chunk()
            .ok_or(TraceParentError::Malformed)?;
        let fields = Fields::read(known).ok_or(TraceParentError::Malformed)?;
        match (fields.version, suffix.first()) {
            (0xff, _) => Err(TraceParentError::Version),
            (_, None) | (0x01..=0xfe, Some(b'-')) => fields.check(),
            _ => Err(TraceParentError::Malformed),
        }
    }

    /// The field value, as version `00`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut value = *Self::TEMPLATE;
        self.write(&mut value);
        value
    }

    /// Into the dots of a template, and into its last digit.
    #[inline]
    fn write(self, value: &mut [u8; Self::LEN]) {
        // Each word goes where it belongs: copying whole ids would wait for the stores of their words.
        hex::write(self.trace_id.to_bytes(), &mut value[3..35]);
        hex::write(self.span_id.to_bytes(), &mut value[36..52]);
        value[54] |= self.flags.bits();
    }

    /// The field value, in the one allocation a `HeaderValue` needs.
    #[must_use]
    pub fn to_header_value(self) -> HeaderValue {
        // Written where it stays: a copy would wait for the stores of its words.
        let mut value = Self::TEMPLATE.to_vec();
        if let Ok(value) = (&mut *value).try_into() {
            self.write(value);
        }
        HeaderValue::try_from(value).expect("visible ASCII by construction")
    }
}

/// The four fields of the right lengths in lower-case hex, and nothing known of their values yet.
struct Fields {
    version: u8,
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl Fields {
    /// Reads all digits in one go, each field moved to where its words are aligned: a load across two vector
    /// stores would wait for both.
    fn read(value: &[u8; TraceParent::LEN]) -> Option<Self> {
        if [value[2], value[35], value[52]] != *b"---" {
            return None;
        }
        let mut digits = [b'0'; 64];
        digits[..32].copy_from_slice(&value[3..35]);
        digits[32..48].copy_from_slice(&value[36..52]);
        digits[48..50].copy_from_slice(&value[..2]);
        digits[50..52].copy_from_slice(&value[53..]);
        let nibbles = hex::nibbles(&digits)?;
        let (words, _) = nibbles.as_chunks::<8>();
        let long = |at: usize| {
            (u64::from(hex::pack(words[at])) << 32) | u64::from(hex::pack(words[at + 1]))
        };
        Some(Self {
            trace_id: (u128::from(long(0)) << 64) | u128::from(long(2)),
            span_id: long(4),
            version: (nibbles[48] << 4) | nibbles[49],
            flags: (nibbles[50] << 4) | nibbles[51],
        })
    }

    fn check(self) -> Result<TraceParent, TraceParentError> {
        let trace_id = NonZeroU128::new(self.trace_id).ok_or(TraceParentError::ZeroId)?;
        let span_id = NonZeroU64::new(self.span_id).ok_or(TraceParentError::ZeroId)?;
        let flags = Flags::from_bits(self.flags);
        Ok(TraceParent {
            trace_id: trace_id.into(),
            span_id: span_id.into(),
            flags,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.to_bytes()))
    }
}

impl fmt::Display for TraceParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "traceparent is not version-traceid-parentid-flags in lower-case hex"
            }
            Self::Version => "traceparent has the forbidden version ff",
            Self::ZeroId => "traceparent has an id of zeros",
            Self::Repeated => "traceparent stands in the request more than once",
        })
    }
}

impl Error for TraceParentError {}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const S: &str = "00f067aa0ba902b7";

    fn flags(value: &str) -> Result<u8, TraceParentError> {
        TraceParent::parse(value.as_bytes()).map(|parent| {
            assert_eq!(parent.trace_id.to_string(), T);
            assert_eq!(parent.span_id.to_string(), S);
            parent.flags.bits()
        })
    }

    #[test]
    fn what_the_specification_accepts() {
        for (value, bits) in [
            (format!("00-{T}-{S}-00"), 0),
            (format!("00-{T}-{S}-01"), 1),
            (format!("00-{T}-{S}-02"), 2),
            (format!("00-{T}-{S}-03"), 3),
            // Reserved bits are dropped.
            (format!("00-{T}-{S}-ff"), 3),
            (format!("00-{T}-{S}-fc"), 0),
            // Higher versions: what is known is read, what follows a dash is not looked at.
            (format!("01-{T}-{S}-01"), 1),
            (format!("cc-{T}-{S}-01"), 1),
            (format!("cc-{T}-{S}-01-"), 1),
            (format!("fe-{T}-{S}-01-what-the-future-will-be-like"), 1),
            (format!("cc-{T}-{S}-01-\u{e9}"), 1),
        ] {
            assert_eq!(flags(&value), Ok(bits), "{value}");
        }
    }

    #[test]
    fn what_the_specification_refuses() {
        use TraceParentError::{Malformed, Version, ZeroId};
        let z32 = "0".repeat(32);
        let z16 = "0".repeat(16);
        for (value, error) in [
            (String::new(), Malformed),
            ("00".into(), Malformed),
            // Length of every field.
            (format!("0-{T}-{S}-01"), Malformed),
            (format!("000-{T}-{S}-01"), Malformed),
            (format!("00-{}-{S}-01", &T[1..]), Malformed),
            (format!("00-{T}0-{S}-01"), Malformed),
            (format!("00-{T}-{}-01", &S[1..]), Malformed),
            (format!("00-{T}-{S}0-01"), Malformed),
            (format!("00-{T}-{S}-1"), Malformed),
            (format!("00-{T}-{S}-"), Malformed),
            (format!("00-{T}-{S}-001"), Malformed),
            (format!("00-{T}-{S}"), Malformed),
            // A short field beside a long one keeps the total length.
            (format!("00-{}-{S}0-01", &T[1..]), Malformed),
            (format!("00-{T}0-{}-01", &S[1..]), Malformed),
            // Case and character set of every field.
            (format!("0A-{T}-{S}-01"), Malformed),
            (format!("0x-{T}-{S}-01"), Malformed),
            (format!("+0-{T}-{S}-01"), Malformed),
            (format!("00-{}-{S}-01", T.to_uppercase()), Malformed),
            (format!("00-+{}-{S}-01", &T[1..]), Malformed),
            (format!("00-{}.-{S}-01", &T[1..]), Malformed),
            (format!("00-{T}-{}-01", S.to_uppercase()), Malformed),
            (format!("00-{T}-+{}-01", &S[1..]), Malformed),
            (format!("00-{T}-{S}-+1"), Malformed),
            (format!("00-{T}-{S}-  "), Malformed),
            (format!("00-{T}-{S}-0A"), Malformed),
            // Separators.
            (format!("00_{T}-{S}-01"), Malformed),
            (format!("00-{T}_{S}-01"), Malformed),
            (format!("00-{T}-{S}_01"), Malformed),
            (format!(" 00-{T}-{S}-01"), Malformed),
            (format!("00-{T}-{S}-01 "), Malformed),
            // Version 00 ends at 55 characters.
            (format!("00-{T}-{S}-01-"), Malformed),
            (format!("00-{T}-{S}-01-extra"), Malformed),
            (format!("00-{T}-{S}-01."), Malformed),
            // A higher version continues with a dash or not at all.
            (format!("cc-{T}-{S}-01.what"), Malformed),
            (format!("cc-{T}-{S}-012"), Malformed),
            (format!("ff-{T}-{S}-01"), Version),
            (format!("ff-{T}-{S}-01-x"), Version),
            (format!("00-{z32}-{S}-01"), ZeroId),
            (format!("00-{T}-{z16}-01"), ZeroId),
            (format!("cc-{z32}-{S}-01"), ZeroId),
        ] {
            assert_eq!(flags(&value), Err(error), "{value:?}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let value = format!("00-{T}-{S}-03");
        let parent = TraceParent::parse(value.as_bytes()).unwrap();
        assert_eq!(parent.to_string(), value);
        assert_eq!(parent.to_header_value(), value);
        let higher = TraceParent::parse(format!("ab-{T}-{S}-ff-x").as_bytes()).unwrap();
        assert_eq!(higher.to_string(), value, "written as the version we speak");
    }
}
