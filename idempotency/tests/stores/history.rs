//! The exported suite finds what is planted.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, MemoryStore, Record, Standing, Store, StoreError, Token,
    conformance,
};
use futures_util::FutureExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_of_the_memory_store_have_an_order() {
    conformance::histories_have_an_order(&MemoryStore::new(), 2000).await;
}

/// A store with a bug.
#[derive(Clone)]
struct Planted {
    store: MemoryStore,
    bug: Bug,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    /// A zombie's record is taken.
    NoToken,
    /// A fence is given twice.
    NoFence,
    /// Of those who come together, more than one may get the claim.
    LookThenClaim,
    /// The same, without ever waiting: only those who come from several threads come together.
    LookThenClaimAtOnce,
    /// Everything is remembered but who abandons.
    AbandonsForOthers,
    /// Whoever resolves by hand gets a claim that somebody works on.
    SeizesFromTheLiving,
    /// What is there is not seen by who only looks.
    LooksAway,
    /// What is left behind goes as what is over does.
    PurgesOrphans,
    /// A zombie changes what it is told that it has lost.
    LosesAndWrites,
    /// Who asks again, since the answer was lost, is told to wait for itself.
    BeginsAnew,
}

impl Store for Planted {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        if self.bug == Bug::LookThenClaimAtOnce {
            return self.look_then_claim(request).await;
        }
        if self.bug == Bug::BeginsAnew
            && let Some(found @ Begin::InProgress(_)) = self.store.look(&request).await?
        {
            return Ok(found);
        }
        let found = self.store.begin(request.clone()).await?;
        Ok(match found {
            Begin::InProgress(_) if self.bug == Bug::LookThenClaim && fastrand::bool() => {
                Begin::Claimed(Claim {
                    key: request.key,
                    token: request.token,
                    fence: u64::MAX,
                    attempt: 1,
                })
            }
            Begin::Claimed(claim) if self.bug == Bug::NoFence => {
                Begin::Claimed(Claim { fence: 1, ..claim })
            }
            found => found,
        })
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        if self.bug == Bug::SeizesFromTheLiving {
            let _ = self.store.renew(claim, Duration::ZERO, lease).await;
        }
        self.store.seize(claim, token, lease).await
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        if self.bug == Bug::LooksAway {
            return Ok(None);
        }
        self.store.look(request).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        self.store.renew(claim, lease, ttl).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        match self.store.complete(claim, record.clone(), ttl).await {
            Err(StoreError::Lost) if self.bug == Bug::NoToken => Ok(()),
            Err(StoreError::Lost) if self.bug == Bug::LosesAndWrites => {
                self.complete_whoever_holds_it(claim, record).await
            }
            result => result,
        }
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        match self.store.abandon(claim).await {
            Err(StoreError::Lost) if self.bug == Bug::AbandonsForOthers => Ok(()),
            result => result,
        }
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        if self.bug == Bug::PurgesOrphans {
            for orphan in self.store.unknown(limit).await? {
                let _ = self.store.abandon(&orphan).await;
            }
        }
        self.store.purge(limit).await
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        self.store.confirm(claim).await
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.store.unknown(limit).await
    }
}

impl Planted {
    async fn complete_whoever_holds_it(
        &self,
        claim: &Claim,
        record: Record,
    ) -> Result<(), StoreError> {
        let hour = Duration::from_secs(3600);
        for orphan in self.store.unknown(usize::MAX).await? {
            if orphan.key == claim.key {
                let _ = self.store.complete(&orphan, record.clone(), hour).await;
            }
        }
        Err(StoreError::Lost)
    }

    async fn look_then_claim(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        if let Some(found) = self.store.look(&request).await? {
            return Ok(found);
        }
        std::thread::yield_now();
        let begun = self.store.begin(request.clone()).await?;
        let claim = Claim {
            key: request.key,
            token: request.token,
            fence: u64::MAX,
            attempt: 1,
        };
        Ok(match begun {
            Begin::InProgress(_) => Begin::Claimed(claim),
            begun => begun,
        })
    }
}

/// Threads meet as they like: often enough, in so many rounds of ten.
#[tokio::test]
async fn the_suite_finds_who_looks_and_then_claims_without_waiting() {
    let planted = Planted {
        store: MemoryStore::new(),
        bug: Bug::LookThenClaimAtOnce,
    };
    for _ in 0..1000 {
        let checked = AssertUnwindSafe(conformance::a_key_is_claimed_once(&planted));
        if checked.catch_unwind().await.is_err() {
            return;
        }
    }
    panic!("it was not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_checker_finds_what_is_planted() {
    for bug in [
        Bug::NoToken,
        Bug::NoFence,
        Bug::LookThenClaim,
        Bug::LookThenClaimAtOnce,
        Bug::AbandonsForOthers,
        Bug::SeizesFromTheLiving,
        Bug::LooksAway,
        Bug::BeginsAnew,
        Bug::PurgesOrphans,
        Bug::LosesAndWrites,
    ] {
        let planted = Planted {
            store: MemoryStore::new(),
            bug,
        };
        let checked = AssertUnwindSafe(conformance::histories_have_an_order(&planted, 5000));
        let found = checked.catch_unwind().await.is_err();
        assert!(found, "{bug:?} was not found");
    }
}
