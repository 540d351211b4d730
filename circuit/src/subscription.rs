//! Observers that come and go.

use std::fmt;
use std::sync::Arc;

use crate::breaker::Breaker;
use crate::event::{Event, Observer, tell};

/// Those who hear of transitions for as long as they like.
#[derive(Clone)]
pub(crate) struct Subscribers(Vec<Arc<dyn Observer>>);

impl Subscribers {
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.0.iter().for_each(|observer| tell(&**observer, event));
    }

    fn with(&self, observer: Arc<dyn Observer>) -> Self {
        let mut more = self.clone();
        more.0.push(observer);
        more
    }

    /// `None` if nobody is left.
    fn without(&self, observer: &Arc<dyn Observer>) -> Option<Self> {
        let mut rest = self.clone();
        rest.0.retain(|known| !Arc::ptr_eq(known, observer));
        (!rest.0.is_empty()).then_some(rest)
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscribers").field(&self.0.len()).finish()
    }
}

impl Breaker {
    /// Tells `observer` of every transition from now on, after those who were given to the [builder](crate::Builder::observer).
    ///
    /// ```
    /// use buttress_circuit::{Breaker, Event, consecutive};
    ///
    /// let breaker = Breaker::builder("payments").trip(consecutive(1)).build()?;
    /// let subscription = breaker.subscribe(|event: &Event<'_>| {
    ///     if let Event::Transition(breaker, transition) = event {
    ///         println!("{} is {:?}", breaker.name(), transition.to);
    ///     }
    /// });
    /// breaker.try_acquire()?.failure();
    /// drop(subscription);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self, observer: impl Observer) -> Subscription {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        let mut control = self.control();
        let subscribers = control.subscribers();
        let more = match subscribers {
            Some(known) => known.with(Arc::clone(&observer)),
            None => Subscribers(vec![Arc::clone(&observer)]),
        };
        let before = subscribers.replace(Arc::new(more));
        drop(control);
        drop(before);
        Subscription {
            breaker: self.clone(),
            observer,
        }
    }
}

/// An observer that hears of a breaker. Made by [`Breaker::subscribe`].
///
/// # Cancellation
///
/// Dropping it ends the subscription: the observer may hear of what is being told at that moment, and of nothing after it.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    breaker: Breaker,
    observer: Arc<dyn Observer>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut control = self.breaker.control();
        let subscribers = control.subscribers();
        let rest = subscribers
            .as_ref()
            .and_then(|known| known.without(&self.observer));
        let before = std::mem::replace(subscribers, rest.map(Arc::new));
        // What belongs to the user is dropped without the lock.
        drop(control);
        drop(before);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
