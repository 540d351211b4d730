//! Who waits for a breaker, and who wakes them.

/// Those who wait to be admitted. Without the feature `tokio` there is nobody.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    #[cfg(feature = "tokio")]
    changed: tokio::sync::Notify,
}

impl Waiters {
    /// The state has changed: whoever waits looks again.
    pub(crate) fn wake_all(&self) {
        #[cfg(feature = "tokio")]
        self.changed.notify_waiters();
    }

    /// There is room for one more. If the one who is woken goes away without having looked, the next is woken.
    pub(crate) fn wake_one(&self) {
        #[cfg(feature = "tokio")]
        self.changed.notify_one();
    }
}

#[cfg(feature = "tokio")]
mod acquire {
    use std::pin::pin;
    use std::time::Duration;

    use crate::breaker::Breaker;
    use crate::error::{Reason, Refusal};
    use crate::permit::Permit;

    impl Breaker {
        /// Waits until a call may be made.
        ///
        /// Whoever waits is woken by every change of the state, by a slot that is given back, by a call that ends where calls in flight are bounded,
        /// and by the end of the open time; while a service gets its load back it tries once a second. No order is promised among those who wait, and while the breaker is forced open there is no end to it: set a timeout around it.
        ///
        /// Let the breaker go by a clock that runs as tokio's does; in tests with paused time that is
        /// [`Clock::tokio`](crate::Clock::tokio).
        ///
        /// # Panics
        ///
        /// When it has to wait outside of a tokio runtime with time enabled.
        ///
        /// # Cancellation
        ///
        /// Dropping it gives up the place among those who wait; if it had just been woken, another one is.
        pub async fn acquire(&self) -> Permit {
            if let Ok(ticket) = self.admit() {
                return Permit::new(self.clone(), ticket);
            }
            loop {
                // Registers first and then looks again: whoever changes something after the look finds us.
                let mut changed = pin!(self.0.waiters.changed.notified());
                changed.as_mut().enable();
                let refusal = match self.admit() {
                    Ok(ticket) => return Permit::new(self.clone(), ticket),
                    Err(refusal) => refusal,
                };
                match self.until_next_look(refusal) {
                    Some(left) => drop(tokio::time::timeout(left, changed).await),
                    None => changed.await,
                }
            }
        }

        /// When time alone will have changed something.
        fn until_next_look(&self, refusal: Refusal) -> Option<Duration> {
            match refusal.reason() {
                Reason::Open | Reason::Probing => {
                    let left = self.word().remaining(self.now()).unwrap_or(0);
                    Some(Duration::from_millis(left))
                }
                // While a service gets its load back, every attempt brings the next admission nearer.
                _ => refusal.retry_after(),
            }
        }
    }
}
