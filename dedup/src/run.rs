//! Flights around futures.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;

use bytes::Bytes;

use crate::coordinate::Lease;
use crate::event::Event;
use crate::flights::Flights;
#[cfg(feature = "detached")]
use crate::flying::Detached;
use crate::flying::{Inline, Others, Received, Run, Shell};
use crate::leader::Leader;

/// What [`Flights::run`] gives: resolves to the value of the flight, or of the caller's own work.
pub type Running<K, V, F, M = Inline> = Run<F, Values<K, V>, M>;

impl<K: Eq + Hash, V: Clone> Flights<K, V> {
    /// Does `work` unless somebody is doing it for the same key, and then takes their value. Where there is no room for another follower, or
    /// the wait timeout has passed, the work is done for this caller alone.
    ///
    /// ```
    /// use buttress_dedup::Flights;
    ///
    /// # tokio_test::block_on(async {
    /// let flights = Flights::new();
    /// let price = async |product: u32| u64::from(product) * 100;
    /// assert_eq!(flights.run(7, || price(7)).await, 700);
    /// # })
    /// ```
    ///
    /// The flight is joined here and now, and `work` is called when the future is polled and leads, or goes alone.
    ///
    /// # Cancellation
    ///
    /// Dropping a leader drops its work, and one follower does its own; see [`Run`].
    pub fn run<F, Fut>(&self, key: K, work: F) -> Running<K, V, F>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V>,
    {
        Run::new(Some(self.join(key)), work, Values::new(), Inline)
    }

    /// As [`run`](Self::run), but work that has begun goes on in `tasks` when its caller is dropped, and followers get its value.
    ///
    /// # Cancellation
    ///
    /// Dropping a leader that has been polled moves its work to a task.
    #[cfg(feature = "detached")]
    pub fn run_detached<F, Fut>(
        &self,
        key: K,
        tasks: &buttress_wire::tasks::Tasks,
        work: F,
    ) -> Running<K, V, F, Detached>
    where
        K: Send + 'static,
        V: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = V> + Send + 'static,
    {
        let mode = Detached(tasks.clone());
        Run::new(Some(self.join(key)), work, Values::new(), mode)
    }
}

/// Values are what they are.
pub struct Values<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> Values<K, V> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K: Eq + Hash, V: Clone> Shell for Values<K, V> {
    type Key = K;
    type Value = V;
    type Result = V;
    type Output = V;

    /// Nobody elsewhere is asked.
    fn tell(&self, _: Event<'_>) {}

    fn coordination(&self) -> Option<Others<'_>> {
        None
    }

    fn hold(&mut self, lease: Box<dyn Lease>) {
        drop(lease);
    }

    fn land(self, value: V, leader: Leader<K, V>) -> V {
        leader.complete(value.clone());
        value
    }

    fn land_received(&mut self, _: Bytes, _: &mut Option<Leader<K, V>>) -> Option<V> {
        None
    }

    fn alone(self, value: V) -> V {
        value
    }

    fn receive(&mut self, value: V) -> Received<Self> {
        Received::Done(value)
    }

    fn full(&mut self) -> Option<V> {
        None
    }
}

impl<K, V> fmt::Debug for Values<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}
