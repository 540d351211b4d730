//! Who does the work of a flight, and what is left of it while it lands.

use std::fmt;
use std::sync::Arc;

use crate::event::Event;
use crate::table::{Part, Place};

/// The one who does the work of a flight.
///
/// # Cancellation
///
/// Dropping it without a value makes one follower the leader. Drop the work first: that there is never more than one at a time rests
/// on it.
#[must_use = "a leader that is dropped makes someone else lead"]
pub struct Leader<K, V> {
    /// `None` once it has completed.
    part: Option<Arc<Part<K, V>>>,
    place: Place,
}

impl<K, V> Leader<K, V> {
    pub(crate) fn new(part: Arc<Part<K, V>>, place: Place) -> Self {
        let part = Some(part);
        Self { part, place }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(part) = &self.part {
            part.tell(event);
        }
    }

    /// Whether an older flight of the key, which could not be joined any more, was under way, or awaited by other processes, when this one was started.
    pub(crate) fn is_beside(&self) -> bool {
        self.place.is_beside()
    }

    /// Other processes wait for what the flight comes to, and may do so when nobody can join it here any more.
    #[cfg(feature = "http")]
    pub(crate) fn awaited(&self) -> Option<Awaited<K, V>> {
        let part = self.part.as_ref()?;
        part.await_elsewhere(self.place);
        Some(Awaited {
            part: Arc::clone(part),
            place: self.place,
        })
    }

    /// The work has failed, and a follower is to do it once more: the one who came first leads, and the others wait on. Tells whether there was one. An error, with the
    /// leader, when this was a second time already.
    pub(crate) fn leave_to_retry(mut self) -> Result<bool, Self> {
        let Some(part) = &self.part else {
            return Err(self);
        };
        let retried = part.retry(self.place);
        match retried {
            Some(retried) => {
                self.part = None;
                Ok(retried)
            }
            None => Err(self),
        }
    }

    /// Gives `value` to everyone who waits. The key is free before they get it.
    pub fn complete(mut self, value: V) {
        let part = self.part.take();
        // Kept until all are told: the key is the user's, and its drop may panic.
        let ended = part.and_then(|part| part.end(self.place));
        if let Some(line) = ended.as_ref().and_then(|ended| ended.line.as_ref()) {
            line.publish(value);
        }
    }

    /// Gives `value` to everyone who waits, and `newcomers` to whoever joins while the [`Landing`] lives: for values that
    /// are still under way themselves, like a stream that can be joined near its start.
    ///
    /// Newcomers come to an end while the landing lives, so that one who holds it for long does not keep an old value in use:
    /// after [`landed_for`](crate::FlightsBuilder::landed_for), or when [`max_waiters`](crate::FlightsBuilder::max_waiters) of them have
    /// joined, whoever comes starts a new flight.
    pub fn land(mut self, value: V, newcomers: V) -> Landing<K, V> {
        let part = self.part.take();
        let landing = Landing {
            part: part.clone(),
            place: self.place,
        };
        // Kept until all are told, as above.
        let landed = part.map(|part| part.land(self.place, newcomers));
        if let Some(line) = landed.as_ref().and_then(|landed| landed.line.as_ref()) {
            line.publish(value);
        }
        // Now, and not on the way out: a panic there would leave the landing where it is.
        drop(landed);
        landing
    }
}

impl<K, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            part.abandon(self.place);
        }
    }
}

/// Keeps a landed flight joinable, within its bounds; made by [`Leader::land`].
///
/// # Cancellation
///
/// Dropping it frees the key: who comes then starts anew.
#[must_use = "the flight cannot be joined any more once this is dropped"]
pub struct Landing<K, V> {
    part: Option<Arc<Part<K, V>>>,
    place: Place,
}

impl<K, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let gone = self.part.take().and_then(|part| part.end(self.place));
        drop(gone);
    }
}

/// Keeps those who lead the key from asking other processes, which would make them wait for this one's own older flight.
///
/// # Cancellation
///
/// Dropping it says that nobody elsewhere waits any more.
#[cfg(feature = "http")]
pub(crate) struct Awaited<K, V> {
    part: Arc<Part<K, V>>,
    place: Place,
}

#[cfg(feature = "http")]
impl<K, V> Drop for Awaited<K, V> {
    fn drop(&mut self) {
        self.part.await_no_more(self.place);
    }
}

impl<K, V> fmt::Debug for Leader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("flight", &self.place.number())
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Landing<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing")
            .field("flight", &self.place.number())
            .finish_non_exhaustive()
    }
}
