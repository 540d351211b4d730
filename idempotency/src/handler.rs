//! What a handler sees of the claim it works under.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::fingerprint::Fingerprint;
use crate::opening::Keyed;
use crate::shared::Shared;
use crate::store::{Claim, Origin};
use crate::transaction::{Ledger, Settlement};

/// In the extensions of a request that is done under a claim.
#[derive(Clone)]
pub struct Idempotency {
    pub(crate) ledger: Arc<dyn Ledger>,
}

/// A call that was granted its key; shared by its work, its handler and what keeps its lease.
pub(crate) struct Granted<St> {
    pub(crate) keyed: Keyed<St>,
    pub(crate) grant: Grant,
}

impl<St> Granted<St> {
    pub(crate) fn shared(&self) -> &Shared<St> {
        &self.keyed.shared
    }
}

impl<St> Deref for Granted<St> {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.grant
    }
}

/// A claim, as its handler and the layer see it.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) claim: Claim,
    /// Of the request that it was claimed for.
    pub(crate) fingerprint: Fingerprint,
    /// That request.
    pub(crate) origin: Origin,
    /// Fires when the lease is lost. Few handlers ask for it.
    lost: OnceLock<CancellationToken>,
    /// What the handler makes of it by itself.
    pub(crate) settlement: Settlement,
}

impl Grant {
    pub(crate) fn new(claim: Claim, fingerprint: Fingerprint, origin: Origin) -> Self {
        Self {
            claim,
            fingerprint,
            origin,
            lost: OnceLock::new(),
            settlement: Settlement::default(),
        }
    }

    pub(crate) fn lost(&self) -> &CancellationToken {
        self.lost.get_or_init(CancellationToken::new)
    }
}

impl Idempotency {
    pub(crate) fn grant(&self) -> &Grant {
        self.ledger.grant()
    }

    /// The claim: what it is filed under, and who holds it.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.grant().claim
    }

    /// How often the work has been begun, this time included. From the second time on, look first what the ones before have done.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.grant().claim.attempt
    }

    /// Grows with every claim of the key: hand it to downstream systems that can refuse what comes with a lower one.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.grant().claim.fence
    }

    /// Fires when the lease is lost: somebody else may do the work now.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        self.grant().lost()
    }

    /// A key to send to the next service: the same at each attempt, and another one for each `step`.
    #[must_use]
    pub fn downstream_key(&self, step: &str) -> String {
        let hash = blake3::keyed_hash(self.grant().claim.key.as_bytes(), step.as_bytes());
        hash.to_hex()[..32].to_owned()
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("claim", &self.grant().claim)
            .field("lost", &self.grant().lost().is_cancelled())
            .finish_non_exhaustive()
    }
}
