//! What is done to Redis and to the processes while they work.

use testkit::server::Redis;

use crate::link::Link;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Redis is killed and started again, on its data.
    KillRedis,
    /// Redis forgets everything.
    FlushAll,
    /// Redis forgets the clock, and keeps the entries.
    LoseClock,
    /// Redis answers nobody for a while.
    Pause,
    /// The way to Redis is slow for a while.
    SlowLink,
    /// All connections are cut.
    Cut,
    /// A process is killed, and another one takes its place.
    KillWorker,
}

const ALL: [Fault; 7] = [
    Fault::Cut,
    Fault::KillRedis,
    Fault::Pause,
    Fault::FlushAll,
    Fault::KillWorker,
    Fault::SlowLink,
    Fault::LoseClock,
];

impl Fault {
    pub(crate) fn of(round: usize) -> Self {
        ALL[round % ALL.len()]
    }

    /// Does it, as far as Redis is concerned.
    pub(crate) fn strike(self, redis: &mut Redis, link: &Link) {
        match self {
            Self::KillRedis => redis.restart().unwrap(),
            Self::FlushAll => drop(redis.ask("FLUSHALL").unwrap()),
            Self::LoseClock => drop(redis.ask("DEL story:clock").unwrap()),
            Self::Pause => drop(redis.ask("CLIENT PAUSE 250 ALL").unwrap()),
            Self::SlowLink => link.slow_down(),
            Self::Cut => {
                for kind in ["normal", "pubsub"] {
                    redis
                        .ask(&format!("CLIENT KILL TYPE {kind} SKIPME yes"))
                        .unwrap();
                }
            }
            Self::KillWorker => {}
        }
    }
}
