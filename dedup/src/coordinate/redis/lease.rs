//! A lease that is kept by a task of its own: it is renewed however busy its holder is.

use std::time::Duration;

use buttress_wire::tasks::Tasks;
use bytes::Bytes;
use redis::RedisError;
use redis::aio::ConnectionManager;
use tokio::sync::oneshot;

use super::inbox::Said;
use super::script::{Asked, Name, Scripts};
use crate::coordinate::Lease;

/// Ends the lease when it is told to, or dropped.
pub(super) struct RedisLease {
    end: oneshot::Sender<Said>,
    /// For [`publish_within`](Lease::publish_within), once.
    within: Option<oneshot::Sender<Duration>>,
}

/// A claim under way.
///
/// # Cancellation
///
/// Dropping it takes the claim back, which may have succeeded without our knowing: nobody has to wait for it to expire.
pub(super) struct Claim<'a> {
    held: Option<Held>,
    tasks: &'a Tasks,
}

impl<'a> Claim<'a> {
    pub(super) fn new(held: Held, tasks: &'a Tasks) -> Self {
        let held = Some(held);
        Self { held, tasks }
    }

    pub(super) async fn ask(
        &self,
        inbox: &str,
        max_age: Option<Duration>,
    ) -> Result<Asked, RedisError> {
        let held = self
            .held
            .as_ref()
            .expect("a claim is asked for while it is held");
        let connection = held.connection.clone();
        let Held {
            scripts,
            name,
            token,
            lease,
            ..
        } = held;
        scripts
            .claim(connection, name, token, inbox, *lease, max_age)
            .await
    }

    pub(super) fn won(mut self) -> RedisLease {
        let held = self.held.take().expect("a claim is won once");
        RedisLease::new(held, self.tasks)
    }

    pub(super) fn lost(mut self) {
        self.held = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.tasks.spawn(async move { held.end(Said::Gone).await });
        }
    }
}

/// What it takes to keep a lease.
pub(super) struct Held {
    pub(super) connection: ConnectionManager,
    pub(super) scripts: Scripts,
    pub(super) name: Name,
    pub(super) token: String,
    pub(super) lease: Duration,
}

impl RedisLease {
    fn new(held: Held, tasks: &Tasks) -> Self {
        let (end, ends) = oneshot::channel();
        let (within, bound) = oneshot::channel();
        tasks.spawn(held.keep(ends, bound));
        Self {
            end,
            within: Some(within),
        }
    }
}

impl Lease for RedisLease {
    fn decline(self: Box<Self>) {
        let _ = self.end.send(Said::Declined);
    }

    fn publish(self: Box<Self>, value: Bytes) {
        let _ = self.end.send(Said::Value(value));
    }

    fn publish_within(&mut self, time: Duration) {
        if let Some(within) = self.within.take() {
            let _ = within.send(time);
        }
    }
}

impl Held {
    async fn keep(self, ends: oneshot::Receiver<Said>, bound: oneshot::Receiver<Duration>) {
        let said = tokio::select! {
            // What has been said is said, also if it was in the last moment.
            biased;
            said = ends => said.unwrap_or(Said::Gone),
            () = over(bound) => Said::Declined,
            // What is not ours any more need not be kept, nor ended.
            () = self.renew_until_lost() => return,
        };
        self.end(said).await;
    }

    async fn renew_until_lost(&self) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            if !self.renew().await {
                return;
            }
        }
    }

    /// Trouble is no reason to give up: Redis may be back before the lease is over.
    async fn renew(&self) -> bool {
        let (connection, lease) = (self.connection.clone(), self.lease);
        let renewed = self
            .scripts
            .renew(connection, &self.name, &self.token, lease);
        renewed.await.unwrap_or(true)
    }

    /// If this does not arrive, the lease expires, and those who wait claim it then.
    async fn end(&self, said: Said) {
        let connection = self.connection.clone();
        let ended = self.scripts.end(connection, &self.name, &self.token, &said);
        let _ = ended.await;
    }
}

/// Waits until the time is over, if there is a bound to it.
async fn over(bound: oneshot::Receiver<Duration>) {
    match bound.await {
        Ok(time) => tokio::time::sleep(time).await,
        Err(_) => std::future::pending().await,
    }
}
