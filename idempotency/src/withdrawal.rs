//! Claims under which nothing is done: the store may have made them, or may make them yet, or could not take them back. They are given back by their tokens once it answers again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::event::Event;
use crate::key::RecordKey;
use crate::opening::Call;
use crate::pauses::Pauses;
use crate::shared::{Common, Shared};
use crate::store::{Claim, Store, StoreError, Token};

/// How often the store is asked at most, once it has failed.
pub(crate) const RETRIES: usize = 30;
/// How long it is left alone at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// When one that is not there is looked for a second time, for it may have been on its way.
const LATE: Duration = Duration::from_secs(5);
/// How many claims of a layer are withdrawn, or left to recovery, at once by a store that has failed; what goes beyond is left to its lease.
pub(crate) const AT_ONCE: usize = 1024;

/// How long to wait for a store that has failed and is to be asked again, while a lease of so long runs.
pub(crate) fn pauses(lease: Duration) -> Pauses {
    Pauses::up_to((lease / 3).min(LONGEST_PAUSE))
}

/// A claim to be withdrawn.
pub(crate) struct Withdrawal {
    pub(crate) claim: Claim,
    /// Whether it is known of what was begun under the key before that nothing was done.
    pub(crate) is_first: bool,
    /// Whether somebody was told that it is held, and is to be told that it is not.
    pub(crate) is_told: bool,
}

impl Withdrawal {
    /// Of a `begin` that was not answered, or a claim of which nobody was told.
    pub(crate) fn of(key: RecordKey, token: Token) -> Self {
        Self {
            claim: Claim {
                key,
                token,
                fence: 0,
                attempt: 0,
            },
            is_first: false,
            is_told: false,
        }
    }

    fn tell<St>(&self, shared: &Shared<St>, is_settled: bool) {
        match (self.is_told, is_settled) {
            (false, _) => {}
            (true, true) => shared.emit(Event::Forgotten(&self.claim)),
            (true, false) => shared.emit(Event::Orphaned(&self.claim)),
        }
    }
}

impl<St: Store> Call<St> {
    /// Withdraws a claim under which nothing was done, and will be, in a task.
    pub(crate) fn withdraw(&self, withdrawal: Withdrawal) {
        let shared = Arc::clone(&self.shared);
        let Some(place) = Common::withdraw(&shared.common, AT_ONCE) else {
            return withdrawal.tell(&shared, false);
        };
        self.shared.common.tasks.spawn(async move {
            let _place = place;
            let is_settled = run(&shared, &withdrawal).await;
            withdrawal.tell(&shared, is_settled);
        });
    }
}

/// Asks until it is settled, as it tells, or a lease has passed: what there is of it is over then, and recovery decides.
async fn run<St: Store>(shared: &Shared<St>, withdrawal: &Withdrawal) -> bool {
    let lease = shared.settings.lease;
    let (begun, mut pauses) = (Instant::now(), pauses(lease));
    let mut is_missed = false;
    for _ in 0..RETRIES {
        let pause = match settle(shared, withdrawal).await {
            Ok(()) => return true,
            // It was given back when that was not answered, or it is somebody else's by now.
            Err(StoreError::Lost) if is_missed => return true,
            Err(StoreError::Lost) => {
                is_missed = true;
                LATE.min(lease / 3)
            }
            Err(_) => pauses.next(),
        };
        if begun.elapsed().saturating_add(pause) >= lease {
            return false;
        }
        sleep(pause).await;
    }
    false
}

/// Looks it up by its token, which takes nothing over from anybody, and leaves things as they were before it.
async fn settle<St: Store>(shared: &Shared<St>, withdrawal: &Withdrawal) -> Result<(), StoreError> {
    let (store, asked) = (&shared.store, &withdrawal.claim);
    let held = store
        .seize(asked, asked.token, shared.settings.lease)
        .await?;
    if withdrawal.is_first || held.attempt == 1 {
        store.abandon(&held).await?;
    } else {
        store.renew(&held, Duration::ZERO, Duration::ZERO).await?;
    }
    shared.tell_settled(&held.key);
    Ok(())
}
