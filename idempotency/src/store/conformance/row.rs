//! The plain table that every store is measured by: one key of it, one step after the other.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use buttress_wire::Recorded;

use crate::store::{Begin, BeginRequest, Claim, Origin, Record, Recovery, Standing, Token};

/// What was asked, and what came of it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Begin(BeginRequest, Begin),
    Look(BeginRequest, Option<Begin>),
    /// A renewal, by so long; and whether it was held. So below.
    Renew(Token, Duration, bool),
    Complete(Token, u8, bool),
    Abandon(Token, bool),
    Confirm(Token, Option<Standing>),
    /// Of whatever is over, which nothing here is.
    Purge,
    /// Of a claim, by a token of one's own; and the claim that came of it.
    Seize(Token, Token, Option<Claim>),
}

/// One key, and the highest fence so far.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Row {
    fence: u64,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    Free,
    Running {
        token: Token,
        fingerprint: [u8; 32],
        attempt: u32,
        over: bool,
    },
    Done {
        token: Token,
        fingerprint: [u8; 32],
        record: u8,
    },
}

impl Row {
    pub(super) fn new() -> Self {
        Self {
            fence: 0,
            state: State::Free,
        }
    }

    /// The row after the step, or `None` if it would have gone otherwise.
    pub(super) fn after(&self, step: &Step) -> Option<Self> {
        match step {
            Step::Begin(request, found) => self.begin(request, found),
            Step::Look(request, found) => {
                let right = self.refuses(request, found.as_ref());
                right.unwrap_or(found.is_none()).then(|| self.clone())
            }
            Step::Renew(token, lease, held) => self.renew(*token, *lease, *held),
            Step::Complete(token, record, held) => self.complete(*token, *record, *held),
            Step::Abandon(token, held) => self.abandon(*token, *held),
            Step::Confirm(token, standing) => {
                (self.standing(*token) == *standing).then(|| self.clone())
            }
            Step::Purge => Some(self.clone()),
            Step::Seize(of, by, seized) => self.seize(*of, *by, seized.as_ref()),
        }
    }

    fn begin(&self, request: &BeginRequest, found: &Begin) -> Option<Self> {
        let mine = *request.fingerprint.as_bytes();
        if let State::Running {
            token,
            fingerprint,
            attempt,
            ..
        } = self.state
            && (token, fingerprint) == (request.token, mine)
        {
            // It was asked before, and answered: the same again.
            let again = Begin::Claimed(Claim {
                key: request.key,
                token,
                fence: self.fence,
                attempt,
            });
            return (*found == again).then(|| self.clone());
        }
        if let Some(right) = self.refuses(request, Some(found)) {
            return right.then(|| self.clone());
        }
        let attempt = match self.state {
            State::Running { attempt, .. } => attempt + 1,
            _ => 1,
        };
        match found {
            Begin::Claimed(claim) => self.claimed(claim, request.token, attempt, mine),
            _ => None,
        }
    }

    /// Whether a request that may not have the key is told so rightly; `None` if it may have it.
    fn refuses(&self, request: &BeginRequest, found: Option<&Begin>) -> Option<bool> {
        Some(match &self.state {
            State::Free => return None,
            State::Running { fingerprint, .. } | State::Done { fingerprint, .. }
                if fingerprint != request.fingerprint.as_bytes() =>
            {
                found == Some(&Begin::Mismatch)
            }
            State::Done { record, .. } => found == Some(&Begin::Replay(response(*record))),
            State::Running { over: false, .. } => matches!(found, Some(Begin::InProgress(_))),
            State::Running { .. } if request.recovery == Recovery::Reject => {
                found == Some(&Begin::OutcomeUnknown)
            }
            State::Running { .. } => return None,
        })
    }

    fn claimed(
        &self,
        claim: &Claim,
        by: Token,
        attempt: u32,
        fingerprint: [u8; 32],
    ) -> Option<Self> {
        let right = claim.token == by && claim.attempt == attempt && claim.fence > self.fence;
        right.then_some(Self {
            fence: claim.fence,
            state: State::Running {
                token: by,
                fingerprint,
                attempt,
                over: false,
            },
        })
    }

    fn renew(&self, by: Token, lease: Duration, held: bool) -> Option<Self> {
        let mut after = self.clone();
        let holds = match &mut after.state {
            State::Running { token, over, .. } if *token == by => {
                *over = lease.is_zero();
                true
            }
            _ => false,
        };
        (holds == held).then_some(after)
    }

    fn complete(&self, by: Token, filed: u8, held: bool) -> Option<Self> {
        let mut after = self.clone();
        let holds = match self.state {
            State::Running {
                token, fingerprint, ..
            } if token == by => {
                after.state = State::Done {
                    token,
                    fingerprint,
                    record: filed,
                };
                true
            }
            State::Done { token, .. } => token == by,
            _ => false,
        };
        (holds == held).then_some(after)
    }

    fn abandon(&self, by: Token, held: bool) -> Option<Self> {
        let holds = matches!(self.state, State::Running { token, .. } if token == by);
        let mut after = self.clone();
        if holds {
            after.state = State::Free;
        }
        (holds == held).then_some(after)
    }

    fn standing(&self, of: Token) -> Option<Standing> {
        match self.state {
            State::Running { token, .. } if token == of => Some(Standing::Running),
            State::Done { token, .. } if token == of => Some(Standing::Done),
            _ => None,
        }
    }

    fn seize(&self, of: Token, by: Token, seized: Option<&Claim>) -> Option<Self> {
        match (&self.state, seized) {
            (
                State::Running {
                    token,
                    fingerprint,
                    attempt,
                    over: true,
                },
                Some(claim),
            ) if *token == of => self.claimed(claim, by, attempt + 1, *fingerprint),
            (State::Running { token, over, .. }, None) if *token == of && *over => None,
            (_, seized) => seized.is_none().then(|| self.clone()),
        }
    }
}

/// What is filed, and no other.
pub(super) fn response(record: u8) -> Record {
    let body = Bytes::from(vec![record]);
    let recorded = Recorded::new(StatusCode::OK, HeaderMap::new(), body, None);
    Record::Response(recorded, Origin::default())
}
