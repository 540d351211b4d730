//! A connection to whoever is the master just now.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, TlsMode, Value,
};
use tokio::sync::mpsc;

use super::{Subscribe, hear};
use crate::l2::News;

/// A connection to the master of a name, as the sentinels say.
///
/// It is made when it is first needed, and goes on to be if who needed it gives up meanwhile. When it breaks, or the server turns out to be a master no longer, what was asked fails, and who asks next makes another one: the sentinels
/// are asked again, and the channel is listened to there. A clone is the same connection.
#[derive(Clone)]
pub struct SentinelConnection(Arc<Inner>);

struct Inner {
    sentinels: Vec<ConnectionInfo>,
    master: String,
    access: Access,
    config: AsyncConnectionConfig,
    channel: OnceLock<String>,
    /// Replaced as a whole, so that no lock is held while one is made.
    current: Mutex<Option<Connecting>>,
}

/// Made once for all who need it, and by none of them: one has less time for it than it takes to find out that a sentinel is gone.
type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// How to log in to the master.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    redis: RedisConnectionInfo,
    tls: Option<TlsMode>,
}

impl Access {
    /// All of it but where it leads to.
    pub(super) fn like(info: &ConnectionInfo) -> Self {
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Some(TlsMode::Insecure),
            ConnectionAddr::TcpTls { .. } => Some(TlsMode::Secure),
            _ => None,
        };
        let redis = info.redis_settings().clone();
        Self { redis, tls }
    }

    fn node(&self) -> SentinelNodeConnectionInfo {
        let redis = self.redis.clone().set_protocol(ProtocolVersion::RESP3);
        let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(redis);
        match self.tls {
            Some(tls) => node.set_tls_mode(tls),
            None => node,
        }
    }
}

impl SentinelConnection {
    pub(super) fn new(
        sentinels: Vec<ConnectionInfo>,
        master: String,
        access: Access,
        timeout: Duration,
        hears: mpsc::Sender<News>,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_push_sender(move |push: PushInfo| hear(&hears, push));
        Self(Arc::new(Inner {
            sentinels,
            master,
            access,
            config,
            channel: OnceLock::new(),
            current: Mutex::default(),
        }))
    }

    /// Whether somebody's was made, or could not be.
    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        let current = self.0.current();
        current.as_ref().is_some_and(|made| made.peek().is_some())
    }

    /// Asks over the connection that there is, or a new one.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let current = Inner::connection(&self.0);
        let answer = question(current.clone().await?).await;
        if answer.as_ref().is_err_and(is_over) {
            self.0.leave(&current);
        }
        answer
    }
}

impl Inner {
    /// The one that there is, or that is being made. One that could not be made is tried again.
    fn connection(this: &Arc<Self>) -> Connecting {
        let mut current = this.current();
        let there = current
            .take()
            .filter(|there| !matches!(there.peek(), Some(Err(_))));
        let there = there.unwrap_or_else(|| Self::begin(Arc::clone(this)));
        current.insert(there).clone()
    }

    fn begin(this: Arc<Self>) -> Connecting {
        let connecting = async move { this.connect().await }.boxed().shared();
        tokio::spawn(connecting.clone());
        connecting
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let node = self.access.node();
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

    fn current(&self) -> MutexGuard<'_, Option<Connecting>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one is to be made, unless somebody has seen to that already.
    fn leave(&self, left: &Connecting) {
        let mut current = self.current();
        let is_left = |current: &Connecting| current.ptr_eq(left);
        if current.as_ref().is_some_and(is_left) {
            *current = None;
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
        self.0.access.redis.db()
    }
}

impl fmt::Debug for SentinelConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelConnection")
            .field("master", &self.0.master)
            .finish_non_exhaustive()
    }
}
