//! Lower-case hex between byte arrays: fixed sizes and no branches, so that the compiler vectorises both loops.

/// Reads `2 * M` lower-case digits. Upper case is refused: the Trace Context grammar has none.
pub(crate) fn decode<const N: usize, const M: usize>(digits: &[u8; N]) -> Option<[u8; M]> {
    const { assert!(N == 2 * M) };
    let mut nibbles = [0u8; N];
    let mut all_valid = true;
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let decimal = digit.wrapping_sub(b'0');
        let letter = digit.wrapping_sub(b'a');
        all_valid &= (decimal < 10) | (letter < 6);
        *nibble = if decimal < 10 {
            decimal
        } else {
            letter.wrapping_add(10)
        };
    }
    let mut bytes = [0u8; M];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (nibbles[2 * i] << 4) | nibbles[2 * i + 1];
    }
    all_valid.then_some(bytes)
}

pub(crate) fn encode<const M: usize, const N: usize>(bytes: [u8; M]) -> [u8; N] {
    const { assert!(N == 2 * M) };
    let mut digits = [0u8; N];
    for (i, byte) in bytes.into_iter().enumerate() {
        digits[2 * i] = digit(byte >> 4);
        digits[2 * i + 1] = digit(byte & 0xf);
    }
    digits
}

fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

/// What [`encode`] wrote is ASCII; there is no unchecked way to say so here, and the check costs next to nothing.
pub(crate) fn as_str(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for byte in 0..=u8::MAX {
            let digits: [u8; 2] = encode([byte]);
            assert_eq!(as_str(&digits), format!("{byte:02x}"));
            assert_eq!(decode(&digits), Some([byte]));
        }
    }

    #[test]
    fn only_lower_case_digits_are_digits() {
        for byte in 0..=u8::MAX {
            let valid = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert_eq!(
                decode::<2, 1>(&[byte, b'0']).is_some(),
                valid,
                "{byte:#x} first"
            );
            assert_eq!(
                decode::<2, 1>(&[b'0', byte]).is_some(),
                valid,
                "{byte:#x} second"
            );
        }
    }
}
