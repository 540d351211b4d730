//! The value of `Age` (RFC 9111, section 5.1).

use http::HeaderValue;

/// So many seconds; the first thousand allocate nothing, since every hit needs one.
pub(super) fn age_value(seconds: u64) -> HeaderValue {
    let small = usize::try_from(seconds).ok();
    match small.and_then(|seconds| SMALL.get(seconds)) {
        Some(digits) => digits.value(),
        None => HeaderValue::from(seconds),
    }
}

/// A number of three digits, and how many of them are zeros in front.
struct Digits {
    all: [u8; 3],
    zeros: usize,
}

impl Digits {
    const fn of(number: usize) -> Self {
        let digit = [number / 100, number / 10 % 10, number % 10];
        Self {
            all: [
                b'0' + digit[0] as u8,
                b'0' + digit[1] as u8,
                b'0' + digit[2] as u8,
            ],
            zeros: if number < 10 {
                2
            } else {
                (number < 100) as usize
            },
        }
    }

    fn value(&'static self) -> HeaderValue {
        let digits = str::from_utf8(&self.all[self.zeros..]);
        digits.map_or(HeaderValue::from_static("0"), HeaderValue::from_static)
    }
}

static SMALL: [Digits; 1000] = {
    let mut all = [const { Digits::of(0) }; 1000];
    let mut number = 0;
    while number < all.len() {
        all[number] = Digits::of(number);
        number += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_written_as_a_number_is() {
        for seconds in (0..1100).chain([u64::MAX]) {
            assert_eq!(age_value(seconds), seconds.to_string());
        }
    }
}
