//! What a handler sees of the claim it works under.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::store::Claim;
use crate::transaction::{Ledger, Settlement};

/// In the extensions of a request that is done under a claim.
#[derive(Clone)]
pub struct Idempotency {
    pub(crate) claim: Claim,
    pub(crate) lost: CancellationToken,
    pub(crate) settlement: Arc<Settlement>,
    pub(crate) ledger: Arc<dyn Ledger>,
}

impl Idempotency {
    /// How often the work has been begun, this time included. From the second time on, look first what the ones before have done.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    /// Grows with every claim of the key: hand it to downstream systems that can refuse what comes with a lower one.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.claim.fence
    }

    /// Fires when the lease is lost: somebody else may do the work now.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// A key to send to the next service: the same at each attempt, and another one for each `step`.
    #[must_use]
    pub fn downstream_key(&self, step: &str) -> String {
        let hash = blake3::keyed_hash(self.claim.key.as_bytes(), step.as_bytes());
        hash.to_hex()[..32].to_owned()
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("claim", &self.claim)
            .field("lost", &self.lost.is_cancelled())
            .finish_non_exhaustive()
    }
}
