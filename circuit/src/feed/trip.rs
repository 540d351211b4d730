//! What one process tells the others.

use std::fmt;
use std::time::Duration;

/// A breaker has opened in some process.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Trip {
    /// The process that tells.
    pub instance: Instance,
    /// The name of its breaker.
    pub breaker: String,
    /// How much longer it will be open: a length of time, since clocks of two machines do not agree.
    pub open_for: Duration,
}

/// A process that shares trips: a number drawn at random.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Instance(u128);

impl Instance {
    pub(super) fn random() -> Self {
        Self(fastrand::u128(..))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({:032x})", self.0)
    }
}

/// No message is longer.
const MAX_LENGTH: usize = 1024;

impl Trip {
    /// As text, for feeds that carry bytes: version, instance, milliseconds, name. Of what [`Sharing`](super::Sharing) gives a feed it is a kibibyte at
    /// most, which is what is [read](Self::decode).
    #[must_use]
    pub fn encode(&self) -> String {
        let millis = self.open_for.as_millis();
        format!("1 {:032x} {millis} {}", self.instance.0, self.breaker)
    }

    /// Whether others can read what would be written.
    pub(super) fn can_be_read(&self) -> bool {
        self.encode().len() <= MAX_LENGTH
    }

    /// What [`encode`](Self::encode) wrote, here or by another version that still writes this one. `None` for anything else, and for more than
    /// a kibibyte.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        if message.len() > MAX_LENGTH {
            return None;
        }
        let mut parts = std::str::from_utf8(message).ok()?.splitn(4, ' ');
        let (version, instance) = (parts.next()?, parts.next()?);
        let (millis, breaker) = (digits(parts.next()?)?, parts.next()?);
        let is_hex = instance.len() == 32 && instance.bytes().all(|b| b.is_ascii_hexdigit());
        (version == "1" && is_hex).then_some(())?;
        Some(Self {
            instance: Instance(u128::from_str_radix(instance, 16).ok()?),
            breaker: breaker.to_owned(),
            open_for: Duration::from_millis(millis),
        })
    }
}

fn digits(text: &str) -> Option<u64> {
    let all = text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let zero = "00000000000000000000000000000007";
        let good = format!("1 {zero} 5000 the payments");
        let trip = Trip::decode(good.as_bytes()).unwrap();
        assert_eq!(trip.breaker, "the payments");
        assert_eq!(trip.open_for, Duration::from_secs(5));
        assert_eq!(trip.instance, Instance(7));
        for bad in [
            String::new(),
            format!("2 {zero} 5000 payments"),
            format!("1 {zero} +5 payments"),
            format!("1 {zero} 99999999999999999999999 payments"),
            format!("1 {zero} 5"),
            format!("1 +{} 5 payments", &zero[1..]),
            "1 7 5 payments".to_owned(),
            format!("1 {zero} 5 {}", "x".repeat(1024)),
        ] {
            assert_eq!(Trip::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_can_be_read_is() {
        let mut trip = Trip {
            instance: Instance(7),
            breaker: String::new(),
            open_for: Duration::from_millis(5000),
        };
        let room = MAX_LENGTH - trip.encode().len();
        for (length, can) in [(0, true), (room, true), (room + 1, false)] {
            trip.breaker = "x".repeat(length);
            assert_eq!(trip.can_be_read(), can, "{length}");
            let read = Trip::decode(trip.encode().as_bytes());
            assert_eq!(read.is_some(), can, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_trip_or_none(bytes: Vec<u8>) {
            let _ = Trip::decode(&bytes);
        }

        #[test]
        fn what_is_written_is_read(instance: u128, millis: u64, breaker in ".{0,200}") {
            let trip = Trip { instance: Instance(instance), breaker, open_for: Duration::from_millis(millis) };
            prop_assert_eq!(Trip::decode(trip.encode().as_bytes()), Some(trip));
        }
    }
}
