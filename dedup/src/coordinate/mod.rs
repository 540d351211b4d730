//! Flights across processes.

#[cfg(feature = "redis")]
mod redis;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "redis")]
pub use self::redis::{RedisBuilder, RedisCoordinator};

/// The future of [`Coordinator::join`].
pub type Asking = Pin<Box<dyn Future<Output = Seat> + Send>>;

/// Lets processes share the work of a key, behind the flights of each.
///
/// It is asked once per flight and process, by the flight's leader: followers never come here. It can only save work. Whatever goes wrong,
/// with the holder of a lease or with the coordinator itself, the answer is [`Seat::Local`] and the process does its own work; there
/// is no error.
///
/// An implementation has to see to it that
///
/// - of those who ask for a key at the same time one gets [`Seat::Lead`], and the others wait;
/// - those who wait get what the holder [publishes](Lease::publish), and [`Seat::Local`] when it [declines](Lease::decline);
/// - when the lease is dropped, or its holder dies, one of those who wait gets it, after a time that it states;
/// - nobody waits for ever;
/// - who asks after the result was published starts anew: it keeps no results.
///
/// It is used as `Arc<dyn Coordinator>`.
pub trait Coordinator: Send + Sync + 'static {
    /// Takes the lease of `key`, or waits for the result of whoever holds it: unless that has been at work for longer than `max_age`, if there is one. Then the
    /// answer is [`Seat::Local`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the wait, or the lease that was just about to be had.
    fn join(&self, key: &[u8], max_age: Option<Duration>) -> Asking;
}

/// What a process is to do.
pub enum Seat {
    /// Do the work, for all processes.
    Lead(Box<dyn Lease>),
    /// Do the work, for this process. If it is because of some trouble, with a reason.
    Local(Option<Box<dyn Error + Send + Sync>>),
    /// Take this: another process did the work.
    Received(Bytes),
}

/// The right to do the work of a key for all processes.
///
/// # Cancellation
///
/// Dropping it says that the work was given up: one of those who wait does it.
pub trait Lease: Send + Sync + 'static {
    /// The result is not for others: all who wait do their own work, at once.
    fn decline(self: Box<Self>);

    /// Gives the result to all who wait.
    fn publish(self: Box<Self>, value: Bytes);

    /// The result is known, and is on its way to somebody who may be slow to take it: if it is not published within so long, it is declined, so that nobody waits for
    /// that.
    fn publish_within(&mut self, time: Duration);
}

/// What a flight is called among other processes: keys of two namespaces never meet.
pub(crate) fn named(namespace: &str, key: &[u8]) -> Vec<u8> {
    let length = namespace.len() as u64;
    [&length.to_be_bytes(), namespace.as_bytes(), key].concat()
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lead(_) => f.write_str("Lead"),
            Self::Local(why) => f.debug_tuple("Local").field(why).finish(),
            Self::Received(value) => f.debug_tuple("Received").field(&value.len()).finish(),
        }
    }
}
