//! A process that reads and changes values.

use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use buttress_cache::l2::{Compression, Postcard, RedisL2, RedisL2Builder, SecondLevel};
use buttress_cache::{Cache, Tier};
use buttress_dedup::RedisCoordinator;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};

use crate::check::{Line, MAX_LAG};

const KEYS: usize = 24;
const TAGS: usize = 6;
/// How many calls a process has under way.
const AT_ONCE: usize = 4;

/// Which version of its tag a value was read at, and of its key.
type Versions = (u64, u64);

#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) redis: String,
    pub(crate) database: String,
}

const NAMES: [&str; 2] = ["STORY_REDIS", "STORY_DATABASE"];

impl Work {
    pub(crate) fn env(self) -> impl Iterator<Item = (&'static str, String)> {
        NAMES.into_iter().zip([self.redis, self.database])
    }

    pub(crate) fn from_env() -> Option<Self> {
        let [redis, database] = NAMES.map(|name| std::env::var(name).ok());
        Some(Self {
            redis: redis?,
            database: database?,
        })
    }
}

#[derive(Clone)]
struct Worker {
    cache: Cache<Versions>,
    database: MultiplexedConnection,
    lines: Arc<Mutex<String>>,
}

pub(crate) fn run(work: &Work) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let worker = runtime.block_on(Worker::begin(work));
    for line in std::io::stdin().lock().lines() {
        let operations: usize = line.unwrap().parse().unwrap();
        runtime.block_on(worker.work(operations / AT_ONCE));
        let mut lines = std::mem::take(&mut *worker.lines.lock().unwrap());
        lines.push_str("\n.\n");
        let mut out = std::io::stdout().lock();
        out.write_all(lines.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// A small clock: it is read often here, and this is no optimized build.
fn level() -> RedisL2Builder {
    RedisL2::builder("story").slots(1 << 12)
}

/// A cluster that is in trouble at this moment refuses who starts, as `open_cluster` says: then a process starts again.
async fn in_a_cluster(redis: &str) -> RedisL2<ClusterConnection> {
    let open = async {
        loop {
            if let Ok(level) = level().open_cluster(redis.split(',')).await {
                return level;
            }
        }
    };
    let opened = tokio::time::timeout(Duration::from_mins(1), open).await;
    opened.expect("a cluster is back within a minute")
}

impl Worker {
    async fn begin(work: &Work) -> Self {
        let database = redis::Client::open(&*work.database).unwrap();
        // It answers when it can: the machine may be busy.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let database = database.get_multiplexed_async_connection_with_config(&config);
        let database = database.await.unwrap();
        let level = if work.redis.contains(',') {
            SecondLevel::new(in_a_cluster(&work.redis).await, Postcard)
        } else {
            let leases = RedisCoordinator::builder()
                .lease(Duration::from_secs(1))
                .wait(Duration::from_millis(500))
                .patience(Duration::from_millis(100));
            SecondLevel::new(level().open(&work.redis).unwrap(), Postcard)
                .leases(leases.open(&work.redis).unwrap())
        };
        let level = level
            .max_lag(Duration::from_micros(MAX_LAG))
            .compression(Compression::Lz4 { over: 8 });
        Self {
            cache: Cache::builder().slots(1 << 12).l2(level).build(),
            database,
            lines: Arc::default(),
        }
    }

    async fn work(&self, operations: usize) {
        let calls = (0..AT_ONCE).map(|_| {
            let worker = self.clone();
            tokio::spawn(async move {
                for _ in 0..operations {
                    match fastrand::u32(..8) {
                        0 => worker.change().await,
                        _ => worker.read().await,
                    }
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
    }

    async fn read(&self) {
        let n = fastrand::usize(..KEYS);
        let (key, tag) = (format!("k{n}"), format!("t{}", n % TAGS));
        let at = micros();
        let source = [tag.clone(), key.clone()];
        let mut database = self.database.clone();
        let filled = self.cache.get_or_set(&*key, async move |fill| {
            fill.tag(&source[0]);
            let versions: (Option<u64>, Option<u64>) = database.mget(&source).await?;
            let versions = (versions.0.unwrap_or(0), versions.1.unwrap_or(0));
            Ok::<_, redis::RedisError>(Some(versions))
        });
        let hit = filled.await.unwrap().unwrap();
        let is_hit = hit.tier() != Tier::Source;
        for (name, version) in [(tag, hit.0), (key, hit.1)] {
            self.write(&Line::Read {
                name,
                version,
                hit: is_hit,
                at,
            });
        }
    }

    /// First the source, and then the cache.
    async fn change(&self) {
        let (name, by_tag) = match fastrand::bool() {
            true => (format!("t{}", fastrand::usize(..TAGS)), true),
            false => (format!("k{}", fastrand::usize(..KEYS)), false),
        };
        let mut database = self.database.clone();
        let version: u64 = database.incr(&name, 1).await.unwrap();
        let invalidate = match by_tag {
            true => self.cache.invalidate([&name]),
            false => self.cache.expire(&name),
        };
        let invalidate = match fastrand::bool() {
            true => invalidate.remove(),
            false => invalidate,
        };
        let told = invalidate.await.is_ok();
        let at = micros();
        self.write(&Line::Invalidated {
            name,
            version,
            told,
            at,
        });
    }

    fn write(&self, line: &Line) {
        writeln!(self.lines.lock().unwrap(), "{line}").unwrap();
    }
}

/// Of a clock that all processes of a machine have.
#[expect(clippy::disallowed_methods, reason = "several processes compare it")]
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_micros().try_into().unwrap()
}
