//! What stores outside of the process share: how their values travel.

use std::time::Duration;

use super::{Begin, BeginRequest, Claim, Recovery, StoreError, Token};
use crate::key::RecordKey;

/// Whole milliseconds, rounded up; a century stands for all that is longer.
pub(crate) fn millis(duration: Duration) -> i64 {
    const CENTURY: u128 = 100 * 365 * 24 * 60 * 60 * 1000;
    let millis = duration.as_nanos().div_ceil(1_000_000);
    millis.min(CENTURY) as i64
}

pub(super) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A claim as it is stored: key, token, fence and attempt.
pub(super) fn claim(
    key: &[u8],
    token: &[u8],
    fence: u64,
    attempt: u32,
) -> Result<Claim, StoreError> {
    let corrupt = |_| StoreError::Corrupt("a key or a token has the wrong length".into());
    Ok(Claim {
        key: RecordKey::from_bytes(key.try_into().map_err(corrupt)?),
        token: Token::from_bytes(token.try_into().map_err(corrupt)?),
        fence,
        attempt,
    })
}

impl Claim {
    pub(super) fn seized(&self, token: Token, fence: u64, attempt: u32) -> Self {
        Self {
            key: self.key,
            token,
            fence,
            attempt,
        }
    }
}

impl BeginRequest {
    pub(super) fn claimed(&self, fence: u64, attempt: u32) -> Begin {
        Begin::Claimed(Claim {
            key: self.key,
            token: self.token,
            fence,
            attempt,
        })
    }

    pub(super) fn takes_over(&self) -> bool {
        self.recovery == Recovery::Reexecute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_shorter_in_a_store_than_it_was_asked_for() {
        let cases = [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(7), 7),
            (Duration::from_micros(7001), 8),
            (Duration::MAX, 3_153_600_000_000),
        ];
        for (asked, millis) in cases {
            assert_eq!(super::millis(asked), millis, "{asked:?}");
        }
    }
}
