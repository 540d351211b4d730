//! What a database tells of a key that was not claimed.

use bytes::Bytes;

use super::remote::duration;
use super::{Begin, BeginRequest, Record, Recovery, StoreError};

/// What is known of it.
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
