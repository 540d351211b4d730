//! A connection to whoever is the master just now.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::{OnceCell, mpsc};

use super::{Subscribe, hear};
use crate::l2::News;

/// A connection to the master of a name, as the sentinels say.
///
/// It is made when it is first needed. When it breaks, or the server turns out to be a master no longer, what was asked fails, and who asks next makes another one: the sentinels
/// are asked again, and the channel is listened to there. A clone is the same connection.
#[derive(Clone)]
pub struct SentinelConnection(Arc<Shared>);

struct Shared {
    sentinels: Vec<ConnectionInfo>,
    master: String,
    config: AsyncConnectionConfig,
    channel: OnceLock<String>,
    /// Replaced as a whole, so that no lock is held while one is made.
    current: Mutex<Current>,
}

/// Made once, by one of those who need it.
type Current = Arc<OnceCell<MultiplexedConnection>>;

impl SentinelConnection {
    pub(super) fn new(
        sentinels: Vec<ConnectionInfo>,
        master: String,
        timeout: Duration,
        hears: mpsc::Sender<News>,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_push_sender(move |push: PushInfo| hear(&hears, push));
        Self(Arc::new(Shared {
            sentinels,
            master,
            config,
            channel: OnceLock::new(),
            current: Mutex::default(),
        }))
    }

    /// Asks over the connection that there is, or a new one.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let current = Arc::clone(&self.0.current());
        let connection = current.get_or_try_init(|| self.0.connect()).await?.clone();
        let answer = question(connection).await;
        if answer.as_ref().is_err_and(is_over) {
            self.0.leave(&current);
        }
        answer
    }
}

impl Shared {
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let resp3 = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(resp3);
        let mut sentinels = Sentinel::build(self.sentinels.clone())?;
        let master = sentinels
            .async_master_for(&self.master, Some(&node))
            .await?;
        let config = &self.config;
        let mut connection = master
            .get_multiplexed_async_connection_with_config(config)
            .await?;
        if let Some(channel) = self.channel.get() {
            connection.subscribe(channel).await?;
        }
        Ok(connection)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one is to be made, unless somebody has seen to that already.
    fn leave(&self, left: &Current) {
        let mut current = self.current();
        if Arc::ptr_eq(&current, left) {
            *current = Current::default();
        }
    }
}

/// Whether a connection is good for nothing any more.
fn is_over(error: &RedisError) -> bool {
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    is_replica || error.is_unrecoverable_error() || error.is_timeout()
}

impl Subscribe for SentinelConnection {
    async fn subscribe(&self, channel: &str) -> RedisResult<()> {
        // Whatever is made from here on listens.
        let _ = self.0.channel.set(channel.to_owned());
        self.ask(async |mut connection| connection.subscribe(channel).await)
            .await
    }
}

impl ConnectionLike for SentinelConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.ask(async move |mut connection| connection.req_packed_command(command).await))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.ask(async move |mut connection| {
            connection
                .req_packed_commands(commands, offset, count)
                .await
        }))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for SentinelConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelConnection")
            .field("master", &self.0.master)
            .finish_non_exhaustive()
    }
}
