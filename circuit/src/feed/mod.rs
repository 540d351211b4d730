//! Trips shared between processes: [`Sharing`] over a [`Feed`].
//!
//! Every process decides for itself, by its own breakers. What they tell each other is that a breaker has opened, and for how long it will be;
//! what the others make of it is their [`Policy`]. No call ever waits for this, and without it everything goes on as before.
//!
//! ```
//! use buttress_circuit::feed::{Feed, Policy, Sharing};
//! use buttress_circuit::Breaker;
//!
//! # async fn share(feed: impl Feed) -> Result<(), Box<dyn std::error::Error>> {
//! let sharing = Sharing::new(Policy::Adopt);
//! let breaker = Breaker::builder("payments").observer(sharing.trips()).build()?;
//! let known = breaker.clone();
//! let work = sharing.run(feed, move |name| (name == "payments").then(|| known.clone()));
//! // Yours: spawn it, or poll it beside a server. Dropped, it ends.
//! # drop(work);
//! # Ok(())
//! # }
//! ```

mod outbox;
#[cfg(feature = "redis")]
mod redis;
mod sharing;
mod trip;
mod votes;

use std::error::Error;

pub use outbox::Trips;
#[cfg(feature = "redis")]
pub use redis::RedisFeed;
pub use sharing::{Policy, Sharing};
pub use trip::{Instance, Trip};

/// Carries trips between processes. Nothing is promised of it: it may lose trips, repeat them, deliver them late or give back one's own.
///
/// [`Sharing`] calls one method at a time, and does the waiting before it tries again. A method that does not come back within five seconds has failed,
/// but for [`receive`](Self::receive).
pub trait Feed {
    /// What goes wrong.
    type Error: Error + Send + Sync + 'static;

    /// Connects, for the first time or again. What was connected is of no use any more.
    fn connect(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells the other processes.
    fn publish(&mut self, trip: &Trip) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether what is published comes back to this process as well. Then it is a sign of life: one that does not come back in time is taken for a
    /// connection that is cut.
    fn echoes(&self) -> bool {
        false
    }

    /// Waits for a trip of another process.
    ///
    /// # Cancellation
    ///
    /// Must be safe: it is dropped whenever there is something to publish, and called again.
    fn receive(&mut self) -> impl Future<Output = Result<Trip, Self::Error>> + Send;
}
