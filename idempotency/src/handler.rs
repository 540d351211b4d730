//! What a handler sees of the claim it works under.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Response;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fingerprint::Fingerprint;
use crate::opening::Keyed;
use crate::shared::Shared;
use crate::store::{Claim, Origin};
use crate::transaction::{Completion, Ledger, Settled, Settlement};

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
    /// When it was asked for.
    since: Instant,
    /// How long after that the last answer was asked for that says that it is held, in nanoseconds; or that nobody asks any more.
    heard: AtomicU64,
    /// Fires when the lease is lost, or may be. Few handlers ask for it.
    lost: OnceLock<CancellationToken>,
    /// What the handler makes of it by itself.
    pub(crate) settlement: Settlement,
}

/// A claim that was settled has no lease that could end.
const SETTLED: u64 = u64::MAX;

impl Grant {
    pub(crate) fn new(
        claim: Claim,
        fingerprint: Fingerprint,
        origin: Origin,
        since: Instant,
    ) -> Self {
        Self {
            claim,
            fingerprint,
            origin,
            since,
            heard: AtomicU64::new(0),
            lost: OnceLock::new(),
            settlement: Settlement::default(),
        }
    }

    pub(crate) fn lost(&self) -> &CancellationToken {
        self.lost.get_or_init(CancellationToken::new)
    }

    /// The store has said that it is held, when it was asked at this moment.
    pub(crate) fn heard(&self, asked: Instant) {
        let since = asked.saturating_duration_since(self.since).as_nanos();
        let since = u64::try_from(since).unwrap_or(SETTLED);
        self.heard.fetch_max(since, Ordering::Relaxed);
    }

    /// The layer settles it, and nobody is to be told of its lease any more.
    pub(crate) fn settle(&self) {
        self.heard.store(SETTLED, Ordering::Relaxed);
    }

    /// Whether the layer settles it, or has.
    pub(crate) fn is_settled(&self) -> bool {
        self.heard.load(Ordering::Relaxed) == SETTLED
    }

    /// How much of the lease is left for certain: the store counts from when it was asked, or later.
    pub(crate) fn left(&self, lease: Duration) -> Duration {
        match self.heard.load(Ordering::Relaxed) {
            SETTLED => lease,
            heard => {
                let silence = self
                    .since
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(heard));
                lease.saturating_sub(silence)
            }
        }
    }

    /// With which completion of this claim the response came, if it did.
    pub(crate) fn completion<B>(&self, response: &Response<B>) -> Option<u32> {
        let completion = response.extensions().get::<Completion>()?;
        (completion.token == self.claim.token).then_some(completion.number)
    }

    /// Whether the response is what was filed, if a completion was committed.
    pub(crate) fn is_filed<B, E>(&self, response: &Result<Response<B>, E>) -> bool {
        let response = response.as_ref().ok();
        let completion = response.and_then(|response| self.completion(response));
        completion == Some(self.settlement.last_completion())
    }

    /// Tells the handler if the lease may be over, unless it has settled the claim by itself.
    pub(crate) fn tell_if_over(&self, lease: Duration) {
        if self.left(lease).is_zero() && self.settlement.get() == Settled::Open {
            self.lost().cancel();
        }
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

    /// Grows with every claim of the key: hand it to downstream systems that can refuse what comes with a lower one. It does so for as long as the store remembers: that of a
    /// [`MemoryStore`](crate::MemoryStore) begins at 1 again with each process, and is for what ends with the process, too.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.grant().claim.fence
    }

    /// Fires when the lease is lost: somebody else may do the work now. Also when a lease has passed without a word from the store, by this process's clock, from when the claim, or
    /// the last renewal that was answered, was asked for. Then it is a hint, for nobody else need have come; it does not go out again.
    ///
    /// A task of the layer's sees to it. Whoever may have been stopped together with it asks anew before a step that counts: this looks at the clock.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        let grant = self.grant();
        grant.tell_if_over(self.ledger.lease());
        grant.lost()
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
