//! Flights across processes, over Redis.

mod inbox;
mod lease;
mod pulse;
mod script;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buttress_wire::tasks::{Spawn, Tasks};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo, ProtocolVersion, RedisError};
use tokio::time::{Instant, timeout_at};

use self::inbox::{Inbox, Said};
use self::lease::{Claim, Held, RedisLease};
use self::pulse::{Pulse, Waiting};
use self::script::{Asked, Name, Scripts, token};
use super::{Asking, Coordinator, Seat};
use crate::sync::{Mutex, lock};

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Shares the work of flights between the processes that use one Redis (7, or 6 with RESP3).
///
/// Whoever comes first for a key holds its lease, a key that expires; the others register with it, and the result is published to
/// each of their processes when it is there. No result is stored. Names in Redis are hashes of the flights' keys.
///
/// # Guarantees
///
/// - As long as Redis answers and the holder renews its lease, one process at a time does the work of a key.
/// - The holder gives the work up: one of those who wait gets the lease at once. The holder dies: when its [lease](RedisBuilder::lease) has expired.
/// - Redis dies, or does not answer within its [patience](RedisBuilder::patience): each process does its own work, and nobody asks again for a
///   [while](RedisBuilder::cool_off). Those who wait begin as soon as the connection breaks; and while anybody does, the process asks Redis once per patience
///   whether it is there, so that one that hangs, or whose host is gone, is waited for no longer than twice that.
/// - The result is too large or private: those who wait do their own work at once.
/// - Nobody waits longer than [`wait`](RedisBuilder::wait).
///
/// It is no lock. A holder whose lease expired under it, a failover of Redis or a lost message can make two processes work on one key; none of
/// this is ever an error.
///
/// # Cancellation
///
/// A wait that is dropped is forgotten here; the process may still be told, and does not listen. A claim that is dropped under way is taken back.
#[derive(Clone)]
pub struct RedisCoordinator {
    shared: Arc<Shared>,
}

struct Shared {
    connection: ConnectionManager,
    scripts: Scripts,
    inbox: Arc<Inbox>,
    pulse: Pulse,
    tasks: Tasks,
    settings: Settings,
    subscribed: AtomicBool,
    /// Until when nobody asks.
    shunned: Mutex<Option<Instant>>,
}

/// No time is longer: it can be added to any instant.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug)]
struct Settings {
    prefix: String,
    lease: Duration,
    wait: Duration,
    patience: Duration,
    cool_off: Duration,
}

/// What came of a claim.
enum Claimed {
    /// Somebody else holds the lease, for so long if it is not renewed. This process is registered for the result.
    Held(Duration),
    /// Somebody else holds it, and has for too long.
    Old,
    Ours(RedisLease),
}

impl RedisCoordinator {
    /// Chooses what differs from the defaults.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// A coordinator on the Redis of this URL, with the defaults. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed. That Redis cannot be reached is no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(url: &str) -> Result<Self, RedisError> {
        Self::builder().open(url)
    }

    /// The leases that are kept, the results that are on their way, and, while somebody waits, who asks whether Redis is there: wait for them at shutdown.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }
}

impl Coordinator for RedisCoordinator {
    fn join(&self, key: &[u8], max_age: Option<Duration>) -> Asking {
        let name = Name::new(&self.shared.settings.prefix, key);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.join(name, max_age).await })
    }
}

impl Shared {
    async fn join(self: Arc<Self>, name: Name, max_age: Option<Duration>) -> Seat {
        if self.is_shunned() {
            return Seat::Local(None);
        }
        match self.ask(&name, max_age).await {
            Ok(seat) => seat,
            Err(trouble) => {
                *lock(&self.shunned) = Some(Instant::now() + self.settings.cool_off);
                Seat::Local(Some(trouble))
            }
        }
    }

    /// Claims the lease, or waits for its holder, and claims it again when that one is gone.
    async fn ask(
        self: &Arc<Self>,
        name: &Name,
        max_age: Option<Duration>,
    ) -> Result<Seat, Trouble> {
        let deadline = Instant::now() + self.settings.wait;
        self.subscribe().await?;
        // Before the first claim, and for all of them, so that what is said right after one, or between two, is heard.
        let mut ear = self.inbox.listen(name.hash());
        let mut waiting = None;
        loop {
            let held = match self.claim(name, max_age).await? {
                Claimed::Ours(lease) => {
                    // Of a lease that was over before we looked: then nobody has to work, and ours is given back.
                    let value = ear.has_value().filter(|_| waiting.is_some());
                    return Ok(value.map_or_else(|| Seat::Lead(Box::new(lease)), Seat::Received));
                }
                Claimed::Old => return Ok(Seat::Local(None)),
                Claimed::Held(expires) => expires,
            };
            waiting.get_or_insert_with(|| self.waits());
            let expires = Instant::now() + held;
            match timeout_at(expires.min(deadline), ear.heard()).await {
                Ok(Said::Value(value)) => return Ok(Seat::Received(value)),
                Ok(Said::Declined) => return Ok(Seat::Local(None)),
                Ok(Said::Down) => {
                    return Err("the connection to redis broke, or it does not answer".into());
                }
                Ok(Said::Gone) => {}
                Err(_) if Instant::now() >= deadline => {
                    // No trouble with Redis: other keys have nothing to do with it.
                    return Ok(Seat::Local(Some(
                        "the holder of the lease takes too long".into(),
                    )));
                }
                Err(_) => {}
            }
        }
    }

    /// While somebody waits, all who do are told when Redis falls silent.
    fn waits(&self) -> Waiting {
        let (waiting, asker) = self.pulse.wait();
        if let Some(asker) = asker {
            let (connection, inbox) = (self.connection.clone(), Arc::clone(&self.inbox));
            let patience = self.settings.patience;
            self.tasks.spawn(async move {
                if asker.finds_silence(connection, patience).await {
                    inbox.down();
                }
            });
        }
        waiting
    }

    async fn claim(&self, name: &Name, max_age: Option<Duration>) -> Result<Claimed, Trouble> {
        let claim = Claim::new(
            Held {
                connection: self.connection.clone(),
                scripts: self.scripts.clone(),
                name: name.clone(),
                token: token(),
                lease: self.settings.lease,
            },
            &self.tasks,
        );
        let asked = self
            .in_time(claim.ask(self.inbox.channel(), max_age))
            .await?;
        Ok(match asked {
            Asked::Ours => Claimed::Ours(claim.won()),
            Asked::Old => {
                claim.lost();
                Claimed::Old
            }
            Asked::Held(expires) => {
                claim.lost();
                Claimed::Held(expires)
            }
        })
    }

    /// Once. From then on the connection sees to it.
    async fn subscribe(&self) -> Result<(), Trouble> {
        if self.subscribed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut connection = self.connection.clone();
        self.in_time(connection.subscribe(self.inbox.channel()))
            .await?;
        self.subscribed.store(true, Ordering::Release);
        Ok(())
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Trouble> {
        Ok(tokio::time::timeout(self.settings.patience, work).await??)
    }

    fn is_shunned(&self) -> bool {
        lock(&self.shunned).is_some_and(|until| Instant::now() < until)
    }
}

/// What differs from the defaults; made by [`RedisCoordinator::builder`].
#[must_use]
pub struct RedisBuilder {
    settings: Settings,
    tasks: Option<Tasks>,
}

impl RedisBuilder {
    /// What all names in Redis begin with: processes with the same one share. Default: `dedup`. Give services, and versions of them that could
    /// not read each other's responses, different ones.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// How long a lease outlives its holder, between a millisecond and a day; it is renewed each third of that. Default: 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.clamp(Duration::from_millis(1), A_DAY);
        self
    }

    /// How long one process waits for another, a day at most. Default: 30 s.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.settings.wait = wait.min(A_DAY);
        self
    }

    /// How long Redis may take to answer; and how often it is asked whether it is there, while somebody waits for another process. Default: 500 ms.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// For how long Redis is not asked again after trouble, and every flight goes on here: a day at most. Default: 1 s.
    pub fn cool_off(mut self, cool_off: Duration) -> Self {
        self.settings.cool_off = cool_off.min(A_DAY);
        self
    }

    /// Who keeps leases and sends results. Default: the tokio runtime in which the coordinator is opened.
    pub fn spawner(mut self, spawn: impl Spawn) -> Self {
        self.tasks = Some(Tasks::new(spawn));
        self
    }

    /// A coordinator on the Redis of this URL. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed. That Redis cannot be reached is no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(self, url: &str) -> Result<RedisCoordinator, RedisError> {
        let info = url.into_connection_info()?;
        // Messages come on the same connection.
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let inbox = Arc::new(Inbox::new(&self.settings.prefix));
        let hears = Arc::clone(&inbox);
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(self.settings.patience))
            .set_response_timeout(Some(self.settings.patience))
            .set_automatic_resubscription()
            .set_push_sender(move |push| {
                hears.hear(push);
                Ok::<_, redis::aio::SendError>(())
            });
        let connection = ConnectionManager::new_lazy_with_config(Client::open(info)?, config)?;
        let runtime = tokio::runtime::Handle::current();
        let tasks = self
            .tasks
            .unwrap_or_else(|| Tasks::new(move |task| drop(runtime.spawn(task))));
        let shared = Shared {
            connection,
            scripts: Scripts::new(),
            inbox,
            pulse: Pulse::default(),
            tasks,
            settings: self.settings,
            subscribed: AtomicBool::new(false),
            shunned: Mutex::new(None),
        };
        Ok(RedisCoordinator {
            shared: Arc::new(shared),
        })
    }
}

impl Default for RedisBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                prefix: "dedup".to_owned(),
                lease: Duration::from_secs(10),
                wait: Duration::from_secs(30),
                patience: Duration::from_millis(500),
                cool_off: Duration::from_secs(1),
            },
            tasks: None,
        }
    }
}

impl fmt::Debug for RedisCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCoordinator")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
