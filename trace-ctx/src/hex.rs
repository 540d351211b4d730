//! Lower-case hex. No branches: reading is one loop that the compiler vectorises, writing is arithmetic on whole words.

/// Reads two digits for each byte. Upper case is refused: the Trace Context grammar has none.
pub(crate) fn decode<const N: usize, const M: usize>(digits: &[u8; N]) -> Option<[u8; M]> {
    const { assert!(N == 2 * M && N.is_multiple_of(8) && N <= 64) };
    let mut padded = [b'0'; 64];
    padded[..N].copy_from_slice(digits);
    let nibbles = nibbles(&padded)?;
    let mut bytes = [0; M];
    for (four, eight) in bytes.chunks_exact_mut(4).zip(nibbles.as_chunks::<8>().0) {
        four.copy_from_slice(&pack(*eight).to_be_bytes());
    }
    Some(bytes)
}

/// The values of 64 digits. A fixed length that is long enough is what makes the compiler keep it a loop.
pub(crate) fn nibbles(digits: &[u8; 64]) -> Option<[u8; 64]> {
    let mut nibbles = [0u8; 64];
    let mut invalid = 0u8;
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let decimal = digit.wrapping_sub(b'0');
        let letter = digit.wrapping_sub(b'a');
        invalid |= u8::from((decimal > 9) & (letter > 5));
        *nibble = if decimal < 10 {
            decimal
        } else {
            letter.wrapping_add(10)
        };
    }
    (invalid == 0).then_some(nibbles)
}

/// Puts 8 nibbles, most significant first, side by side.
pub(crate) fn pack(nibbles: [u8; 8]) -> u32 {
    let mut word = u64::from_be_bytes(nibbles);
    word = (word | (word >> 4)) & 0x00ff_00ff_00ff_00ff;
    word = (word | (word >> 8)) & 0x0000_ffff_0000_ffff;
    (word | (word >> 16)) as u32
}

/// Two digits for each byte.
pub(crate) fn encode<const M: usize, const N: usize>(bytes: [u8; M]) -> [u8; N] {
    const { assert!(N == 2 * M && M.is_multiple_of(4)) };
    let mut digits = [0u8; N];
    write(bytes, &mut digits);
    digits
}

/// Writes two digits for each byte, as far as there is room.
pub(crate) fn write<const M: usize>(bytes: [u8; M], digits: &mut [u8]) {
    for (eight, four) in digits
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(bytes.as_chunks::<4>().0)
    {
        *eight = spread(u32::from_be_bytes(*four));
    }
}

/// The 8 digits of a word: its nibbles pulled apart, then `0` added to each, and the gap up to `a` where it is above 9.
fn spread(word: u32) -> [u8; 8] {
    let mut nibbles = u64::from(word);
    nibbles = (nibbles | (nibbles << 16)) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | (nibbles << 8)) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | (nibbles << 4)) & (EACH * 0x0f);
    let letters = ((nibbles + EACH * 6) >> 4) & EACH;
    (nibbles + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// Times a byte: that byte in each place.
const EACH: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ascii::as_str;

    #[test]
    fn every_byte_survives_the_round_trip_in_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..4 {
                let mut bytes = [0; 4];
                bytes[place] = byte;
                let digits: [u8; 8] = encode(bytes);
                assert_eq!(
                    as_str(&digits),
                    format!("{:08x}", u32::from_be_bytes(bytes))
                );
                assert_eq!(decode(&digits), Some(bytes));
            }
        }
    }

    #[test]
    fn only_lower_case_digits_are_digits() {
        for byte in 0..=u8::MAX {
            let valid = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            for place in 0..64 {
                let mut digits = [b'0'; 64];
                digits[place] = byte;
                assert_eq!(nibbles(&digits).is_some(), valid, "{byte:#x} at {place}");
            }
        }
    }
}
