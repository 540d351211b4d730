//! The second level in Redis.

mod replies;
mod script;
#[cfg(feature = "redis-sentinel")]
mod sentinel;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, SendError};
#[cfg(feature = "redis-cluster")]
use redis::cluster::ClusterClient;
#[cfg(feature = "redis-cluster")]
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value,
};
use tokio::sync::{OnceCell, mpsc};

#[cfg(feature = "redis-sentinel")]
pub use self::sentinel::SentinelConnection;

use self::replies::{head, moved, news};
use self::script::{HEADER, SLOTS_AT, Scripts};
use super::frame::WRITTEN_AT;
use super::{Asking, Bump, EntryKey, Head, L2, L2Error, Moved, News, SLOT_BYTES, Slots, Written};
use crate::clock::{Depth, SlotBits};

/// A second level in Redis (7 or later) or Valkey: alone, behind sentinels, or a cluster.
///
/// # Guarantees
///
/// - Each call is one round trip.
/// - An entry's key is a hash: entries are spread over a cluster as they fall. The clock is one key.
/// - It may lose whatever it likes. An entry that is lost is a miss. A clock that is lost, or goes back, is noticed by every node that saw it further, and then nothing of before is
///   valid.
///
/// Whoever can write to these keys can write values: keep strangers out by Redis' access control.
pub struct RedisL2<C = ConnectionManager> {
    connection: C,
    scripts: Scripts,
    names: Names,
    news: Mutex<Option<mpsc::Receiver<News>>>,
    /// Made once. From then on the connection sees to it.
    subscribed: OnceCell<()>,
}

/// What differs from the defaults; made by [`RedisL2::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisL2Builder {
    namespace: String,
    slots: SlotBits,
    timeout: Duration,
    #[cfg(feature = "redis-sentinel")]
    master: sentinel::Access,
}

struct Names {
    namespace: String,
    clock: String,
    channel: String,
    entries: String,
    /// What the clock's string begins with.
    kind: [u8; 4],
}

/// More news than that which nobody has listened to yet are as good as none: the next one will not fit to what is known.
const NEWS: usize = 1024;

impl RedisL2 {
    /// Chooses what differs from the defaults. Caches of the same namespace share their entries: values of another type, or of another version of it, need another one.
    pub fn builder(namespace: impl Into<String>) -> RedisL2Builder {
        RedisL2Builder {
            namespace: namespace.into(),
            slots: SlotBits::DEFAULT,
            timeout: Duration::from_secs(2),
            #[cfg(feature = "redis-sentinel")]
            master: sentinel::Access::default(),
        }
    }

    /// A second level in the Redis of this URL. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed. That Redis cannot be reached is no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(url: &str, namespace: impl Into<String>) -> RedisResult<Self> {
        Self::builder(namespace).open(url)
    }
}

impl RedisL2Builder {
    /// How many slots the clock has, at least: what [`Builder::slots`](crate::Builder::slots) of all caches says that share it. A cache with another number is refused the
    /// clock. The next power of two, from 2¹⁰ to 2²⁸. Default: 2²⁰.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = SlotBits::at_least(slots);
        self
    }

    /// After how long an attempt to connect, or an answer, is given up by the connection. Default: 2 s. The cache itself waits less for an entry.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A second level in the Redis of this URL. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed. That Redis cannot be reached is no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(self, url: &str) -> RedisResult<RedisL2> {
        let info = url.into_connection_info()?;
        // Messages come on the same connection.
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let (hears, news) = mpsc::channel(NEWS);
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_automatic_resubscription()
            .set_push_sender(move |push| hear(&hears, push));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(info)?, config)?;
        Ok(self.on(connection, news))
    }

    /// A second level in the cluster that these nodes know.
    ///
    /// # Errors
    ///
    /// When none of them can be reached.
    #[cfg(feature = "redis-cluster")]
    pub async fn open_cluster<T: IntoConnectionInfo>(
        self,
        urls: impl IntoIterator<Item = T>,
    ) -> RedisResult<RedisL2<ClusterConnection>> {
        let (hears, news) = mpsc::channel(NEWS);
        let client = ClusterClient::builder(urls)
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(self.timeout)
            .response_timeout(self.timeout)
            .push_sender(move |push| hear(&hears, push))
            .build()?;
        let connection = client.get_async_connection().await?;
        Ok(self.on(connection, news))
    }

    /// User, password, number of the database, and whether by TLS, are those of this URL for the master that sentinels name; where it leads to counts for nothing. Those of the
    /// sentinels are in their own URLs. Default: no user, no password, database 0, no TLS.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed.
    #[cfg(feature = "redis-sentinel")]
    pub fn master_like(mut self, url: impl IntoConnectionInfo) -> RedisResult<Self> {
        self.master = sentinel::Access::like(&url.into_connection_info()?);
        Ok(self)
    }

    /// A second level in whatever Redis is the master of this name just now, as these sentinels say. It connects when it is first asked. A failover is what the
    /// [guarantees](RedisL2#guarantees) say of a clock that goes back. See [`master_like`](Self::master_like) for a master with a password.
    ///
    /// A master that is cut off from its sentinels, together with some processes, answers those as before: they do not hear of what is invalidated on the other side until the networks are one
    /// again. `min-replicas-to-write` does not help, for they only read.
    ///
    /// # Errors
    ///
    /// If a URL cannot be parsed. That nobody can be reached is no error.
    #[cfg(feature = "redis-sentinel")]
    pub fn open_sentinel<T: IntoConnectionInfo>(
        self,
        sentinels: impl IntoIterator<Item = T>,
        master: impl Into<String>,
    ) -> RedisResult<RedisL2<SentinelConnection>> {
        let sentinels = sentinels.into_iter().map(T::into_connection_info);
        let sentinels = sentinels.collect::<RedisResult<_>>()?;
        let (hears, news) = mpsc::channel(NEWS);
        let access = self.master.clone();
        let connection =
            SentinelConnection::new(sentinels, master.into(), access, self.timeout, hears);
        Ok(self.on(connection, news))
    }

    fn on<C>(self, connection: C, news: mpsc::Receiver<News>) -> RedisL2<C> {
        RedisL2 {
            connection,
            scripts: Scripts::new(),
            names: Names::new(&self.namespace, self.slots.get()),
            news: Mutex::new(Some(news)),
            subscribed: OnceCell::new(),
        }
    }
}

fn hear(hears: &mpsc::Sender<News>, push: PushInfo) -> Result<(), SendError> {
    let said = match push.kind {
        PushKind::Message => match push.data.into_iter().nth(1) {
            Some(Value::BulkString(message)) => news(&message),
            _ => return Ok(()),
        },
        PushKind::Disconnection => News::Unclear,
        _ => return Ok(()),
    };
    // If there is no room, the next that finds some will not fit to what is known, and the next look at the head tells.
    let _ = hears.try_send(said);
    Ok(())
}

impl Names {
    fn new(namespace: &str, bits: u8) -> Self {
        let [a, b, c] = *script::MAGIC;
        Self {
            namespace: namespace.to_owned(),
            clock: format!("{namespace}:clock"),
            channel: format!("{namespace}:news"),
            entries: format!("{namespace}:"),
            kind: [a, b, c, bits],
        }
    }

    fn entry(&self, key: &EntryKey) -> String {
        use fmt::Write;
        let mut name = String::with_capacity(self.entries.len() + 32);
        name.push_str(&self.entries);
        for byte in key.0 {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// A connection that can be told to listen to a channel, and goes on to by itself: those that this level opens, and no others.
pub trait Subscribe: ConnectionLike + Clone + Send + Sync + 'static {
    /// Listens to `channel` from now on.
    fn subscribe(&self, channel: &str) -> impl Future<Output = RedisResult<()>> + Send;
}

impl Subscribe for ConnectionManager {
    async fn subscribe(&self, channel: &str) -> RedisResult<()> {
        ConnectionManager::subscribe(&mut self.clone(), channel).await
    }
}

#[cfg(feature = "redis-cluster")]
impl Subscribe for ClusterConnection {
    async fn subscribe(&self, channel: &str) -> RedisResult<()> {
        ClusterConnection::subscribe(&mut self.clone(), channel).await
    }
}

impl<C: Subscribe> L2 for RedisL2<C> {
    fn name(&self) -> &str {
        &self.names.namespace
    }

    fn get<'a>(&'a self, key: &'a EntryKey) -> Asking<'a, Option<(Bytes, Duration)>> {
        Box::pin(async move {
            let call = self.scripts.get.key(self.names.entry(key));
            let found: Option<(Vec<u8>, i64)> = self.ask(&call).await?;
            // One that would be kept for ever is not ours.
            Ok(found.and_then(|(frame, left)| {
                let left = u64::try_from(left).ok()?;
                Some((frame.into(), Duration::from_millis(left)))
            }))
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a EntryKey,
        frame: Bytes,
        _: Written,
        time: Duration,
    ) -> Asking<'a, bool> {
        Box::pin(async move {
            // More would be refused; a hundred years are enough.
            let time = time.as_millis().clamp(1, 1 << 41) as u64;
            let mut call = self.scripts.set.key(self.names.entry(key));
            call.arg(&frame[..]).arg(time).arg(WRITTEN_AT);
            self.ask(&call).await
        })
    }

    fn head(&self) -> Asking<'_, Option<Head>> {
        Box::pin(async move {
            self.subscribed().await?;
            let mut range = redis::cmd("GETRANGE");
            range.arg(&self.names.clock).arg(0).arg(HEADER - 1);
            let bytes: Vec<u8> = self.command(&range).await?;
            head(&bytes, &self.names.kind)
        })
    }

    fn read(&self) -> Asking<'_, Option<(Head, Slots)>> {
        Box::pin(async move {
            let mut get = redis::cmd("GET");
            get.arg(&self.names.clock);
            let clock: Option<Vec<u8>> = self.command(&get).await?;
            let clock = Bytes::from(clock.unwrap_or_default());
            let Some(head) = head(&clock, &self.names.kind)? else {
                return Ok(None);
            };
            let end = SLOTS_AT.min(clock.len());
            let tips = clock.slice(HEADER..end);
            let steps = clock.slice(end..);
            if steps.len() > (2 * SLOT_BYTES) << self.names.kind[3] {
                return Err(L2Error::Corrupt("a clock with too many slots"));
            }
            Ok(Some((head, Slots { tips, steps })))
        })
    }

    fn bump(&self, bump: Bump) -> Asking<'_, Moved> {
        Box::pin(async move {
            let mut call = self.scripts.bump.key(&self.names.clock);
            let slots: Vec<u8> = bump.slots.iter().flat_map(|s| s.to_be_bytes()).collect();
            call.arg(&self.names.channel)
                .arg(&self.names.kind)
                .arg(&bump.begin.tip.to_be_bytes())
                .arg(match bump.depth {
                    Depth::Expire => "0",
                    Depth::Remove => "1",
                })
                .arg(slots)
                .arg(&bump.begin.epoch.to_be_bytes())
                .arg(&bump.begin.seq.to_be_bytes());
            let (head, previous): (Vec<u8>, Vec<u8>) = self.ask(&call).await?;
            moved(&head, &previous, bump.depth, bump.slots)
                .ok_or(L2Error::Corrupt("what a script of ours does not answer"))
        })
    }

    fn begin(&self, expected: Option<Head>, begin: Head) -> Asking<'_, bool> {
        Box::pin(async move {
            let mut call = self.scripts.begin.key(&self.names.clock);
            let header = |head| replies::header(head, &self.names.kind);
            let expected = expected.as_ref().map(header).unwrap_or_default();
            call.arg(&self.names.channel)
                .arg(expected)
                .arg(header(&begin));
            self.ask(&call).await
        })
    }

    fn listen(&self) -> mpsc::Receiver<News> {
        let news = self
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Whoever asks again hears nothing, and looks at the head.
        news.unwrap_or_else(|| mpsc::channel(1).1)
    }
}

impl<C: Subscribe> RedisL2<C> {
    async fn subscribed(&self) -> Result<(), L2Error> {
        let subscribe = || self.connection.subscribe(&self.names.channel);
        let subscribed = self.subscribed.get_or_try_init(subscribe).await;
        subscribed.map(|_| ()).map_err(failed)
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, L2Error> {
        let mut connection = self.connection.clone();
        call.invoke_async(&mut connection).await.map_err(failed)
    }

    async fn command<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, L2Error> {
        let mut connection = self.connection.clone();
        command.query_async(&mut connection).await.map_err(failed)
    }
}

fn failed(error: RedisError) -> L2Error {
    if error.code() == Some("OTHERCLOCK") {
        return L2Error::Corrupt(replies::OTHER_CLOCK);
    }
    L2Error::Unavailable(error.into())
}

impl<C> fmt::Debug for RedisL2<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisL2")
            .field("clock", &self.names.clock)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use testkit::server::Redis;
    #[cfg(feature = "redis-cluster")]
    use testkit::server::RedisCluster;

    use super::*;
    use crate::Cache;
    use crate::l2::{Raw, SecondLevel, conformance};

    fn builder(namespace: &str) -> RedisL2Builder {
        RedisL2::builder(namespace).slots(1024).timeout(PATIENCE)
    }

    /// More than a machine stands still for.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn redis_is_a_second_level() {
        let redis = Redis::start().unwrap();
        conformance::check(&builder("one").open(&redis.url()).unwrap()).await;
        conformance::check_first_step(&builder("two").open(&redis.url()).unwrap()).await;
        // Names and numbers do not depend on the size of the clock.
        let large = RedisL2::builder("three").timeout(PATIENCE);
        let large = large.open(&redis.url()).unwrap();
        conformance::check_first_step(&large).await;
        let other = builder("three").open(&redis.url()).unwrap();
        assert!(matches!(other.head().await, Err(L2Error::Corrupt(_))));
        let bump = Bump {
            slots: vec![1],
            depth: Depth::Expire,
            begin: Head {
                epoch: 1,
                seq: 1,
                tip: 1,
            },
        };
        assert!(matches!(other.bump(bump).await, Err(L2Error::Corrupt(_))));
    }

    /// How often Redis was asked for what, those included that scripts ask for; without `GETRANGE`, by which the clock is looked at in between.
    fn calls(redis: &Redis) -> [u64; 7] {
        let stats = redis.ask("INFO commandstats").unwrap();
        let of = |command: &str| {
            let (_, stat) = stats.split_once(&format!("cmdstat_{command}:calls="))?;
            stat.split(',').next()?.parse().ok()
        };
        let commands = [
            "evalsha",
            "eval",
            "script|load",
            "get",
            "pttl",
            "set",
            "publish",
        ];
        commands.map(|command| of(command).unwrap_or(0))
    }

    #[tokio::test]
    async fn a_get_a_set_and_an_invalidation_are_one_round_trip_each() {
        let redis = Redis::start().unwrap();
        let l2 = RedisL2::builder("trips").timeout(PATIENCE);
        let l2 = l2.open(&redis.url()).unwrap();
        let level = SecondLevel::new(l2, Raw)
            .timeout(PATIENCE)
            .max_lag(PATIENCE);
        let cache = Cache::builder().l2(level).build();
        let use_it = async || {
            cache.set("k", Bytes::from_static(b"value")).await;
            let fill = |_| async { Err::<Option<Bytes>, _>("it is there") };
            cache.get_or_set("k", fill).skip_memory().await.unwrap();
            cache.invalidate(["one", "two", "three"]).await.unwrap();
        };
        while cache.snapshot().lag.is_none() {
            tokio::task::yield_now().await;
        }
        use_it().await;
        let before = calls(&redis);
        use_it().await;
        let after = calls(&redis);
        // Three scripts, and what is in them: nothing is asked for beside.
        let asked: [u64; 7] = std::array::from_fn(|n| after[n] - before[n]);
        assert_eq!(asked, [3, 0, 0, 1, 1, 1, 1]);
    }

    /// Its first answer. Who asks sentinels gives one up after half a second, whatever our timeout is; a busy machine takes as long, and says nothing by that.
    #[cfg(feature = "redis-sentinel")]
    async fn first_head(l2: &RedisL2<SentinelConnection>) -> Result<Option<Head>, L2Error> {
        let is_late = |error: &L2Error| match error {
            L2Error::Unavailable(error) => {
                let error = error.downcast_ref::<RedisError>();
                error.is_some_and(RedisError::is_timeout)
            }
            _ => false,
        };
        let ask = async {
            loop {
                match l2.head().await {
                    Err(error) if is_late(&error) => {}
                    head => return head,
                }
            }
        };
        let head = tokio::time::timeout(PATIENCE, ask).await;
        head.expect("sentinels say who is the master")
    }

    #[cfg(feature = "redis-sentinel")]
    #[tokio::test]
    async fn who_sentinels_name_is_a_second_level_and_so_is_who_follows_it() {
        let mut servers = testkit::server::RedisSentinel::start().unwrap();
        let open = |namespace| {
            builder(namespace)
                .open_sentinel([servers.url()], "main")
                .unwrap()
        };
        let (before, after) = (open("before"), open("after"));
        for l2 in [&before, &after] {
            assert_eq!(first_head(l2).await.unwrap(), None);
        }
        conformance::check(&before).await;
        // What was written is at the replica.
        let mut wait = redis::cmd("WAIT");
        wait.arg(1).arg(0);
        let replicas: u64 = before.command(&wait).await.unwrap();
        assert_eq!(replicas, 1);
        servers.kill_master().unwrap();
        assert!(before.head().await.is_err(), "its connection is broken");
        // The sentinel takes a moment to know its new master well.
        while after.head().await.is_err() {}
        conformance::check(&after).await;
        let head = first_head(&before).await.unwrap();
        assert!(head.is_some(), "the replica had it");
    }

    #[cfg(feature = "redis-sentinel")]
    #[tokio::test]
    async fn who_has_no_time_for_it_has_a_connection_to_the_master_made_all_the_same() {
        let servers = testkit::server::RedisSentinel::start().unwrap();
        // It lets everybody in, and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mute = format!("redis://{}", listener.local_addr().unwrap());
        let l2 = builder("hasty")
            .open_sentinel([mute, servers.url()], "main")
            .unwrap();
        tokio::select! {
            biased;
            _ = l2.head() => unreachable!("it cannot know yet"),
            () = std::future::ready(()) => {}
        }
        while !l2.connection.is_made() {
            tokio::task::yield_now().await;
        }
        assert_eq!(l2.head().await.unwrap(), None);
    }

    #[cfg(feature = "redis-sentinel")]
    #[tokio::test]
    async fn the_master_that_sentinels_name_may_want_a_password() {
        let servers = testkit::server::RedisSentinel::start().unwrap();
        let open = || builder("locked");
        let admin = open().open_sentinel([servers.url()], "main").unwrap();
        first_head(&admin).await.unwrap();
        let mut acl = redis::cmd("ACL");
        acl.arg(&[
            "SETUSER",
            "shop",
            "on",
            ">secret",
            "~locked:*",
            "&locked:*",
            "+@all",
        ]);
        let () = admin.command(&acl).await.unwrap();
        let check = async |url: &str| {
            let open = open().master_like(url).unwrap();
            let l2 = open.open_sentinel([servers.url()], "main").unwrap();
            first_head(&l2).await?;
            let mut who = redis::cmd("CLIENT");
            who.arg("INFO");
            let who: String = l2.command(&who).await?;
            Ok::<_, L2Error>(who.contains("user=shop") && who.contains("db=3"))
        };
        assert!(check("redis://shop:secret@main/3").await.unwrap());
        assert!(check("redis://shop:wrong@main/3").await.is_err());
        assert!(!format!("{:?}", open().master_like("redis://:secret@main")).contains("secret"));
    }

    #[cfg(feature = "redis-cluster")]
    #[tokio::test]
    async fn a_cluster_is_a_second_level() {
        let cluster = RedisCluster::start().unwrap();
        for (namespace, first) in [("one", false), ("two", true)] {
            let l2 = builder(namespace)
                .open_cluster(cluster.urls())
                .await
                .unwrap();
            if first {
                conformance::check_first_step(&l2).await;
            } else {
                conformance::check(&l2).await;
            }
        }
    }
}
