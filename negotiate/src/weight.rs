//! Weights (RFC 9110, section 12.4.2).

use std::fmt;

/// How much something is wanted, in thousandths: 0 is "not acceptable", 1000 is the most.
///
/// ```
/// use buttress_negotiate::QValue;
///
/// assert_eq!(QValue::from_thousandths(800).unwrap().to_string(), "0.8");
/// assert_eq!(QValue::from_thousandths(1001), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QValue(u16);

impl QValue {
    /// Not acceptable.
    pub const ZERO: Self = Self(0);
    /// What is meant where no weight is stated.
    pub const ONE: Self = Self(1000);

    /// A weight of so many thousandths; `None` above 1000.
    #[must_use]
    pub const fn from_thousandths(thousandths: u16) -> Option<Self> {
        if thousandths <= 1000 {
            Some(Self(thousandths))
        } else {
            None
        }
    }

    /// So many tenths, at most ten.
    pub(crate) const fn tenths(tenths: u8) -> Self {
        debug_assert!(tenths <= 10);
        Self(tenths as u16 * 100)
    }

    /// The weight in thousandths.
    #[must_use]
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// Reads `0[.digits]` or `1[.zeros]`.
    ///
    /// Two spellings outside the grammar are meant well and read as such: a missing leading zero (`.2`), and more than three
    /// digits, of which the rest is cut off. Everything else is no weight.
    pub(crate) fn parse(mut text: impl Iterator<Item = u8>) -> Option<Self> {
        let (whole, point) = match text.next()? {
            b'0' => (0, false),
            b'1' => (1000, false),
            b'.' => (0, true),
            _ => return None,
        };
        if !point {
            match text.next() {
                None => return Some(Self(whole)),
                Some(b'.') => {}
                Some(_) => return None,
            }
        }
        let (mut fraction, mut place, mut digits, mut zero) = (0, 100, !point, true);
        for byte in text {
            let digit = u16::from(byte.wrapping_sub(b'0'));
            if digit > 9 {
                return None;
            }
            fraction += digit * place;
            place /= 10;
            digits = true;
            zero &= digit == 0;
        }
        (digits && (whole == 0 || zero)).then_some(Self(whole + fraction))
    }
}

/// As it would be written in a field: `1`, `0.8`, `0.001`.
impl fmt::Display for QValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(thousandths) = *self;
        if thousandths.is_multiple_of(1000) {
            return write!(f, "{}", thousandths / 1000);
        }
        let digits = format!("{thousandths:03}");
        write!(f, "0.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.000", Some(0)),
            ("1", Some(1000)),
            ("1.", Some(1000)),
            ("1.0000", Some(1000)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.005", Some(5)),
            ("0.701", Some(701)),
            (".2", Some(200)),
            ("0.12345", Some(123)),
            ("", None),
            (".", None),
            ("1.001", None),
            ("1.0001", None),
            ("2", None),
            ("00.5", None),
            ("-0.5", None),
            ("+0.5", None),
            ("0,5", None),
            ("0.5 ", None),
            ("1e-1", None),
            ("NaN", None),
        ] {
            let found = QValue::parse(text.bytes()).map(QValue::thousandths);
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn every_weight_reads_back_as_it_is_written() {
        for weight in (0..=1000).map(QValue) {
            assert_eq!(QValue::parse(weight.to_string().bytes()), Some(weight));
        }
    }
}
