//! Telling all processes of what was changed, after it was committed.
//!
//! Whoever changes something also tells of it at once, in its own process. The relay is for whoever is killed in between: what it left in the outbox is
//! told by any process that lives, no later than [`REST`] after Postgres and Redis can be reached.

use std::time::Duration;

use buttress_cache::Cache;
use buttress_cache::http::CachedResponse;

use crate::complain;
use crate::storefront::catalogue::{Database, Unavailable, Untold};

/// How long the tables may take, also where another process makes them. Who does not hear of that is to say so, and to ask again.
const MIGRATION: Duration = Duration::from_secs(30);

/// How long it rests when there was nothing to tell; a change in this process wakes it at once.
pub(crate) const REST: Duration = Duration::from_millis(500);

/// Where changes wait to be told.
pub(crate) trait Outbox: Sync {
    /// Makes it, or finds it.
    fn make(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;
    /// The next ones that nobody is known to have told.
    fn untold(&self) -> impl Future<Output = Result<Vec<Untold>, Unavailable>> + Send;
    fn mark_told(&self, told: &[Untold]) -> impl Future<Output = Result<(), Unavailable>> + Send;
    /// Waits until this process has put something into it.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

impl Outbox for Database {
    async fn make(&self) -> Result<(), Unavailable> {
        tokio::time::timeout(MIGRATION, self.migrate()).await?
    }

    async fn untold(&self) -> Result<Vec<Untold>, Unavailable> {
        self.in_time(self.untold()).await
    }

    async fn mark_told(&self, told: &[Untold]) -> Result<(), Unavailable> {
        self.in_time(self.mark_told(told)).await
    }

    async fn changed(&self) {
        self.changed().await;
    }
}

/// Makes the outbox, and then tells of each change in it, for as long as it is polled.
///
/// Several processes may tell of one change, which costs misses and nothing else. A change is taken out of the outbox once Redis has it.
///
/// # Cancellation
///
/// What is dropped between telling and taking out is told once more, here or elsewhere.
pub(crate) async fn run(pages: Cache<CachedResponse>, outbox: impl Outbox) {
    let mut is_made = false;
    let mut failing = false;
    loop {
        let told = tell(&pages, &outbox, &mut is_made).await;
        if let Err(error) = &told
            && !failing
        {
            complain(
                "storefront",
                &format_args!("changes wait to be told: {error}"),
            );
        }
        failing = told.is_err();
        let _ = tokio::time::timeout(REST, outbox.changed()).await;
    }
}

async fn tell(
    pages: &Cache<CachedResponse>,
    outbox: &impl Outbox,
    is_made: &mut bool,
) -> Result<(), Unavailable> {
    if !*is_made {
        outbox.make().await?;
        *is_made = true;
    }
    loop {
        let changes = outbox.untold().await?;
        if changes.is_empty() {
            return Ok(());
        }
        pages
            .invalidate(changes.iter().map(|change| &change.tag))
            .await?;
        outbox.mark_told(&changes).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Shared by a test and its relay.
    #[derive(Clone, Default)]
    struct Fake(Arc<Inside>);

    #[derive(Default)]
    struct Inside {
        changes: Mutex<Vec<i64>>,
        is_away: AtomicBool,
        /// Somebody of this process has added one.
        own: Notify,
        /// One was taken out.
        told: Notify,
    }

    impl Outbox for Fake {
        async fn make(&self) -> Result<(), Unavailable> {
            Ok(())
        }

        async fn untold(&self) -> Result<Vec<Untold>, Unavailable> {
            if self.0.is_away.load(Ordering::Relaxed) {
                return Err(std::io::Error::other("it is away").into());
            }
            let changes = self.0.changes.lock().unwrap();
            let untold = |number: &i64| Untold {
                number: *number,
                tag: format!("product:{number}"),
            };
            Ok(changes.iter().map(untold).collect())
        }

        async fn mark_told(&self, told: &[Untold]) -> Result<(), Unavailable> {
            let is_told = |number: &i64| told.iter().any(|told| told.number == *number);
            self.0
                .changes
                .lock()
                .unwrap()
                .retain(|number| !is_told(number));
            self.0.told.notify_one();
            Ok(())
        }

        async fn changed(&self) {
            self.0.own.notified().await;
        }
    }

    impl Fake {
        fn add(&self, number: i64) {
            self.0.changes.lock().unwrap().push(number);
        }
    }

    fn started() -> Fake {
        let outbox = Fake::default();
        tokio::spawn(run(CachedResponse::cache().build(), outbox.clone()));
        outbox
    }

    /// By the clock of the test, on which work takes no time.
    async fn until_told(outbox: &Fake) -> Duration {
        let begun = Instant::now();
        outbox.0.told.notified().await;
        assert!(outbox.0.changes.lock().unwrap().is_empty());
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_has_changed_is_told_after_no_more_than_a_rest() {
        let outbox = started();
        for n in 1..=10 {
            sleep(REST * n / 7).await;
            outbox.add(n.into());
            assert!(until_told(&outbox).await <= REST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_process_has_changed_is_told_at_once() {
        let outbox = started();
        sleep(REST / 3).await;
        outbox.add(1);
        outbox.0.own.notify_one();
        assert_eq!(until_told(&outbox).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_read_is_told_no_more_than_a_rest_after_it_can() {
        let outbox = started();
        outbox.0.is_away.store(true, Ordering::Relaxed);
        outbox.add(1);
        sleep(REST * 20 + REST / 3).await;
        outbox.0.is_away.store(false, Ordering::Relaxed);
        assert!(until_told(&outbox).await <= REST);
    }
}
