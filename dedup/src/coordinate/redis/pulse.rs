//! Whether Redis still answers: while somebody waits it is asked, since one that hangs says nothing.

use std::convert::Infallible;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{RedisError, Value};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::sync::{Mutex, lock};

/// However short the patience is, nobody asks more often.
const AT_MOST: Duration = Duration::from_millis(10);

/// Knows whether somebody waits: one asks for all of them.
#[derive(Default)]
pub(super) struct Pulse {
    waiting: Mutex<Option<mpsc::WeakSender<Infallible>>>,
}

/// Somebody waits.
///
/// # Cancellation
///
/// Dropping the last one ends the asking.
pub(super) type Waiting = mpsc::Sender<Infallible>;

/// Asks for those who wait.
///
/// # Cancellation
///
/// Dropping it ends the asking; whoever comes to wait then makes another one.
pub(super) struct Asker(mpsc::Receiver<Infallible>);

impl Pulse {
    /// One more waits. If nobody asks yet, with who has to.
    pub(super) fn wait(&self) -> (Waiting, Option<Asker>) {
        let mut waiting = lock(&self.waiting);
        let others = waiting.as_ref().and_then(mpsc::WeakSender::upgrade);
        if let Some(others) = others.filter(|others| !others.is_closed()) {
            return (others, None);
        }
        let (first, all) = mpsc::channel(1);
        *waiting = Some(first.downgrade());
        (first, Some(Asker(all)))
    }
}

impl Asker {
    /// True when Redis has not answered within its patience, false when nobody waits any more.
    pub(super) async fn finds_silence(
        mut self,
        redis: ConnectionManager,
        patience: Duration,
    ) -> bool {
        tokio::select! {
            _ = self.0.recv() => false,
            () = until_silent(redis, patience) => true,
        }
    }
}

async fn until_silent(mut redis: ConnectionManager, patience: Duration) {
    loop {
        sleep(patience.max(AT_MOST)).await;
        let ping = redis::cmd("PING");
        if is_silence(&timeout(patience, ping.query_async(&mut redis)).await) {
            return;
        }
    }
}

/// A connection that breaks tells so by itself.
fn is_silence(answer: &Result<Result<Value, RedisError>, Elapsed>) -> bool {
    match answer {
        Ok(answer) => answer.as_ref().is_err_and(RedisError::is_timeout),
        Err(_) => true,
    }
}

#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests {
    use super::*;

    #[test]
    fn one_asks_for_all_who_wait_and_another_one_when_it_is_gone() {
        let pulse = Pulse::default();
        let (first, asker) = pulse.wait();
        let (second, none) = pulse.wait();
        assert!(asker.is_some() && none.is_none());
        drop((first, asker));
        let (third, asker) = pulse.wait();
        assert!(asker.is_some(), "the one before does not ask any more");
        drop((second, third));
        assert!(pulse.wait().1.is_some(), "nobody waited any more");
    }
}
