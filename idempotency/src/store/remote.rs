//! What stores outside of the process share: how their values travel.
#![cfg_attr(
    not(any(feature = "postgres", feature = "redis", feature = "sqlite")),
    expect(dead_code, reason = "there is no such store")
)]

use std::time::Duration;

use bytes::Bytes;

use super::{Begin, BeginRequest, Claim, Record, Recovery, StoreError, Token};
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

impl Token {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// What is known of a key that was not claimed.
pub(super) struct Found {
    pub(super) same_request: bool,
    pub(super) state: FoundState,
}

pub(super) enum FoundState {
    Done(Vec<u8>),
    Running { left: i64 },
}

impl Found {
    /// `None` when the claim could be taken by now: begin again.
    pub(super) fn answer(self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        if !self.same_request {
            return Ok(Some(Begin::Mismatch));
        }
        Ok(match (self.state, request.recovery) {
            (FoundState::Done(record), _) => {
                Some(Begin::Replay(Record::decode(Bytes::from(record))?))
            }
            (FoundState::Running { left }, _) if left > 0 => {
                Some(Begin::InProgress(duration(left)))
            }
            (FoundState::Running { .. }, Recovery::Reject) => Some(Begin::OutcomeUnknown),
            (FoundState::Running { .. }, Recovery::Reexecute) => None,
        })
    }
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
        token: Token(u128::from_be_bytes(token.try_into().map_err(corrupt)?)),
        fence,
        attempt,
    })
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

/// How often a claim is tried for that seems to be free and then is not.
pub(super) const TRIES: usize = 8;

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

    #[test]
    fn records_travel_and_nothing_else_is_one() {
        let recorded = buttress_wire::Recorded::new(
            http::StatusCode::OK,
            http::HeaderMap::new(),
            Bytes::from_static(b"\0"),
            None,
        );
        for record in [Record::Tombstone, Record::Response(recorded)] {
            assert_eq!(Record::decode(record.encode()).unwrap(), record);
        }
        for broken in [&b""[..], &[0, 0], &[1], &[200, 1]] {
            let decoded = Record::decode(Bytes::copy_from_slice(broken));
            assert!(matches!(decoded, Err(StoreError::Corrupt(_))), "{broken:?}");
        }
    }
}
