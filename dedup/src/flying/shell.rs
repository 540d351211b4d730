//! What a shell makes of flights.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::coordinate::{Coordinator, Lease};
use crate::event::Event;
use crate::leader::Leader;

/// What the values of a flight mean to one caller.
pub trait Shell: Sized {
    /// What flights are joined by.
    type Key: Eq + Hash;
    /// What they give to followers.
    type Value: Clone;
    /// What the work comes to.
    type Result;
    /// What the caller gets.
    type Output;

    /// Tells what came of asking other processes.
    fn tell(&self, event: Event<'_>);

    /// The other processes, if they are to be asked.
    fn coordination(&self) -> Option<Others<'_>>;

    /// The others wait for this process: it does the work for them. Kept by the shell, that has room for what few layers need beside the future.
    fn hold(&mut self, lease: Box<dyn Lease>);

    /// The work of a leader has ended: tells the others here, and elsewhere if it holds a lease.
    fn land(self, result: Self::Result, leader: Leader<Self::Key, Self::Value>) -> Self::Output;

    /// Another process has done the work. `None` when this cannot be read, and the leader has to do it after all.
    fn land_received(
        &mut self,
        value: Bytes,
        leader: &mut Option<Leader<Self::Key, Self::Value>>,
    ) -> Option<Self::Output>;

    /// The work was done for this caller alone.
    fn alone(self, result: Self::Result) -> Self::Output;

    /// This caller, who has followed, gets a value.
    fn receive(&mut self, value: Self::Value) -> Received<Self>;

    /// There is no room. `None` when the caller is to go alone.
    fn full(&mut self) -> Option<Self::Output>;
}

/// Other processes, and what they are asked.
#[derive(Clone, Copy)]
pub struct Others<'a> {
    pub(crate) coordinator: &'a Arc<dyn Coordinator>,
    /// What the flight is called there.
    pub(crate) key: &'a [u8],
    pub(crate) max_age: Option<Duration>,
}

/// What a follower makes of a value.
pub enum Received<H: Shell> {
    /// It is of no use: the follower does its own work.
    Alone,
    /// It is done.
    Done(H::Output),
}
